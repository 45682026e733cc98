"""The flushes of second-level address spaces, by the conformance cases."""

import struct
from collections.abc import Callable

import pytest
from tests.calls.conftest import INPUT, Guest
from tests.calls.trust_levels import enable, enter

from hypercall.abi.outcome import SUSPEND
from hypercall.partition.nested_formats import NestedFormat
from hypercall.tlfs.privileges import NestedFeature
from hypercall.tlfs.registers import RegisterName
from hypercall.tlfs.status import HvStatus

SPACE, LIST = 0xAF, 0xB0
ROOT = 0x10000
EPT_POINTER = ROOT | 0x1E
OTHER = 0x20000 | 0x1E
PAGES = (0, 0x200000, 0x400000, 0x401000, 0x800000, 0x40000000)


@pytest.fixture
def nested_guest(make_guest: Callable[..., Guest]) -> Guest:
    """A guest with two spaces that map everything to itself, and all of `PAGES` remembered."""
    guest = make_guest(2, nested_features=NestedFeature.FLUSH_GUEST_PHYSICAL_ADDRESS)
    memory = guest.partition.memory
    for root in (ROOT, OTHER & ~0xFFF):
        memory.write_u64(root, 0x30000 | 7)
    for gib in range(2):
        memory.write_u64(0x30000 + 8 * gib, 0x31000 + 0x1000 * gib | 7)
        for part in range(8):
            address = gib << 30 | part << 21
            memory.write_u64(0x31000 + 0x1000 * gib + 8 * part, 0x33000 + 0x1000 * part | 7)
            for page in range(2):
                memory.write_u64(0x33000 + 0x1000 * part + 8 * page, address + 4096 * page | 7)
    for root in (EPT_POINTER, OTHER):
        guest.partition.nested.register(root, NestedFormat.EPT)
    remember(guest)
    return guest


def remember(guest: Guest) -> None:
    for root in (EPT_POINTER, OTHER):
        for vp_index in range(2):
            for gpa in PAGES:
                guest.partition.nested.translate(root, gpa, vp_index=vp_index)


def remembered(guest: Guest, root: int) -> list[tuple[int, ...]]:
    space = guest.partition.nested.find(root)
    assert space is not None
    return [tuple(address for address, _ in space.cached(vp_index)) for vp_index in range(2)]


def test_b157_a_flush_of_a_space_drops_it_on_all_processors(nested_guest: Guest) -> None:
    assert remembered(nested_guest, ROOT) == [PAGES, PAGES]
    assert nested_guest.call(SPACE, EPT_POINTER, 0) == HvStatus.SUCCESS
    assert remembered(nested_guest, ROOT) == [(), ()]
    assert remembered(nested_guest, OTHER) == [PAGES, PAGES]
    remember(nested_guest)
    assert nested_guest.fast(SPACE, ROOT, 0, vp=1) == HvStatus.SUCCESS
    assert remembered(nested_guest, ROOT) == [(), ()]


def test_b158_a_flush_of_three_ranges(nested_guest: Guest) -> None:
    ranges = (0x200000, 0x400001, 0x800000)
    result = nested_guest.call(LIST | 3 << 32, EPT_POINTER, 0, *ranges)
    assert result == 0x3_0000_0000
    assert remembered(nested_guest, ROOT) == [(0, 0x40000000)] * 2
    assert remembered(nested_guest, OTHER) == [PAGES, PAGES]


def test_b159_2048_pages_in_either_form(nested_guest: Guest) -> None:
    assert nested_guest.call(LIST | 1 << 32, EPT_POINTER, 0, 0x2007FF) == 0x1_0000_0000
    assert remembered(nested_guest, ROOT) == [(0, 0x40000000)] * 2  # 2 to 10 MiB are gone


@pytest.mark.parametrize(
    ("element", "left"),
    [
        pytest.param(0x400800, (0, 0x200000, 0x800000, 0x40000000), id="2M"),
        pytest.param(0x400801, (0, 0x200000, 0x800000, 0x40000000), id="two-of-2M"),
        pytest.param(0x40001800, PAGES[:-1], id="1G"),
    ],
)
def test_large_ranges(nested_guest: Guest, element: int, left: tuple[int, ...]) -> None:
    assert nested_guest.fast(LIST | 1 << 32, EPT_POINTER, 0, element) == 0x1_0000_0000
    assert remembered(nested_guest, ROOT) == [left, left]


def test_a_bad_range_ends_the_list(nested_guest: Guest) -> None:
    result = nested_guest.call(LIST | 3 << 32, EPT_POINTER, 0, 0, 0x402800, 0x800000)
    assert result == 0x1_0000_0000 | HvStatus.INVALID_PARAMETER
    assert remembered(nested_guest, ROOT) == [PAGES[1:], PAGES[1:]]


def test_an_unknown_space_has_nothing_to_drop(nested_guest: Guest) -> None:
    assert nested_guest.call(SPACE, 0x70000, 0) == HvStatus.SUCCESS
    assert nested_guest.call(LIST | 1 << 32, 0x70000, 0, 0) == 0x1_0000_0000
    assert remembered(nested_guest, ROOT) == [PAGES, PAGES]


@pytest.mark.parametrize("words", [(EPT_POINTER, 1), (1 << 40, 0), (1 << 63, 0)])
def test_flags_and_bad_addresses(nested_guest: Guest, words: tuple[int, int]) -> None:
    assert nested_guest.call(SPACE, *words) == HvStatus.INVALID_PARAMETER
    assert nested_guest.call(LIST | 1 << 32, *words, 0) == HvStatus.INVALID_PARAMETER
    assert remembered(nested_guest, ROOT) == [PAGES, PAGES]


@pytest.mark.parametrize(
    ("reading", "status"), [("hyperv", 0x15), ("kvm", 2), ("xen", 2), ("openvmm", 2)]
)
def test_b156_without_nested_virtualization(
    make_guest: Callable[..., Guest], reading: str, status: int
) -> None:
    guest = make_guest(1, reading)
    assert guest.fast(SPACE, 0x1000, 0) == status
    assert guest.call(LIST | 1 << 32, 0x1000, 0, 0) == status


def test_the_feature_bit_of_either_vendor_will_do(make_guest: Callable[..., Guest]) -> None:
    guest = make_guest(1, nested_features=NestedFeature.ENLIGHTENED_NPT_TLB)
    assert guest.fast(SPACE, 0x1000, 0) == HvStatus.SUCCESS
    leaf = guest.partition.hypervisor_leaves[0x4000000A]
    assert leaf[0] == 1 << 22
    guest = make_guest(1, nested_features=NestedFeature.DIRECT_VIRTUAL_FLUSH)
    assert guest.fast(SPACE, 0x1000, 0) == HvStatus.INVALID_VP_STATE


def test_a_flush_waits_for_a_locked_tlb(nested_guest: Guest) -> None:
    guest = nested_guest
    enable(guest, 1, (0, 1))
    enter(guest, 1, vp=1)
    state = guest.vp(1).vtls[1]
    guest.partition.registers.write(state, RegisterName.VSM_VP_SECURE_CONFIG_VTL0, 2)
    guest.partition.memory.write(INPUT, struct.pack("<3Q", EPT_POINTER, 0, 0))
    for control in (SPACE, LIST | 1 << 32):
        assert guest.attempt(control, INPUT, 0) is SUSPEND
    assert guest.effects.named("suspend") == [(guest.vp(),)] * 2
    assert remembered(guest, ROOT) == [PAGES, PAGES]
    guest.partition.registers.write(state, RegisterName.VSM_VP_SECURE_CONFIG_VTL0, 0)
    assert guest.attempt(LIST | 1 << 32, INPUT, 0).value == 0x1_0000_0000
    assert remembered(guest, ROOT) == [PAGES[1:], PAGES[1:]]
