"""Guests as multiboot images: what the kit would put into memory, in one file with its own start.

The image is entered in 32-bit protected mode with nothing prepared. It makes page tables, goes to
64-bit code and then on as the kit's guests do.
"""

from collections.abc import Iterator
from typing import Any

from tests.guests.kit import LIMIT_NS, MEMORY, Guest, GuestRun, assemble
from tests.guests.layout import CODE_64, IDENTITY_TABLES, IMAGE, POINTERS, STACK_SIZE, STACKS
from tests.machine.loaders.conftest import elf, multiboot_header

from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.machine.result import StopReason

ENTRY = 0xC00000
_PAGE = 0x1000
# What the firmware and the boot loader keep, where the guest's own tables come later.
_RESERVED = range(0x80000, 0x100000)


def start() -> str:
    """The first code: one-to-one page tables of large pages for 4 GiB, then 64-bit code."""
    tables = IDENTITY_TABLES
    directories = "\n".join(
        f"mov dword ptr [{tables + 0x1000 + 8 * number}], {tables + 0x2007 + 0x1000 * number}"
        for number in range(4)
    )
    return f"""
        cli
        cld
        cmp eax, 0x2BADB002
        jne refuse
        test dword ptr [ebx], 1
        jz refuse
        mov edi, {tables}
        xor eax, eax
        mov ecx, {6 * 1024}
        rep stosd
        mov dword ptr [{tables}], {tables + 0x1007}
        {directories}
        mov edi, {tables + 0x2000}
        mov eax, 0x87
    next_page:
        mov [edi], eax
        add edi, 8
        add eax, 0x200000
        jnc next_page
        mov eax, cr4
        or eax, 0x620
        mov cr4, eax
        mov eax, {tables}
        mov cr3, eax
        mov ecx, 0xC0000080
        rdmsr
        or eax, 0x900
        wrmsr
        mov esp, {STACKS + STACK_SIZE}
        mov eax, 0x80010033
        .byte 0x0F, 0x22, 0xC0
        lgdt [{POINTERS}]
        .byte 0xEA
        .long {IMAGE}
        .word {CODE_64}
    refuse:
        mov eax, 0xBAD
        out 0xF4, eax
        hlt
    """


def image_of(code: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A multiboot image of 32-bit code at `ENTRY`, and of what else lies in memory."""
    text = multiboot_header() + code
    parts = [(ENTRY, text), *segments]
    return elf(
        [(address, address, data, len(data)) for address, data in parts], entry=ENTRY + 12, bits=32
    )


def multiboot_image(guest: Guest) -> bytes:
    """The image of a guest of the kit."""
    code = assemble(start(), ENTRY + 12, bits=32)
    return image_of(code, *_pieces(guest.machine().partition.memory.read(0, MEMORY)))


def _pieces(memory: bytes) -> Iterator[tuple[int, bytes]]:
    """The runs of pages that hold anything, by address."""
    first: int | None = None
    for address in range(0, len(memory) + 1, _PAGE):
        used = (
            address < len(memory)
            and address not in _RESERVED
            and any(memory[address : address + _PAGE])
        )
        if used and first is None:
            first = address
        elif not used and first is not None:
            yield first, memory[first:address]
            first = None


def run_image(image: bytes, cpus: int, limit_ns: int = LIMIT_NS, **settings: Any) -> GuestRun:
    """Run an image to its end at the debug exit port."""
    machine = Machine(MachineConfiguration(**{"cpus": cpus, "memory": MEMORY} | settings))
    machine.load(image)
    result = machine.run(limit_ns)
    assert result.reason is StopReason.DEBUG_EXIT, result
    return GuestRun(machine, result)


def run_multiboot(guest: Guest, limit_ns: int = LIMIT_NS) -> GuestRun:
    """Run a guest of the kit from its image."""
    return run_image(multiboot_image(guest), guest.cpus, limit_ns, **guest.configuration)
