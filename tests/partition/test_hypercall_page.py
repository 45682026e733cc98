from collections.abc import Callable

import pytest

from hypercall.errors import GuestMemoryError
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.hypercall_page import (
    CONTENT,
    VTL_CALL_OFFSET_32,
    VTL_CALL_OFFSET_64,
    VTL_RETURN_OFFSET_32,
    VTL_RETURN_OFFSET_64,
    HypercallPage,
)
from hypercall.partition.memory import GuestMemory
from hypercall.partition.standalone import StandalonePartition
from hypercall.tlfs.readings import ReadingSet

MakePartition = Callable[..., StandalonePartition]


@pytest.fixture
def memory() -> GuestMemory:
    return GuestMemory(bytearray(16 * 4096), bytearray(2 * 4096))


@pytest.fixture
def page(memory: GuestMemory) -> HypercallPage:
    page = HypercallPage(memory, 0)
    page.write_guest_os_id(1 << 63)
    return page


def test_the_code_of_the_page(memory: GuestMemory, page: HypercallPage) -> None:
    page.write(0x3001, lockable=True)
    code = memory.read(0x3000, 4096)
    assert code[:4] == bytes.fromhex("0f01c1c3")
    offsets = (
        VTL_CALL_OFFSET_32,
        VTL_CALL_OFFSET_64,
        VTL_RETURN_OFFSET_32,
        VTL_RETURN_OFFSET_64,
    )
    assert offsets == (0x04, 0x0F, 0x1B, 0x26)
    assert code[0x04:0x0F] == bytes.fromhex("89c1b8110000000f01c1c3")
    assert code[0x0F:0x1B] == bytes.fromhex("4889c8b9110000000f01c1c3")
    assert code[0x1B:0x26] == bytes.fromhex("89c1b8120000000f01c1c3")
    assert code[0x26:0x32] == bytes.fromhex("4889c8b9120000000f01c1c3")
    assert len(CONTENT) == 0x32
    assert set(code[0x32:]) == {0xCC}


def test_the_page_cannot_be_written_and_hides_ram(memory: GuestMemory, page: HypercallPage) -> None:
    memory.write(0x3000, b"guest")
    page.write(0x3001, lockable=True)
    with pytest.raises(GuestMemoryError):
        memory.write(0x3000, b"x")
    assert page.page == 3
    page.write(0x3000, lockable=True)
    assert memory.read(0x3000, 5) == b"guest"
    assert page.page is None


def test_without_an_os_id_the_page_stays_disabled(memory: GuestMemory) -> None:
    page = HypercallPage(memory, 0)
    page.write(0x3001, lockable=True)
    assert page.value == 0x3000
    assert not page.enabled
    assert memory.overlay_pages() == []


def test_clearing_the_os_id_disables_the_page(memory: GuestMemory, page: HypercallPage) -> None:
    page.write(0x3001, lockable=True)
    page.write_guest_os_id(0)
    assert page.value == 0x3000
    assert memory.overlay_pages() == []
    page.write_guest_os_id(5)
    assert not page.enabled


def test_a_locked_register_refuses_every_write(page: HypercallPage) -> None:
    page.write(0x3003, lockable=True)
    for value in (0, 0x3003, 0x4001):
        with pytest.raises(GeneralProtection):
            page.write(value, lockable=True)
    assert page.value == 0x3003
    page.reset()
    page.write(0x4000, lockable=True)
    assert page.value == 0x4000


def test_without_the_feature_the_lock_bit_stays_clear(page: HypercallPage) -> None:
    page.write(0x3003, lockable=False)
    assert page.value == 0x3001


def test_a_page_beyond_the_address_space_is_a_fault(page: HypercallPage) -> None:
    with pytest.raises(GeneralProtection):
        page.write(1 << 40 | 1, lockable=True)
    page.write((1 << 40) - 0x1000 | 1, lockable=True)


@pytest.mark.parametrize(("reading", "refused"), [("hyperv", False), ("openvmm", True)])
def test_reserved_bits_are_preserved_or_a_fault(
    make_partition: MakePartition, reading: str, refused: bool
) -> None:
    partition = make_partition(1, readings=ReadingSet.named(reading)).partition
    vp = partition.bootstrap
    partition.msrs.write(vp, 0x40000000, 1)
    if refused:
        with pytest.raises(GeneralProtection):
            partition.msrs.write(vp, 0x40000001, 0x3FF1)
    else:
        partition.msrs.write(vp, 0x40000001, 0x3FF1)
        assert partition.msrs.read(vp, 0x40000001) == 0x3FF1


def test_moving_the_page(memory: GuestMemory, page: HypercallPage) -> None:
    page.write(0x3001, lockable=True)
    page.write(0x4001, lockable=True)
    assert memory.overlay_pages() == [4]
