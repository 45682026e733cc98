"""The calls that send interrupts: exactly the processors named by VP index take them."""

from collections.abc import Sequence

import pytest
from tests.guests.assembly import let_others_run, start_others, write_apic
from tests.guests.hypercalls import Caller, Calls, Row

from hypercall.partition.configuration import processors_in_order

SHUFFLE = 4
VECTOR = 0x41
AFTER = f"sti\nnop\n{let_others_run('settle')}"


def send(row: Row, cpus: int = 4, mode: str = "64") -> tuple[Calls, set[int]]:
    """Make a call on the boot processor; returns the VP indexes that took the interrupt."""
    caller = Caller(
        mode,
        before=start_others(cpus - 1) if cpus > 1 else write_apic(0xF0, 0x1FF),
        after=AFTER,
        cpus=cpus,
        configuration={"shuffle_vp_index": SHUFFLE},
    )
    calls = caller.make(row)
    assert calls.only.result == 0
    taken = set()
    for slot, identity in enumerate(processors_in_order(cpus, shuffle_vp_index=SHUFFLE)):
        interrupts = calls.run.interrupts(slot)
        assert interrupts in ({}, {VECTOR: 1})
        if interrupts:
            taken.add(identity.index)
    return calls, taken


@pytest.mark.parametrize("mode", ["64", "32"])
@pytest.mark.parametrize("targets", [{0}, {3}, {1, 2}, {0, 1, 2, 3}, set()], ids=str)
class TestFourProcessors:
    def mask(self, targets: set[int]) -> int:
        return sum(1 << target for target in targets)

    def test_mask_in_memory(self, targets: set[int], mode: str) -> None:
        row = Row(0xB, (VECTOR, self.mask(targets)))
        assert send(row, mode=mode)[1] == targets

    def test_mask_in_registers(self, targets: set[int], mode: str) -> None:
        row = Row(0x1000B, input=VECTOR, output=self.mask(targets))
        assert send(row, mode=mode)[1] == targets

    def test_set_in_memory(self, targets: set[int], mode: str) -> None:
        row = Row(0x2_0015, (VECTOR, 0, 1, self.mask(targets)))
        assert send(row, mode=mode)[1] == targets

    def test_set_in_registers(self, targets: set[int], mode: str) -> None:
        row = Row(0x3_0015, input=VECTOR, output=0, xmm=(1, self.mask(targets)))
        assert send(row, mode=mode)[1] == targets


def test_everyone_by_format() -> None:
    assert send(Row(0x15, (VECTOR, 1, 0)))[1] == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("valid", "banks", "targets"),
    [
        (1, (1 << 63 | 1 << 31,), {31, 63}),
        (3, (1 << 63, 7), {63}),
        (1 << 63 | 1, (1 << 40, 7), {40}),
        (2, (1,), set()),
    ],
    ids=["one-bank", "second-bank-beyond", "last-bank-beyond", "beyond-only"],
)
def test_sparse_banks_with_64_processors(
    valid: int, banks: Sequence[int], targets: set[int]
) -> None:
    row = Row(len(banks) << 17 | 0x15, (VECTOR, 0, valid, *banks))
    assert send(row, 64)[1] == targets


def test_an_interrupt_waits_for_the_interrupt_flag() -> None:
    caller = Caller(before=write_apic(0xF0, 0x1FF), after="nop\nnop")
    calls = caller.make(Row(0x1000B, input=VECTOR, output=1))
    assert calls.run.interrupts() == {}
    apic = calls.run.machine.partition.bootstrap.current.apic
    assert apic.pending_vector() == VECTOR
