import mmap

import pytest

from hypercall.cpu.unicorn.engine import Engine
from hypercall.cpu.unicorn.memory_map import MemoryMap
from hypercall.partition.memory import READ_EXECUTE, GuestMemory

PAGE = 4096
SIZE = 1 << 20
DEVICE = 0xFEE00000
ALL = 15


class World:
    """An engine and guest memory, joined by a map with two VTLs."""

    def __init__(self, size: int = SIZE) -> None:
        self.ram = mmap.mmap(-1, size)
        self.arena = mmap.mmap(-1, 16 * PAGE)
        self.engine = Engine(self.ram, self.arena)
        self.memory = GuestMemory(memoryview(self.ram), memoryview(self.arena), vtl_count=2)
        self.map = MemoryMap(self.engine, self.memory, (DEVICE,), 2)
        self.memory.listener = self.map


@pytest.fixture
def world() -> World:
    return World()


def test_ram_is_one_to_one(world: World) -> None:
    for vtl in (0, 1):
        assert world.engine.get_entry(vtl, 0) == world.engine.entry("ram", 0, ALL)
        last = SIZE // PAGE - 1
        assert world.engine.get_entry(vtl, last) == world.engine.entry("ram", SIZE - PAGE, ALL)
    assert world.engine.get_entry(0, SIZE // PAGE) is None


def test_devices_and_holes_lie_beyond(world: World) -> None:
    device = world.map.entry(DEVICE // PAGE, 0)
    assert device not in (world.engine.void_entry, world.engine.entry("ram", 0, ALL))
    assert world.map.entry(0x80000, 0) == world.engine.void_entry


def test_an_overlay_is_an_entry_of_its_vtl(world: World) -> None:
    overlay = world.memory.map_overlay(1, 7, READ_EXECUTE)
    expected = world.engine.entry("arena", overlay.slot * PAGE, int(READ_EXECUTE))
    assert world.engine.get_entry(1, 7) == expected
    assert world.engine.get_entry(0, 7) == world.engine.entry("ram", 7 * PAGE, ALL)
    world.memory.unmap_overlay(overlay)
    assert world.engine.get_entry(1, 7) == world.engine.entry("ram", 7 * PAGE, ALL)


def test_an_overlay_beyond_ram_is_found_when_asked_for(world: World) -> None:
    overlay = world.memory.map_overlay(0, 0x80000)
    assert world.map.entry(0x80000, 0) == world.engine.entry("arena", overlay.slot * PAGE, 3)


def test_memory_above_4_gib() -> None:
    size = (3 << 30) + 2 * PAGE
    world = World(size)
    first = (4 << 30) // PAGE
    assert world.engine.get_entry(0, first) == world.engine.entry("ram", 3 << 30, ALL)
    assert world.engine.get_entry(0, first + 1) == world.engine.entry("ram", (3 << 30) + PAGE, ALL)
    assert world.engine.get_entry(0, (3 << 30) // PAGE) == world.engine.void_entry
    assert world.engine.get_entry(0, DEVICE // PAGE) == world.map.entry(DEVICE // PAGE, 0)


def test_what_the_host_writes_is_marked(world: World) -> None:
    world.memory.write(5 * PAGE + 8, b"x")
    written = world.engine.written_pages()
    assert [page for page, mark in enumerate(written) if mark] == [5]


def test_contexts_have_the_table_of_their_vtl(world: World) -> None:
    assert [world.map.add_context(vtl) for vtl in (0, 1)] == [0, 1]
