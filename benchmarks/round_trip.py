"""What a hypercall costs the guest: nanoseconds of host time from the instruction to the next one.

A guest of a few dozen bytes makes the same call over and over. Beside each figure are two floors,
measured in the same rounds: the same loop calling a page that just returns, and the same loop
with an empty Python function in the place of the calling convention and the handler.

Usage: python benchmarks/round_trip.py [--calls 100000] [--rounds 5]
"""

import argparse
import struct
import time
from typing import Any

from hypercall import Machine, MachineConfiguration, StopReason
from shapes import INPUT_GPA, SHAPES, Shape

_HYPERCALL_PAGE = 0x200000
_RETURN_PAGE = 0x202000
_RETURN = b"\xc3"
_LEAST_CALLS = 2000


def guest(shape: Shape, page: int, calls: int) -> bytes:
    """Return a flat guest that opens the interface, and calls a page again and again."""
    loop = b"".join(
        (
            b"\x48\xb9" + struct.pack("<Q", shape.control),  # mov rcx, control
            b"\xba" + struct.pack("<I", shape.input),  # mov edx, input
            b"\x41\xb8" + struct.pack("<I", shape.output),  # mov r8d, output
            b"\xff\xd3",  # call rbx
            b"\x49\xff\xcc",  # dec r12
        )
    )
    return b"".join(
        (
            bytes.fromhex("53 4154"),  # push rbx; push r12
            bytes.fromhex("b900000040 b801000000 ba00000081 0f30"),  # wrmsr GUEST_OS_ID
            b"\xb9\x01\x00\x00\x40\xb8" + struct.pack("<I", _HYPERCALL_PAGE | 1),
            bytes.fromhex("31d2 0f30"),  # xor edx, edx; wrmsr HYPERCALL
            b"\xbb" + struct.pack("<I", page),  # mov ebx, page
            b"\x49\xbc" + struct.pack("<Q", calls),  # mov r12, calls
            loop,
            b"\x75" + struct.pack("<b", -(len(loop) + 2)),  # jnz loop
            bytes.fromhex("0fb7c0 415c 5b c3"),  # movzx eax, ax; pop r12; pop rbx; ret
        )
    )


class EmptyExits:
    """The exits of a machine, but hypercalls do nothing."""

    def __init__(self, exits: Any) -> None:
        """Leave everything else to a machine's exits."""
        self._exits = exits

    def __getattr__(self, name: str) -> Any:
        """Give what the machine's exits have."""
        return getattr(self._exits, name)

    def hypercall(self, control: int, input: int, output: int, mode: int) -> int:
        """Do nothing, successfully."""
        return 0


def nanoseconds(shape: Shape, calls: int, *, page: int = _HYPERCALL_PAGE, empty: bool) -> float:
    """Run a guest and return the host's nanoseconds for one round of its loop."""
    machine = Machine(MachineConfiguration(memory=16 << 20))
    memory = machine.partition.memory
    memory.write(INPUT_GPA, shape.page)
    memory.write(_RETURN_PAGE, _RETURN)
    if empty:
        machine._engine.attach(EmptyExits(machine._exits))
    machine.load(guest(shape, page, calls), image_format="flat")
    started = time.perf_counter()
    result = machine.run()
    seconds = time.perf_counter() - started
    if result.reason is not StopReason.DEBUG_EXIT or (result.exit_code and not empty):
        raise SystemExit(f"{shape.name}: {result.reason.name}, exit code {result.exit_code}")
    return seconds / calls * 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("nanoseconds of host time for one call as the guest sees it, fastest of the rounds")
    print(f"{'call':<20} {'ns':>8} {'per rep':>8} {'empty Python':>13} {'no call':>8}", end="")
    print(f" {'ratio':>7}")
    for shape in SHAPES:
        # Long calls are repeated less often, for the same patience.
        calls = max(options.calls // shape.reps, _LEAST_CALLS)
        real, empty, bare = [], [], []
        for _ in range(options.rounds):
            real.append(nanoseconds(shape, calls, empty=False))
            empty.append(nanoseconds(shape, calls, empty=True))
            bare.append(nanoseconds(shape, calls, page=_RETURN_PAGE, empty=True))
        best, floor = min(real), min(empty)
        print(
            f"{shape.name:<20} {best:>8,.0f} {best / shape.reps:>8,.1f} {floor:>13,.0f}"
            f" {min(bare):>8,.0f} {best / floor:>5.1f} x",
            flush=True,
        )


if __name__ == "__main__":
    main()
