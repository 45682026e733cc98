from typing import Any

import pytest

from hypercall.machine.loaders.entry import EntryKind
from hypercall.machine.loaders.flat_modes import long_mode, protected_mode


@pytest.mark.parametrize("enter", [long_mode, protected_mode])
@pytest.mark.parametrize("sse", [True, False])
def test_the_segments_are_those_of_the_descriptor_table(memory: Any, enter: Any, sse: bool) -> None:
    state = enter(memory, EntryKind.FLAT, 0x100000, sse=sse)
    assert state.gdt_limit == 31
    for segment in (state.cs, state.data):
        descriptor = memory.number(state.gdt_base + segment.selector, 8)
        limit = descriptor & 0xFFFF | descriptor >> 32 & 0xF0000
        base = descriptor >> 16 & 0xFFFFFF | descriptor >> 32 & 0xFF000000
        assert descriptor >> 40 & 0xF0FF == segment.attributes
        assert (base, limit << 12 | 0xFFF) == (segment.base, segment.limit)


@pytest.mark.parametrize("enter", [long_mode, protected_mode])
def test_sse_is_enabled_on_request(memory: Any, enter: Any) -> None:
    without = enter(memory, EntryKind.FLAT, 0x100000)
    assert without.cr4 & 0x600 == 0
    with_sse = enter(memory, EntryKind.FLAT, 0x100000, sse=True)
    assert with_sse.cr4 & 0x600 == 0x600
    # Monitor coprocessor set, emulation and task switched clear.
    assert with_sse.cr0 & 0b1110 == 0b0010


def test_protected_mode_has_no_paging_and_long_mode_has(memory: Any) -> None:
    flat = protected_mode(memory, EntryKind.ELF32, 0x100000)
    assert (flat.cr0 >> 31, flat.cr3, flat.efer) == (0, 0, 0)
    long = long_mode(memory, EntryKind.ELF64, 0x100000)
    assert (long.cr0 >> 31, long.cr4 >> 5 & 1, long.efer) == (1, 1, 0x500)
