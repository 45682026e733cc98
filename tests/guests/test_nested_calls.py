"""Flushes of second-level address spaces from guest code, and what a translator still knows."""

import pytest
from tests.guests.hypercalls import Caller, Calls, Row
from tests.guests.layout import DATA, INPUT

from hypercall.machine.machine import Machine
from hypercall.partition.nested_formats import NestedFormat
from hypercall.tlfs.privileges import NestedFeature

SPACE, LIST = 0xAF, 0xB0
NESTED = {"partition": {"nested_features": NestedFeature.FLUSH_GUEST_PHYSICAL_ADDRESS}}
POINTER = DATA | 0x1E


def tables() -> dict[int, bytes]:
    """Tables that map the first 2 MiB to themselves in pages of 4 KiB."""

    def entries(*values: int) -> bytes:
        return b"".join(value.to_bytes(8, "little") for value in values)

    return {
        DATA: entries(DATA + 0x1000 | 7),
        DATA + 0x1000: entries(DATA + 0x2000 | 7),
        DATA + 0x2000: entries(DATA + 0x3000 | 7),
        DATA + 0x3000: entries(*(page << 12 | 6 << 3 | 7 for page in range(512))),
    }


def remembered(machine: Machine) -> list[int]:
    space = machine.partition.nested.find(POINTER)
    assert space is not None
    return [address >> 12 for address, _ in space.cached(0)]


def make(mode: str, *rows: Row, rep_budget: int | None = None) -> Calls:
    def prepare(machine: Machine) -> None:
        machine.partition.nested.register(POINTER, NestedFormat.EPT)
        for page in range(8):
            machine.partition.nested.translate(POINTER, page << 12)

    caller = Caller(mode, configuration=NESTED, memory=tables(), prepare=prepare)
    return caller.make(*rows, rep_budget=rep_budget)


@pytest.mark.parametrize("mode", ["64", "32"])
def test_a_flush_of_the_space_in_memory_and_in_registers(mode: str) -> None:
    for row in (Row(SPACE, (POINTER, 0)), Row(SPACE | 1 << 16, input=POINTER, output=0)):
        calls = make(mode, row)
        assert calls.only.result == 0
        assert remembered(calls.run.machine) == []


@pytest.mark.parametrize("mode", ["64", "32"])
@pytest.mark.parametrize("rep_budget", [None, 1])
def test_b158_a_list_drops_just_what_it_names(mode: str, rep_budget: int | None) -> None:
    row = Row(LIST | 3 << 32, (POINTER, 0, 0x1000, 0x3001, 0x7000))
    calls = make(mode, row, rep_budget=rep_budget)
    assert calls.only.result == 0x3_0000_0000
    assert remembered(calls.run.machine) == [0, 2, 5, 6]


def test_a_list_in_registers() -> None:
    row = Row(LIST | 2 << 32 | 1 << 16, input=POINTER, output=0, xmm=(0x1000, 0x2000))
    calls = make("64", row)
    assert calls.only.result == 0x2_0000_0000
    assert remembered(calls.run.machine) == [0, 3, 4, 5, 6, 7]


def test_a_large_page_range() -> None:
    calls = make("64", Row(LIST | 1 << 32, (POINTER, 0, 0x800)))
    assert calls.only.result == 0x1_0000_0000
    assert remembered(calls.run.machine) == []


def test_other_spaces_stay() -> None:
    other = DATA + 0x1000
    calls = make("64", Row(SPACE, (other, 0)), Row(LIST | 1 << 32, (other, 0, 0), INPUT + 0x100))
    assert [answer.result for answer in calls.answers] == [0, 0x1_0000_0000]
    assert remembered(calls.run.machine) == list(range(8))


@pytest.mark.parametrize(
    ("like", "status"), [("hyperv", 0x15), ("kvm", 2), ("xen", 2), ("openvmm", 2)]
)
def test_b156_without_the_feature(like: str, status: int) -> None:
    caller = Caller(configuration={"like": like})
    answers = caller.make(
        Row(SPACE | 1 << 16, input=0x1000, output=0), Row(LIST | 1 << 32, (0x1000, 0, 0))
    ).answers
    assert [answer.status for answer in answers] == [status, status]


def test_the_leaf_shows_the_features() -> None:
    caller = Caller(
        before="mov eax, 0x4000000a\ncpuid\nmov [r15], rax\nadd r15, 8", configuration=NESTED
    )
    assert caller.make().run.words(1) == [1 << 18]
