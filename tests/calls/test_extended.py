import struct
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hypercall.calls.extended import _without
from hypercall.partition.configuration import DEFAULT_PRIVILEGES
from hypercall.tlfs.privileges import ExtendedCapability, Privilege

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
