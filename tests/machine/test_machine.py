from pathlib import Path

import pytest
from tests.guests.assembly import call, put
from tests.guests.kit import Guest, run_machine
from tests.machine.small_guests import LOOP, SECOND, flat

from hypercall.errors import InputError
from hypercall.machine.machine import Machine
from hypercall.snapshot.snapshot import Snapshot
from hypercall.tlfs.status import HvStatus

SPIN = f"{call(0x10008, 1)}\n{put('rax')}\n"


@pytest.mark.parametrize("by_machine", [True, False])
def test_going_back_brings_back_the_faults(by_machine: bool) -> None:
    machine = Guest(SPIN).machine()
    machine.inject("call,status=5")
    snapshot = machine.snapshot()
    machine.inject("call,status=6")
    if by_machine:
        machine.restore(snapshot)
    else:
        snapshot.restore()
    assert len(machine.faults.armed) == 1
    assert run_machine(machine).words(1) == [HvStatus.INVALID_PARAMETER]


def test_a_snapshot_of_another_machine() -> None:
    machine, other = flat(LOOP), flat(LOOP)
    with pytest.raises(InputError, match="another machine's"):
        machine.restore(other.snapshot())


def test_checks_that_began_after_the_snapshot_begin_anew() -> None:
    machine = Guest(call(0x1_1234)).machine()
    snapshot = Snapshot(machine)
    checks = machine.check()
    run_machine(machine)
    assert [finding.rule.name for finding in checks.findings] == ["unknown-call"]
    snapshot.restore()
    assert checks.findings == []
    assert machine.check() is checks


def test_saving_a_snapshot_keeps_what_was_found_since(tmp_path: Path) -> None:
    machine = Guest(call(0x1_1234)).machine()
    snapshot = machine.snapshot()
    checks = machine.check()
    run_machine(machine)
    snapshot.save(tmp_path / "snapshot")
    assert [finding.rule.name for finding in checks.findings] == ["unknown-call"]
    fresh = Machine.from_snapshot(tmp_path / "snapshot")
    assert fresh.time_ns == 0
    assert fresh.run(SECOND).exits["hypercalls"] == 1
