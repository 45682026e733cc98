import ctypes
import mmap
import os
import signal
from pathlib import Path

import pytest

from hypercall.errors import HypercallError
from hypercall.snapshot.memory_holder import MemoryHolder


def address_of(memory: mmap.mmap) -> int:
    """Where a mapping lies in this process."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def test_memory_is_read_as_it_was() -> None:
    memory = mmap.mmap(-1, 0x513000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:2] = b"ab"
    memory[-2:] = b"yz"
    holder = MemoryHolder()
    memory[:2] = b"xx"
    pieces = {offset: bytes(data) for offset, data in holder.read(address_of(memory), len(memory))}
    whole = b"".join(pieces[offset] for offset in sorted(pieces))
    assert len(pieces) > 1
    assert (len(whole), whole[:2], whole[-2:]) == (len(memory), b"ab", b"yz")
    holder.close()


def test_a_process_that_was_ended_is_said_so() -> None:
    before = children()
    holder = MemoryHolder()
    (child,) = children() - before
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with pytest.raises(HypercallError, match="snapshot"):
        list(holder.read(0x1000, 1))
    holder.close()
    holder.close()


def test_an_interrupt_from_the_keyboard_does_not_end_it() -> None:
    before = children()
    holder = MemoryHolder()
    (child,) = children() - before
    status = Path(f"/proc/{child}/status")
    while "SigIgn:\t0000000000000000" in status.read_text():
        os.sched_yield()
    os.kill(child, signal.SIGINT)
    memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    assert "SigIgn" in status.read_text()
    assert "Z (zombie)" not in status.read_text()
    holder.close()
    memory.close()


def children() -> set[int]:
    return {
        int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    }
