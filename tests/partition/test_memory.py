import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.errors import GuestMemoryError, HypercallError
from hypercall.partition.memory import (
    ALL_PERMISSIONS,
    PAGE_SIZE,
    READ_EXECUTE,
    READ_WRITE,
    Backing,
    GuestMemory,
    Permission,
)


class Listener:
    def __init__(self) -> None:
        self.mappings: list[tuple[int, int]] = []
        self.writes: list[tuple[int, int]] = []

    def mapping_changed(self, vtl: int, page: int) -> None:
        self.mappings.append((vtl, page))

    def host_wrote(self, backing_offset: int, length: int) -> None:
        self.writes.append((backing_offset, length))


def memory(pages: int = 8, arena: int = 4) -> GuestMemory:
    return GuestMemory(bytearray(pages * PAGE_SIZE), bytearray(arena * PAGE_SIZE))


class HugeRam(GuestMemory):
    """Four GiB of RAM, of which only the arithmetic is used."""

    def __init__(self) -> None:
        super().__init__(bytearray(PAGE_SIZE), bytearray(PAGE_SIZE))
        self.size = 4 << 30
        self.size_below_4g = 3 << 30
        self.high_end = 5 << 30


def test_ram_beyond_3_gib_lies_at_4_gib() -> None:
    ram = HugeRam()
    last_low = ram.resolve((3 << 18) - 1)
    assert last_low is not None
    assert last_low.offset == (3 << 30) - PAGE_SIZE
    assert ram.resolve(3 << 18) is None
    assert not ram.is_ram(3 << 18)
    first_high = ram.resolve(4 << 18)
    assert first_high is not None
    assert first_high.offset == 3 << 30
    assert ram.is_ram((5 << 18) - 1)
    assert ram.resolve(5 << 18) is None


def test_reads_and_writes_cross_pages() -> None:
    ram = memory()
    ram.write(PAGE_SIZE - 3, b"abcdef")
    assert ram.read(PAGE_SIZE - 3, 6) == b"abcdef"
    ram.write_u64(0x10, 0x1122334455667788)
    assert ram.read_u32(0x14) == 0x11223344
    ram.write_u32(0x10, 5)
    assert ram.read_u64(0x10) == 0x1122334400000005


def test_a_hole_is_named_and_nothing_is_written() -> None:
    ram = memory(pages=1)
    with pytest.raises(GuestMemoryError) as caught:
        ram.write(PAGE_SIZE - 4, b"12345678")
    assert (caught.value.gpa, caught.value.access) == (PAGE_SIZE, "write")
    assert ram.read(PAGE_SIZE - 4, 4) == bytes(4)
    with pytest.raises(GuestMemoryError):
        ram.read(PAGE_SIZE - 4, 8)
    with pytest.raises(GuestMemoryError):
        ram.check(PAGE_SIZE - 4, 8)


def test_an_overlay_hides_ram_and_reveals_it_again() -> None:
    ram = memory()
    ram.write(0x2000, b"below")
    overlay = ram.map_overlay(0, 2)
    assert ram.read(0x2000, 5) == bytes(5)
    ram.write(0x2000, b"above")
    assert bytes(overlay.view[:5]) == b"above"
    assert bytes(ram.ram[0x2000:0x2005]) == b"below"
    assert ram.read(0x1FFF, 7) == b"\0above\0"
    assert ram.read(0x2000, 5, vtl=1) == b"below"
    ram.unmap_overlay(overlay)
    assert ram.read(0x2000, 5) == b"below"
    ram.map_overlay(0, 3, READ_WRITE, overlay)
    assert ram.read(0x3000, 5) == b"above"


def test_the_newest_overlay_wins_and_the_order_survives_a_removal() -> None:
    ram = memory()
    first = ram.map_overlay(0, 1)
    second = ram.map_overlay(0, 1)
    first.view[0], second.view[0] = 1, 2
    assert ram.read(0x1000, 1) == b"\2"
    ram.unmap_overlay(first)
    assert ram.read(0x1000, 1) == b"\2"
    ram.unmap_overlay(second)
    assert ram.read(0x1000, 1) == b"\0"
    assert ram.overlay_pages() == []


def test_permissions_bind_the_hypervisor_too() -> None:
    ram = memory()
    ram.map_overlay(0, 1, READ_EXECUTE)
    assert ram.read(0x1000, 1) == b"\0"
    with pytest.raises(GuestMemoryError) as caught:
        ram.write(0x1008, b"x")
    assert caught.value.gpa == 0x1008
    ram.check(0x1000, 8)
    with pytest.raises(GuestMemoryError):
        ram.check(0x1000, 8, write=True)
    resolution = ram.resolve(1)
    assert resolution is not None
    assert resolution.backing is Backing.ARENA
    assert not resolution.permissions & Permission.WRITE


def test_overlays_may_lie_where_there_is_no_ram_but_not_beyond_the_address_space() -> None:
    ram = memory()
    ram.map_overlay(0, 0x80000)
    ram.write(0x80000000, b"x")
    assert ram.read(0x80000000, 1) == b"x"
    with pytest.raises(ValueError, match="beyond"):
        ram.map_overlay(0, 1 << 28)


def test_the_arena_is_finite_and_released_pages_come_back_clean() -> None:
    ram = memory(arena=2)
    first = ram.map_overlay(0, 1)
    ram.map_overlay(0, 2)
    with pytest.raises(HypercallError, match="all 2 overlay pages"):
        ram.map_overlay(0, 3)
    first.view[:4] = b"dirt"
    ram.release_overlay(first)
    again = ram.map_overlay(0, 3)
    assert again.slot == first.slot
    assert ram.read(0x3000, 4) == bytes(4)


def test_the_processor_hears_of_mappings_and_of_writes() -> None:
    ram = memory()
    ram.listener = listener = Listener()
    overlay = ram.map_overlay(1, 5)
    assert listener.mappings == [(1, 5)]
    listener.writes.clear()
    ram.write(0x1FFE, b"abcd")
    ram.write(0x5010, b"ab", vtl=1)
    in_arena = ram.size + overlay.slot * PAGE_SIZE + 0x10
    assert listener.writes == [(0x1FFE, 2), (0x2000, 2), (in_arena, 2)]
    ram.unmap_overlay(overlay)
    assert listener.mappings[-1] == (1, 5)


@given(
    st.lists(st.tuples(st.integers(0, 4 * PAGE_SIZE - 1), st.binary(max_size=600)), max_size=12),
    st.sets(st.integers(0, 3)),
)
def test_memory_behaves_as_one_array_of_bytes(
    writes: list[tuple[int, bytes]], overlaid: set[int]
) -> None:
    ram = memory(pages=4)
    for page in overlaid:
        ram.map_overlay(0, page)
    model = bytearray(4 * PAGE_SIZE)
    for gpa, data in writes:
        kept = data[: 4 * PAGE_SIZE - gpa]
        ram.write(gpa, kept)
        model[gpa : gpa + len(kept)] = kept
    assert ram.read(0, 4 * PAGE_SIZE) == bytes(model)


def test_a_page_that_is_out_changes_the_mapping_of_every_vtl_but_not_the_hosts() -> None:
    made = memory()
    listener = Listener()
    made.listener = listener
    made.write(PAGE_SIZE, b"kept")
    made.set_evicted(1, True)
    assert made.evicted == {1}
    assert listener.mappings == [(0, 1), (1, 1), (2, 1)]
    assert made.read(PAGE_SIZE, 4) == b"kept"
    made.set_evicted(1, False)
    made.set_evicted(1, False)
    assert made.evicted == set()


def test_what_the_host_forbids_binds_every_vtl() -> None:
    ram = memory()
    ram.listener = listener = Listener()
    ram.restrict(2, Permission.READ)
    assert listener.mappings == [(vtl, 2) for vtl in range(3)]
    for vtl in range(3):
        found = ram.resolve(2, vtl)
        assert found is not None
        assert found.permissions == Permission.READ
        assert ram.read(0x2000, 8, vtl) == bytes(8)
        with pytest.raises(GuestMemoryError):
            ram.write(0x2000, b"x", vtl)
    ram.restrict(2, Permission(0))
    with pytest.raises(GuestMemoryError):
        ram.read(0x1FFC, 8)
    ram.restrict(2, ALL_PERMISSIONS)
    ram.write(0x2000, b"x")
    assert ram.host_permissions(2) == ALL_PERMISSIONS
