"""Events for tests of what is made of them."""

import struct
from collections.abc import Iterator
from pathlib import Path

from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.trace.description import RunDescription
from hypercall.trace.events import (
    ConsoleEvent,
    CpuidEvent,
    Event,
    FindingEvent,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MachineEvent,
    MessageEvent,
    MsrEvent,
    Position,
    VtlEvent,
)
from hypercall.trace.jsonl import JsonLinesWriter

HOSTILE = (
    "</script><script>document.title='hacked'</script>"
    "<img src=x onerror=\"document.title='hacked'\">&amp;<!--\u2028"
)


def at(time_ns: int, vp: int = 0, vtl: int = 0) -> Position:
    return Position(time_ns, vp, vtl, 0x1000)


def call(
    code: int, data: bytes, time_ns: int, vp: int = 0, *, result: int = 0, took: int = 0
) -> HypercallEvent:
    record = CallRecord(
        vp,
        0,
        DECLARATIONS.by_code.get(code),
        code,
        False,
        0x5000,
        0,
        data,
        result=result,
        entered_at=time_ns,
        left_at=time_ns + took,
    )
    return HypercallEvent(Position(time_ns, vp, 0, 0x1000, 0x2000 + 16 * vp), record)


def send(time_ns: int, vp: int, mask: int, **more: int) -> HypercallEvent:
    return call(0x0B, struct.pack("<IIQ", 0xFB, 0, mask), time_ns, vp, **more)


def flush(time_ns: int, vp: int, mask: int, **more: int) -> HypercallEvent:
    return call(0x02, struct.pack("<QQQ", 0x7000, 2, mask), time_ns, vp, **more)


def sample() -> Iterator[Event]:
    """A run of 3 processors with everything in it."""
    yield CpuidEvent(at(10), 0x40000003, 0, (0xAE7F, 0, 0, 0))
    yield MsrEvent(at(20), 0x40000000, 0x8100, True)
    yield MsrEvent(at(30), 0x40000110, 0, True, fault=True)
    yield ConsoleEvent(at(40), b"Linux version 6.1\r\n" + HOSTILE.encode() + b"\xff\r\n")
    yield HaltEvent(at(900, 1), True)
    yield send(1000, 0, 0b110, took=7)
    yield send(1010, 0, 0b1, result=5)
    yield HaltEvent(at(1500, 1), False)
    yield InterruptEvent(at(1600, 1), 0xFB)
    yield InterruptEvent(at(1900, 2), 0xFB)
    yield flush(2000, 1, 0b101, took=300)
    yield MessageEvent(at(2100, 2), 0, 0, 2, 0xF3, 1)
    yield InterruptEvent(at(2200), 0xF3)
    yield VtlEvent(at(2300), 1, "call")
    yield VtlEvent(at(2900, 0, 1), 0, "return")
    for number in range(3):
        yield FindingEvent(at(3000 + number), "overlap", "error", f"they overlap {HOSTILE}")
    yield FindingEvent(at(3100), "slow-form", "advice", "a fast call would do")
    yield call(0xBEEF, b"", 3200, result=2)
    yield MachineEvent(at(5000), "power-off", "the guest powered off")


def write_trace(path: Path) -> Path:
    """Write the sample as JSON lines."""
    with path.open("w") as stream:
        description = RunDescription("hypercall", "vmlinuz", cpus=3)
        writer = JsonLinesWriter(stream.write, {0x2000: "send+0x4"}.get, description)
        writer.begin()
        for event in sample():
            writer.write(event)
    return path
