import mmap
from pathlib import Path

import pytest

from hypercall.machine.host_memory import HostMemory

SIZE = 16 << 20
HALF = SIZE // 2
SLACK = 1 << 20


def resident() -> int:
    """The bytes of host memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.fixture
def ram() -> mmap.mmap:
    return mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def test_discarded_memory_is_gone_and_reads_as_zero(ram: mmap.mmap) -> None:
    ram[:] = b"\xaa" * SIZE
    before = resident()
    HostMemory(ram).discard(0, HALF)
    assert resident() <= before - HALF + SLACK
    assert ram[:4096] == bytes(4096)
    assert ram[HALF - 1] == 0
    assert ram[HALF] == 0xAA


def test_cool_memory_keeps_its_content_and_gives_zeros_back(ram: mmap.mmap) -> None:
    for position in range(0, SIZE, mmap.PAGESIZE):
        ram[position] = 1
    for position in range(0, HALF, mmap.PAGESIZE):
        ram[position] = 0
    ram[8 * mmap.PAGESIZE] = 7
    before = resident()
    HostMemory(ram).cool(0, SIZE)
    assert resident() <= before - HALF + SLACK
    assert ram[8 * mmap.PAGESIZE] == 7
    assert all(ram[position] for position in range(HALF, SIZE, mmap.PAGESIZE))


def test_warm_memory_is_as_before(ram: mmap.mmap) -> None:
    ram[5] = 5
    HostMemory(ram).warm(0, SIZE)
    assert ram[5] == 5
    assert ram[SIZE - 1] == 0
