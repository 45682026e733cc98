import struct

import pytest

from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.msrs import SyntheticMsr
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
from hypercall.trace.hub import ALL_KINDS, TraceHub
from hypercall.trace.strace import StraceWriter

CALL_SITE = 0xFFFFFFFF8106559A


def symbol(address: int) -> str | None:
    return "native_send_call_func_ipi+0x1a" if address == CALL_SITE else None


def written(*events: Event) -> list[str]:
    lines: list[str] = []
    writer = StraceWriter(lines.append, symbol)
    for event in events:
        writer.write(event)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    return [line[:-1] for line in lines]


def call(
    control: int,
    input: bytes = b"",
    output: bytes = b"",
    result: int | None = 0,
    *,
    vp: int = 1,
    vtl: int = 0,
    at: int = 123_456_789,
    took: int = 1200,
    site: int | None = CALL_SITE,
    fault: str | None = None,
    continued: bool = False,
    injected: bool = False,
    registers: tuple[int, int] = (0, 0),
) -> HypercallEvent:
    record = CallRecord(
        vp,
        vtl,
        DECLARATIONS.by_code.get(control & 0xFFFF),
        control,
        bool(control & 0x10000),
        *registers,
        input,
        output,
        result,
        fault,
        at,
        at + took,
        continued,
        injected,
    )
    return HypercallEvent(Position(at, vp, vtl, 0xFFFFFFFF82000000, site), record)


SEND_IPI = call(0x1000B, struct.pack("<IIQ", 0xFB, 0, 0b1101))


def test_what_a_fault_answered_says_so() -> None:
    (line,) = written(call(0x10002, bytes(16), result=5, injected=True))
    assert ") = INVALID_PARAMETER (injected)  <" in line


def test_a_call_is_a_line_with_everything_in_it() -> None:
    assert written(SEND_IPI) == [
        "   0.123456789 vp1 HvCallSendSyntheticClusterIpi(vector=0xfb, target_vtl=own,"
        " processor_mask={0,2-3}) = SUCCESS  <1.2us>  [native_send_call_func_ipi+0x1a]"
    ]


def test_a_trust_level_above_0_is_shown() -> None:
    (line,) = written(call(0x1000B, struct.pack("<IIQ", 0xFB, 0, 1), vtl=1))
    assert line.startswith("   0.123456789 vp1.vtl1 HvCall")


def test_reps_outputs_and_a_place_without_symbol_are_shown() -> None:
    flush = call(
        0x0003 | 2 << 32,
        struct.pack("<QQQQQ", 0x1234000, 2, 0b11, 0x7F0000000002, 0x5000),
        result=2 << 32,
        site=None,
        took=2_500_000,
    )
    (line,) = written(flush)
    assert "HvCallFlushVirtualAddressList(address_space=0x1234000, flags=" in line
    assert "0x7f0000000000+3" in line
    assert line.endswith("= SUCCESS, 2 reps  <2.500ms>  [0xffffffff82000000]")
    capabilities = call(0x8001, b"", struct.pack("<Q", 1), took=999)
    (line,) = written(capabilities)
    assert " = SUCCESS {" in line
    assert "BOOT_ZEROED_MEMORY" in line.upper()
    assert "<999ns>" in line


def test_faults_continuations_failures_and_unknown_calls_are_shown() -> None:
    lines = written(
        call(0x1000B, result=None, fault="#UD"),
        call(0x0003 | 9 << 32, result=None, continued=True),
        call(0x005C, result=0x13, input=bytes(256)),
        call(0xBEEF, result=2, registers=(0x10, 0x20)),
        call(0xBEEF, result=2, registers=(0x30, 0x20)),
    )
    assert " = #UD  <" in lines[0]
    assert " = continued  <" in lines[1]
    assert " = INSUFFICIENT_BUFFERS  <" in lines[2]
    assert "unknown call 0xbeef(input=0x10, output=0x20) = INVALID_HYPERCALL_CODE" in lines[3]
    assert "input=0x30" in lines[4]


def test_a_repeated_call_has_its_own_time_and_place() -> None:
    again = call(0x1000B, SEND_IPI.record.input, at=5_000_000_000, took=10, vp=0, site=0x1000)
    first, second, third = written(SEND_IPI, again, SEND_IPI)
    assert first == third
    assert second.startswith("   5.000000000 vp0 HvCallSend")
    assert second.endswith("processor_mask={0,2-3}) = SUCCESS  <10ns>  [0x1000]")


def test_any_number_of_different_calls_is_shown_right() -> None:
    calls = [call(0x1000B, struct.pack("<IIQ", 0xFB, 0, mask)) for mask in range(5000)]
    lines = written(*calls, *calls)
    assert lines[:5000] == lines[5000:]
    assert len(set(lines)) == 5000


def test_the_other_events_have_lines_too() -> None:
    at = Position(1_000, 3, 0, 0x1000)
    assert [
        line.removeprefix("   0.000001000 vp3 ")
        for line in written(
            MsrEvent(at, SyntheticMsr.GUEST_OS_ID, 0x8100, True),
            MsrEvent(at, SyntheticMsr.VP_INDEX, 3, False),
            MsrEvent(at, 0x1B, 0, True, fault=True),
            CpuidEvent(at, 0x40000001, 0, (0x31237648, 0, 0, 0)),
            ConsoleEvent(at, b"a\n\xff"),
            InterruptEvent(at, 0xEC),
            MessageEvent(at, 1, 0, 2, 0xF3, 1),
            MessageEvent(at, 0, 1, 4, None, None),
            HaltEvent(at, True),
            HaltEvent(at, False),
            VtlEvent(at, 1, "call"),
            MachineEvent(at, "power-off", "the guest powered off"),
            FindingEvent(at, "overlap", "error", "input and output overlap"),
        )
    ] == [
        "wrmsr(GUEST_OS_ID, 0x8100) = ok",
        "rdmsr(VP_INDEX) = 0x3",
        "wrmsr(0x1b, 0x0) = #GP",
        "cpuid(0x40000001, 0x0) = 0x31237648, 0x0, 0x0, 0x0",
        r"ttyS0 b'a\n\xff'",
        "interrupt 0xec (external)",
        "message of type 0x1 to vp1 SINT2 (vector 0xf3)",
        "event flag to vp0 SINT4 of VTL1",
        "halted",
        "woken",
        "VTL0 -> VTL1 (call)",
        "power-off: the guest powered off",
        "error: input and output overlap (overlap)",
    ]


def test_only_calls_and_what_explains_them_are_traced_unless_more_is_wanted() -> None:
    hub = TraceHub()
    lines: list[str] = []
    stop = StraceWriter(lines.append, symbol).attach(hub)
    assert [kind.__name__ for kind in ALL_KINDS if hub.wants(kind)] == [
        "HypercallEvent",
        "VtlEvent",
        "MachineEvent",
        "FindingEvent",
    ]
    hub.emit(SEND_IPI)
    stop()
    hub.emit(SEND_IPI)
    assert len(lines) == 1
    StraceWriter(lines.append, symbol).attach(hub, HaltEvent)
    hub.emit(SEND_IPI)
    hub.emit(HaltEvent(Position(0, 0, 0, 0), True))
    assert len(lines) == 2


def test_what_is_no_event_is_refused() -> None:
    class Other:
        position = Position(0, 0, 0, 0)

    with pytest.raises(TypeError, match="no such event"):
        written(Other())  # type: ignore[arg-type]
