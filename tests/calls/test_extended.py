import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.calls.extended import _without
from hypercall.partition.configuration import DEFAULT_PRIVILEGES
from hypercall.partition.memory import Permission
from hypercall.partition.memory_hints import COMPLETION_NS
from hypercall.tlfs.call_flags import HeatType
from hypercall.tlfs.privileges import ExtendedCapability, Privilege
from hypercall.tlfs.readings import ReadingSet
from hypercall.tlfs.status import HvStatus

MakeGuest = Callable[..., Any]

CAPABILITIES, ZEROED = 0x8001, 0x8002


def zeroed(guest: Any) -> list[tuple[int, int]]:
    words = struct.unpack("<511Q", guest.output(0xFF8))
    count = words[0]
    assert not any(words[1 + 2 * count :])
    return list(zip(words[1 : 1 + 2 * count : 2], words[2 : 2 + 2 * count : 2], strict=True))


def test_capabilities(make_guest: MakeGuest) -> None:
    guest = make_guest()
    assert guest.call(CAPABILITIES) == 0
    assert struct.unpack("<Q", guest.output(8)) == (0x117,)
    guest = make_guest(extended_capabilities=ExtendedCapability(0xB))
    assert guest.call(CAPABILITIES) == 0
    assert struct.unpack("<Q", guest.output(8)) == (0xB,)


def test_capabilities_in_registers(make_guest: MakeGuest) -> None:
    guest = make_guest()
    assert guest.fast(CAPABILITIES) == 0
    assert guest.registers.written == {0: struct.pack("<QQ", 0x117, 0)}
    assert make_guest(reading="kvm").fast(CAPABILITIES) == 5


def test_without_the_privilege(make_guest: MakeGuest) -> None:
    without = Privilege(DEFAULT_PRIVILEGES & ~Privilege.ENABLE_EXTENDED_HYPERCALLS)
    for reading, status in (("hyperv", 6), ("kvm", 6), ("xen", 2), ("openvmm", 2)):
        guest = make_guest(privileges=without, reading=reading)
        assert guest.call(CAPABILITIES) == status
        assert guest.call(ZEROED) == status


def test_the_largest_ranges_come_first(guest: Any) -> None:
    guest.effects.untouched = [(10, 3), (20, 50), (80, 3)]
    assert guest.call(ZEROED) == 0
    assert zeroed(guest) == [(20, 50), (10, 3), (80, 3)]


def test_there_is_room_for_255_ranges(guest: Any) -> None:
    guest.effects.untouched = [(1000 * n, n + 1) for n in range(300)]
    assert guest.call(ZEROED) == 0
    found = zeroed(guest)
    assert len(found) == 255
    assert min(count for _, count in found) == 300 - 255 + 1


def test_overlay_pages_are_left_out(guest: Any) -> None:
    guest.effects.untouched = [(0, 8)]
    guest.partition.memory.map_overlay(0, 4)
    assert guest.call(ZEROED) == 0
    assert sorted(zeroed(guest)) == [(0, 1), (2, 2), (5, 3)], "the hypercall page is at page 1"


def test_a_capability_that_is_off(make_guest: MakeGuest) -> None:
    assert make_guest(extended_capabilities=ExtendedCapability(0)).call(ZEROED) == 2


def test_the_output_must_not_cross_a_page(guest: Any) -> None:
    assert guest.attempt(ZEROED, 0, 0x9008).value == 0
    assert guest.attempt(ZEROED, 0, 0x9010).value == 4


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=4),
    st.sets(st.integers(0, 90), max_size=10),
)
def test_taking_pages_out(ranges: list[tuple[int, int]], pages: set[int]) -> None:
    left = [page for first, count in _without(ranges, sorted(pages)) for page in
            range(first, first + count)]  # fmt: skip
    expected = [page for first, count in ranges for page in range(first, first + count)]
    assert left == [page for page in expected if page not in pages]


HINT, HINT_LATER = 0x8003, 0x8006
COLD, HOT, DISCARD = HeatType


@pytest.fixture
def roomy(make_guest: MakeGuest) -> Any:
    return make_guest(1, memory_size=8 << 20)


def hinted(guest: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = guest.effects.named("hint_memory")
    return found


@pytest.mark.parametrize("heat", HeatType)
def test_hints_reach_the_host(roomy: Any, heat: HeatType) -> None:
    result = roomy.call(HINT | 3 << 32, heat, 0x1000, 0x200800, 0x10003)
    assert result == 0x3_0000_0000
    assert hinted(roomy) == [(heat, 1, 1), (heat, 512, 512), (heat, 16, 4)]


def test_b167_511_ranges(roomy: Any) -> None:
    assert roomy.call(HINT | 511 << 32, DISCARD, *([0x100000] * 511)) == 0x1FF_0000_0000
    assert len(hinted(roomy)) == 511


def test_b166_an_older_host_takes_no_small_ranges(make_guest: MakeGuest) -> None:
    readings = ReadingSet.named("hyperv").changed(
        memory_hint_small_range=HvStatus.INVALID_PARAMETER
    )
    guest = make_guest(1, memory_size=8 << 20)
    assert guest.call(HINT | 1 << 32, DISCARD, 0x400000) == 0x1_0000_0000
    older = make_guest(1, memory_size=8 << 20, readings=readings)
    assert older.call(HINT | 1 << 32, DISCARD, 0x400000) == 5
    assert older.call(HINT | 1 << 32, DISCARD, 0x400800) == 0x1_0000_0000


@pytest.mark.parametrize("code", [HINT, HINT_LATER])
@pytest.mark.parametrize(
    ("header", "ranges", "completed"),
    [
        pytest.param(3, (0,), 0, id="type-3"),
        pytest.param(4, (0,), 0, id="reserved-bits"),
        pytest.param(0, (0, 0x800000, 0x1000), 1, id="beyond-ram"),
        pytest.param(0, (0, 0, 0x2800), 2, id="malformed"),
    ],
)
def test_a_bad_hint_ends_the_list(
    roomy: Any, code: int, header: int, ranges: tuple[int, ...], completed: int
) -> None:
    result = roomy.call(code | len(ranges) << 32, header, *ranges)
    assert result == 5 | completed << 32
    roomy.box.advance(COMPLETION_NS)
    assert hinted(roomy) == [(COLD, 0, 1)] * completed


def test_a_hint_that_is_not_waited_for_is_followed_later(roomy: Any) -> None:
    result = roomy.call(HINT_LATER | 2 << 32, DISCARD, 0x1000, 0x200800)
    assert result == HvStatus.CALL_PENDING | 2 << 32
    assert not hinted(roomy)
    roomy.box.advance(COMPLETION_NS)
    assert hinted(roomy) == [(DISCARD, 1, 1), (DISCARD, 512, 512)]


def test_b170_capabilities_that_are_off(make_guest: MakeGuest) -> None:
    guest = make_guest(1, extended_capabilities=ExtendedCapability.GET_BOOT_ZEROED_MEMORY)
    assert guest.call(HINT | 1 << 32, 0, 0) == 2
    assert guest.call(HINT_LATER | 1 << 32, 0, 0) == 2
    guest = make_guest(1, extended_capabilities=ExtendedCapability.MEMORY_COLD_DISCARD_HINT)
    assert guest.call(HINT | 1 << 32, DISCARD, 0) == 0x1_0000_0000
    assert guest.call(HINT | 1 << 32, COLD, 0) == 5


def test_a_vtl_cannot_discard_what_a_higher_one_protects(make_guest: MakeGuest) -> None:
    guest = make_guest(1)
    guest.partition.vsm.enable_partition_vtl(1, mbec=False)
    guest.partition.vsm.protect(1, [5], Permission.READ)
    assert guest.call(HINT | 2 << 32, DISCARD, 0x4000, 0x5000) == 6 | 1 << 32
    assert hinted(guest) == [(DISCARD, 4, 1)]
    assert guest.call(HINT | 1 << 32, COLD, 0x5000) == 0x1_0000_0000


EPF_SETUP = 0x8004


def test_epf_setup(roomy: Any) -> None:
    assert roomy.call(EPF_SETUP, 1, 0x100, 2) == 0
    assert struct.unpack("<Q", roomy.output(8)) == (2,)
    queue = roomy.partition.page_faults.queue
    assert (queue.vtl, queue.gpa, queue.slots) == (0, 0x100000, 1022)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((2, 0x100, 1), id="B169"),
        pytest.param((1 | 1 << 32, 0x100, 1), id="mode"),
        pytest.param((1, 0x800, 1), id="beyond-ram"),
        pytest.param((1, 0x100, 0), id="no-pages"),
    ],
)
def test_epf_setup_refusals(roomy: Any, words: tuple[int, ...]) -> None:
    assert roomy.call(EPF_SETUP, *words) == 5
    assert roomy.partition.page_faults.queue is None


def test_epf_setup_without_its_capability(make_guest: MakeGuest) -> None:
    guest = make_guest(1, extended_capabilities=~ExtendedCapability.EPF_SETUP)
    assert guest.call(EPF_SETUP, 1, 0x10, 1) == 2
