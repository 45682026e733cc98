"""What a call costs the host that reaches one virtual processor, and what one that reaches 64.

The calls are made on a live machine of 64 processors, from the exit of the engine to its return:
the calling convention, the handler, and its effects on the engine's contexts. The trap itself is
left out; it is the same for one target and for 64.

Usage: python benchmarks/many_targets.py [--calls 2000] [--rounds 5]
"""

import argparse
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from hypercall import Machine, MachineConfiguration
from hypercall.cpu.interface import MODE_LONG, MODE_PROTECTED
from hypercall.tlfs.calls import Call
from hypercall.tlfs.control import ControlWord

_TARGETS = 64
_INPUT = 0x300000
_ANY_SPACE = 2
_FIRST_VECTOR, _VECTORS = 0x20, 200
_MODE = MODE_LONG | MODE_PROTECTED


@dataclass(frozen=True)
class Case:
    """A call that names its targets.

    Attributes:
        name: what it is called in the table.
        control: the control word.
        words: makes its input list for a mask of targets and a number that differs each time.
        fast: whether the first two words go to registers.
    """

    name: str
    control: int
    words: Callable[[int, int], tuple[int, ...]]
    fast: bool = False


def _ipi(mask: int, number: int) -> tuple[int, ...]:
    return _FIRST_VECTOR + number % _VECTORS, mask


def _ipi_ex(mask: int, number: int) -> tuple[int, ...]:
    return _FIRST_VECTOR + number % _VECTORS, 0, 1, mask


def _flush(mask: int, number: int) -> tuple[int, ...]:
    return 0, _ANY_SPACE, mask


def _list(reps: int) -> Case:
    addresses = tuple(0x4000_0000 + number * 0x2000 for number in range(reps))

    def words(mask: int, number: int) -> tuple[int, ...]:
        return *_flush(mask, number), *addresses

    control = ControlWord(code=Call.FLUSH_VIRTUAL_ADDRESS_LIST, rep_count=reps)
    return Case(f"flush list of {reps}", control.value, words)


CASES = (
    Case(
        "IPI, fast", ControlWord(code=Call.SEND_SYNTHETIC_CLUSTER_IPI, fast=True).value, _ipi, True
    ),
    Case(
        "IPI to a set",
        ControlWord(code=Call.SEND_SYNTHETIC_CLUSTER_IPI_EX, variable_header_size=1).value,
        _ipi_ex,
    ),
    Case("flush space", ControlWord(code=Call.FLUSH_VIRTUAL_ADDRESS_SPACE).value, _flush),
    _list(1),
    _list(8),
    _list(64),
    _list(500),
)


def machine() -> Machine:
    """A machine of 64 processors, all of which accept interrupts."""
    made = Machine(MachineConfiguration(cpus=_TARGETS, memory=16 << 20))
    partition = made.partition
    partition.msrs.write(partition.bootstrap, 0x40000000, 0x8100 << 48)
    partition.msrs.write(partition.bootstrap, 0x40000001, 0x200001)
    for vp in partition.processors:
        vp.current.apic.write_mmio(0xF0, 0x1FF)
    return made


def nanoseconds(made: Machine, case: Case, mask: int, calls: int) -> float:
    """Make a call so often and return what one took."""
    call = made._exits.hypercall
    memory = made.partition.memory
    apics = [vp.current.apic for vp in made.partition.processors]
    engine = made._engine
    spent = 0
    for number in range(calls):
        words = case.words(mask, number)
        first, second = words[:2]
        if not case.fast:
            memory.write(_INPUT, struct.pack(f"<{len(words)}Q", *words))
            first, second = _INPUT, 0
        # What the last call has left is taken away, as the targets would do.
        if number % _VECTORS == 0:
            for apic in apics:
                apic.irr = 0
        for vp in made.partition.processors:
            engine.flush(made.processors.context(vp))
        started = time.perf_counter_ns()
        result = call(case.control, first, second, _MODE)
        while result is None:
            # A long list goes on where it was interrupted, by the control word that it has left.
            result = call(engine.get_general(engine.current_context, 1), first, second, _MODE)
        spent += time.perf_counter_ns() - started
        if result & 0xFFFF:
            raise SystemExit(f"{case.name}: status {result & 0xFFFF:#x}")
    return spent / calls


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    made = machine()
    print("microseconds of host time for a call, fastest of the rounds")
    print(f"{'call':<20} {'1 target':>10} {_TARGETS:>4} targets {'ratio':>8}")
    for case in CASES:
        one, all_of_them = (
            min(nanoseconds(made, case, mask, options.calls) for _ in range(options.rounds)) / 1000
            for mask in (2, (1 << _TARGETS) - 1)
        )
        print(
            f"{case.name:<20} {one:>10.2f} {all_of_them:>12.2f} {all_of_them / one:>6.1f} x",
            flush=True,
        )


if __name__ == "__main__":
    main()
