"""What the calling convention costs by itself: a partition without a processor, and no guest.

Beside each figure is the floor, measured in the same rounds: one call of an empty Python function
with the same arguments.

Usage: python benchmarks/dispatch.py [--calls 100000] [--rounds 5]
"""

import argparse
import time
from collections.abc import Callable

from hypercall.abi.dispatcher import Dispatcher
from hypercall.abi.outcome import Outcome, OutcomeKind
from hypercall.calls import HANDLERS
from hypercall.partition.configuration import PartitionConfiguration
from hypercall.partition.effects import RecordingEffects
from hypercall.partition.standalone import standalone_partition
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.msrs import SyntheticMsr
from shapes import INPUT_GPA, SHAPES, Shape

_STATUS = 0xFFFF
_LEAST_CALLS = 500


class ForgottenEffects(RecordingEffects):
    """Effects that nobody carries out, and that take no memory."""

    def _record(self, name: str, *arguments: object) -> None:
        pass


class Registers:
    """A 64-bit caller in the kernel."""

    cpl = 0
    protected_mode = True
    long_mode = True
    rax = 0

    def read_xmm(self) -> bytes:
        """Return registers that hold zero."""
        return bytes(96)

    def write_register_pairs(self, first_pair: int, data: bytes) -> None:
        """Take output and forget it."""


def nothing(vp: object, control: int, input: int, output: int, registers: object) -> None:
    """Take what a dispatcher takes."""


def nanoseconds(function: Callable[[], object], calls: int) -> float:
    """Return how long one call of a function takes, without what the loop takes."""

    def loop(body: Callable[[], object]) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            body()
        return time.perf_counter() - started

    return loop(function) / calls * 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("nanoseconds for one call of the dispatcher, fastest of the rounds")
    print(f"{'call':<20} {'ns':>8} {'per rep':>8} {'empty function':>15} {'ratio':>7}")
    for shape in SHAPES:
        calls = max(options.calls // shape.reps, _LEAST_CALLS)
        real, floor = measure(shape, calls, options.rounds)
        print(
            f"{shape.name:<20} {real:>8,.0f} {real / shape.reps:>8,.1f} {floor:>15,.0f}"
            f" {real / floor:>5.1f} x",
            flush=True,
        )


def measure(shape: Shape, calls: int, rounds: int) -> tuple[float, float]:
    """Return the fastest of the rounds: of the dispatcher, and of a function that does nothing."""
    alone = standalone_partition(PartitionConfiguration(memory_size=16 << 20))
    partition = alone.partition
    partition.effects = ForgottenEffects()
    vp = partition.bootstrap
    partition.msrs.write(vp, SyntheticMsr.GUEST_OS_ID, 0x8100_0000_0000_0001)
    partition.msrs.write(vp, SyntheticMsr.HYPERCALL, 0x200001)
    partition.memory.write(INPUT_GPA, shape.page)
    dispatch = Dispatcher(partition, DECLARATIONS, HANDLERS).dispatch
    registers = Registers()

    def real() -> Outcome:
        return dispatch(vp, shape.control, shape.input, shape.output, registers)

    def floor() -> None:
        nothing(vp, shape.control, shape.input, shape.output, registers)

    outcome = real()
    if outcome.kind is not OutcomeKind.COMPLETE or outcome.value & _STATUS:
        raise SystemExit(f"{shape.name}: {outcome}")
    times = []
    for _ in range(rounds):
        times.append((nanoseconds(real, calls), nanoseconds(floor, calls)))
    return min(first for first, _ in times), min(second for _, second in times)


if __name__ == "__main__":
    main()
