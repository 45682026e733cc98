"""Guest memory that checks what loaders write, and builders of small images of every kind."""

import gzip
import mmap
import struct
from collections.abc import Callable
from typing import Any

import pytest


class CheckedMemory:
    """RAM from 0 on; a write outside of it, or into the firmware's area, fails the test."""

    def __init__(self, size: int, *, fill: int = 0) -> None:
        self.size = size
        self.size_below_4g = size
        self.zeroed = fill == 0
        self.acpi_rsdp = 0xE0000
        self.random_seed = b""
        # A mapping costs nothing until it is touched.
        self.ram = mmap.mmap(-1, size)
        if fill:
            self.ram.write(bytes([fill]) * size)

    def write(self, gpa: int, data: bytes) -> None:
        assert gpa >= 0
        assert gpa + len(data) <= self.size
        assert gpa + len(data) <= 0x9F000 or gpa >= 0x100000
        self.ram[gpa : gpa + len(data)] = data

    def e820(self) -> list[tuple[int, int, int]]:
        return [
            (0, 0x9F000, 1),
            (0x9F000, 0x1000, 2),
            (0xE0000, 0x20000, 2),
            (0x100000, self.size - 0x100000, 1),
        ]

    def read(self, gpa: int, length: int) -> bytes:
        return bytes(self.ram[gpa : gpa + length])

    def number(self, gpa: int, size: int) -> int:
        return int.from_bytes(self.read(gpa, size), "little")

    def text(self, gpa: int) -> bytes:
        return bytes(self.ram[gpa : self.ram.find(b"\0", gpa)])


def elf(
    segments: list[tuple[int, int, bytes, int]],
    *,
    entry: int,
    bits: int = 64,
    machine: int | None = None,
    elf_type: int = 2,
    interpreted: bool = False,
    symbols: bool = False,
) -> bytes:
    """An ELF file; a segment is (physical, virtual, bytes in the file, bytes in memory)."""
    wide = bits == 64
    if machine is None:
        machine = 62 if wide else 3
    header_size, entry_size, section_size = (64, 56, 64) if wide else (52, 32, 40)
    count = len(segments) + interpreted
    offset = header_size + count * entry_size
    headers, body = b"", b""
    for physical, virtual, data, memory in segments:
        start = offset + len(body)
        if wide:
            headers += struct.pack(
                "<IIQQQQQQ", 1, 7, start, virtual, physical, len(data), memory, 16
            )
        else:
            headers += struct.pack("<8I", 1, start, virtual, physical, len(data), memory, 7, 16)
        body += data
    if interpreted:
        headers += struct.pack("<I", 3) + bytes(entry_size - 4)
    sections = struct.pack("<II", 0, 2 if symbols else 1) + bytes(section_size - 8)
    section_offset = offset + len(body)
    identification = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    header = identification + struct.pack(
        "<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH",
        elf_type,
        machine,
        1,
        entry,
        header_size,
        section_offset,
        0,
        header_size,
        entry_size,
        count,
        section_size,
        1,
        0,
    )
    return header + headers + body + sections


def vmlinux(**options: Any) -> bytes:
    """A kernel of one page of code, and one page of memory after it that must be zero."""
    code = b"\xfa\xf4" + b"Linux version 0.0" + bytes(100)
    return elf([(0x100_0000, 0xFFFF_FFFF_8100_0000, code, 0x2000)], entry=0x100_0000, **options)


def bzimage(
    kernel: bytes | None = None, payload: bytes | None = None, **changes: tuple[str, int]
) -> bytes:
    """A bzImage with one setup sector; ``changes`` are (struct format, value) by file offset."""
    if kernel is None:
        kernel = vmlinux()
    if payload is None:
        payload = gzip.compress(kernel, mtime=0)
    code = bytearray(b"\x90" * 0x400 + payload)
    code += bytes(-len(code) % 16)
    setup = bytearray(1024)
    fields = {
        0x1F1: ("B", 1),
        0x1F4: ("I", len(code) // 16),
        0x1FE: ("H", 0xAA55),
        0x200: ("H", 0x66EB),
        0x206: ("H", 0x020F),
        0x211: ("B", 1),
        0x22C: ("I", 0x7FFF_FFFF),
        0x230: ("I", 0x20_0000),
        0x234: ("B", 1),
        0x236: ("H", 0x7F),
        0x238: ("I", 2047),
        0x248: ("I", 0x400),
        0x24C: ("I", len(payload)),
        0x258: ("Q", 0x100_0000),
        0x260: ("I", 0x10_0000),
    }
    fields |= {int(name.removeprefix("at_"), 16): change for name, change in changes.items()}
    setup[0x202:0x206] = b"HdrS"
    for offset, (layout, value) in fields.items():
        struct.pack_into("<" + layout, setup, offset, value)
    return bytes(setup + code)


def multiboot_header(flags: int = 0, *addresses: int) -> bytes:
    """A multiboot header with its checksum and, with flag bit 16, its five addresses."""
    magic = 0x1BADB002
    header = struct.pack("<III", magic, flags, -(magic + flags) & 0xFFFF_FFFF)
    return header + struct.pack(f"<{len(addresses)}I", *addresses)


@pytest.fixture(scope="session")
def make_memory() -> Callable[..., CheckedMemory]:
    return CheckedMemory


@pytest.fixture
def memory() -> CheckedMemory:
    return CheckedMemory(32 << 20)


class Images:
    """The builders, for tests."""

    elf = staticmethod(elf)
    vmlinux = staticmethod(vmlinux)
    bzimage = staticmethod(bzimage)
    multiboot_header = staticmethod(multiboot_header)


@pytest.fixture(scope="session")
def images() -> Images:
    return Images()
