"""Recorded calls: chosen, counted, compared, and listed when a comparison fails."""

import pytest
from tests.guests.assembly import call
from tests.guests.kit import Guest as AssemblyGuest

from hypercall.errors import InputError
from hypercall.machine.machine import Machine
from hypercall.testing.calls import Calls, explain
from hypercall.testing.recorder import recording
from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus

SPIN = 0x10008
# A code that means nothing, then three spins of 5, 6 and 7.
TEXT = f"{call(0x0FFF)}\n{call(SPIN, 5)}\n{call(SPIN, 6)}\n{call(SPIN, 7)}\n"


@pytest.fixture
def machine() -> Machine:
    return AssemblyGuest(TEXT).machine()


@pytest.fixture
def calls(machine: Machine) -> Calls:
    with recording(machine) as calls:
        machine.run(10_000_000)
    return calls


def test_calls_are_chosen_by_kind_result_caller_and_arguments(calls: Calls) -> None:
    spins = calls.of(Call.NOTIFY_LONG_SPIN_WAIT)
    assert calls.count == 4
    assert spins.count == 3
    assert calls.where(status=HvStatus.INVALID_HYPERCALL_CODE).first.code == 0x0FFF
    assert spins.where(spin_count=6).count == 1
    assert [each.arguments["spin_count"] for each in spins.where(spin_count=lambda n: n > 5)] == [
        6,
        7,
    ]
    assert spins.where(vp=0, vtl=0).count == 3
    assert not spins.where(vp=1)
    assert spins.where(site=spins[1].address)[0] is spins[1]
    assert spins.where(site=spins[1].site).count == 1
    assert spins.where(after_ns=spins[0].entered_ns).count == 2
    assert spins.where(before_ns=spins[2].entered_ns).last is spins[1]


def test_the_order_has_names_where_there_are_names(calls: Calls) -> None:
    assert calls.order == [0x0FFF] + [Call.NOTIFY_LONG_SPIN_WAIT] * 3


def test_a_wrong_name_or_an_empty_choice_is_told(calls: Calls) -> None:
    with pytest.raises(InputError, match=r"calls\.of\(NOTIFY_LONG_SPIN_WAIT\) .* spin_count$"):
        calls.of(Call.NOTIFY_LONG_SPIN_WAIT).where(spins=5)
    with pytest.raises(InputError, match="the guest made none that fit"):
        _ = calls.of(Call.POST_MESSAGE).first
    with pytest.raises(InputError, match="is no place"):
        calls.where(site="there+here")


def test_a_failed_comparison_lists_the_calls(calls: Calls) -> None:
    chosen = calls.where(status=HvStatus.INVALID_HYPERCALL_CODE)
    lines = explain("==", chosen.count, 2)
    assert lines is not None
    assert lines[0] == "1 == 2"
    assert lines[1] == "calls.where(status=INVALID_HYPERCALL_CODE): 1 call"
    assert "unknown call 0x0fff" in lines[2]
    assert explain("==", 2, calls.of(Call.POST_MESSAGE).count)[-1:] == ["  (none)"]  # type: ignore[index]
    assert explain("==", 1, 2) is None


def test_many_calls_are_listed_in_part(calls: Calls) -> None:
    many = Calls(list(calls) * 25, "calls")
    lines = many.lines()
    assert len(lines) == 41
    assert lines[20] == "... 60 more ..."


def test_nothing_is_recorded_behind_the_block(machine: Machine) -> None:
    with recording(machine) as calls:
        pass
    machine.run(10_000_000)
    assert calls.count == 0
