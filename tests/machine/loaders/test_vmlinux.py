from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.machine.loaders.elf_image import parse_elf
from hypercall.machine.loaders.entry import EntryKind
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.vmlinux import is_vmlinux, load_vmlinux


def test_a_kernel_is_told_from_other_elf_files(images: Any) -> None:
    kernel = ImageReader(images.vmlinux(), "vmlinux")
    other = ImageReader(
        images.elf([(0x100_0000, 0xFFFF_FFFF_8100_0000, b"x", 1)], entry=0x100_0000), "other"
    )
    assert is_vmlinux(kernel, parse_elf(kernel))
    assert not is_vmlinux(other, parse_elf(other))


def test_it_is_entered_with_boot_parameters_made_here(images: Any, memory: Any) -> None:
    state = load_vmlinux(ImageReader(images.vmlinux(), "vmlinux"), memory, b"disk", "quiet")
    assert state.kind is EntryKind.LINUX
    assert state.rip == 0x100_0000
    parameters = state.general["rsi"]
    assert memory.read(parameters + 0x1FE, 2) == b"\x55\xaa"
    assert memory.read(parameters + 0x202, 4) == b"HdrS"
    assert memory.number(parameters + 0x211, 1) == 1
    assert memory.text(memory.number(parameters + 0x228, 4)) == b"quiet"


@pytest.mark.parametrize("symbols", [True, False])
def test_its_symbols_are_handed_on(images: Any, memory: Any, symbols: bool) -> None:
    data = images.vmlinux(symbols=symbols)
    state = load_vmlinux(ImageReader(data, "vmlinux"), memory, None, "")
    assert state.symbols == (data if symbols else None)


def test_an_entry_outside_the_kernel_is_refused(images: Any, memory: Any) -> None:
    data = images.elf([(0x100_0000, 0xFFFF_FFFF_8100_0000, b"x", 1)], entry=0x100_0001)
    with pytest.raises(InputError, match="0x1000001 is outside"):
        load_vmlinux(ImageReader(data, "vmlinux"), memory, None, "")
