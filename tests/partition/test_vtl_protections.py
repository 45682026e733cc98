import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.errors import GuestMemoryError
from hypercall.partition.memory import PAGE_SIZE, GuestMemory
from hypercall.partition.vtl_protections import (
    VtlProtections,
    given_permissions,
    includes_read_and_write,
    valid_combination,
)
from hypercall.tlfs.readings import ExecuteBits

MASKS = st.integers(0, 15)


@pytest.fixture
def memory() -> GuestMemory:
    return GuestMemory(bytearray(16 * PAGE_SIZE), bytearray(4 * PAGE_SIZE))


@pytest.mark.parametrize(
    ("mask", "plain", "mbec"),
    [
        (0x0, True, True),
        (0x1, True, True),
        (0x3, True, True),
        (0xD, True, True),
        (0xF, True, True),
        (0x9, False, True),
        (0xB, False, True),
        (0x5, False, False),
        (0x7, False, False),
        (0x2, False, False),
        (0xC, False, False),
        (0xE, False, False),
    ],
)
def test_combinations(mask: int, plain: bool, mbec: bool) -> None:
    assert valid_combination(mask, mbec=False) == plain
    assert valid_combination(mask, mbec=True) == mbec


@pytest.mark.parametrize("mbec", [False, True])
def test_bits_in_the_order_of_headers_are_taken_as_they_are(mbec: bool) -> None:
    for mask in range(16):
        assert given_permissions(mask, ExecuteBits.KERNEL_FIRST, mbec=mbec) == mask


@pytest.mark.parametrize(
    ("mask", "plain", "mbec"),
    [(0x3, 0x3, 0x3), (0x7, 0x3, 0xB), (0xB, 0xF, 0x7), (0xF, 0xF, 0xF), (0x8, 0xC, 0x4)],
)
def test_bits_in_the_other_order(mask: int, plain: int, mbec: int) -> None:
    assert given_permissions(mask, ExecuteBits.USER_FIRST, mbec=False) == plain
    assert given_permissions(mask, ExecuteBits.USER_FIRST, mbec=True) == mbec


def test_default_masks_leave_data_accessible() -> None:
    assert [mask for mask in range(16) if includes_read_and_write(mask)] == [3, 7, 11, 15]


def test_nothing_is_restricted_at_first(memory: GuestMemory) -> None:
    protections = VtlProtections(memory, 3)
    assert memory.protections is None
    assert not protections.restricted(0)
    assert protections.allowed(3, 0) == 0xF


def test_a_page_and_the_default(memory: GuestMemory) -> None:
    protections = VtlProtections(memory, 3)
    protections.set_default(1, 3)
    protections.set_pages(1, [4, 5], 0xF)
    protections.set_page(1, 6, 0)
    assert [protections.allowed(page, 0) for page in (3, 4, 5, 6)] == [3, 0xF, 0xF, 0]
    assert protections.allowed(6, 1) == 0xF
    assert [protections.restricted(vtl) for vtl in range(3)] == [True, False, False]
    assert memory.protections is protections
    protections.drop(1)
    assert memory.protections is None


def test_who_forbids_an_access(memory: GuestMemory) -> None:
    protections = VtlProtections(memory, 3)
    protections.set_page(2, 4, 1)
    assert protections.first_refusal(4, 0, 2) == 2
    protections.set_page(1, 4, 0xD)
    assert protections.first_refusal(4, 0, 2) == 1
    assert protections.first_refusal(4, 1, 2) == 2
    assert protections.first_refusal(4, 0, 1) is None
    assert protections.first_refusal(4, 2, 2) is None


@given(MASKS, MASKS)
def test_what_several_allow_is_what_all_of_them_do(first: int, second: int) -> None:
    memory = GuestMemory(bytearray(4 * PAGE_SIZE), bytearray())
    protections = VtlProtections(memory, 3)
    protections.set_page(1, 2, first)
    protections.set_page(2, 2, second)
    assert protections.allowed(2, 0) == first & second
    assert protections.allowed(2, 1) == second


def test_accesses_of_the_hypervisor_honour_them(memory: GuestMemory) -> None:
    protections = VtlProtections(memory, 3)
    protections.set_page(1, 4, 1)
    protections.set_page(1, 5, 0)
    assert memory.read(0x4000, 8) == bytes(8)
    with pytest.raises(GuestMemoryError):
        memory.write(0x4000, b"x")
    with pytest.raises(GuestMemoryError):
        memory.read(0x5000, 1)
    with pytest.raises(GuestMemoryError):
        memory.read(0x4FFC, 8)
    memory.write(0x5000, b"x", vtl=1)
    assert memory.read(0x3FFC, 4) == bytes(4)


def test_overlay_pages_are_exempt(memory: GuestMemory) -> None:
    protections = VtlProtections(memory, 3)
    protections.set_page(1, 4, 0)
    memory.map_overlay(0, 4)
    memory.write(0x4000, b"x")
    assert memory.has_overlay(4)
    assert not memory.has_overlay(4, 1)
