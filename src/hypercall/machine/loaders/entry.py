"""What a loader needs of the machine and what it gives back: memory in, register state out."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class LoaderMemory(Protocol):
    """The guest memory that a loader fills, before any virtual processor runs.

    Attributes:
        size: bytes of RAM in all.
        size_below_4g: bytes of RAM from guest-physical address 0 up to the hole below 4 GiB.
        zeroed: the RAM is all zero, so that a loader need not clear what it leaves out.
        acpi_rsdp: guest-physical address of the ACPI root pointer; 0 without tables.
        random_seed: what the guest's random numbers start from; empty for nothing.
    """

    @property
    def random_seed(self) -> bytes:
        """What the guest's random numbers start from; empty for nothing."""
        ...

    @property
    def size(self) -> int:
        """Bytes of RAM in all."""
        ...

    @property
    def size_below_4g(self) -> int:
        """Bytes of RAM from guest-physical address 0 up to the hole below 4 GiB."""
        ...

    @property
    def zeroed(self) -> bool:
        """Whether the RAM is all zero."""
        ...

    @property
    def acpi_rsdp(self) -> int:
        """Guest-physical address of the ACPI root pointer; 0 without tables."""
        ...

    def write(self, gpa: int, data: bytes) -> None:
        """Store bytes at a guest-physical address inside RAM."""
        ...

    def e820(self) -> list[tuple[int, int, int]]:
        """The memory map: (start, length in bytes, type: 1 RAM, 2 reserved, 3 ACPI tables)."""
        ...


class EntryKind(Enum):
    """How the guest is entered."""

    LINUX = "Linux, at the kernel's own entry"
    LINUX_DECOMPRESSOR = "Linux, at the decompressor of the bzImage"
    MULTIBOOT = "multiboot 1, 32-bit protected mode"
    ELF64 = "64-bit ELF, long mode"
    ELF32 = "32-bit ELF, protected mode"
    FLAT = "flat binary, long mode"


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment register in the form of HV_X64_SEGMENT_REGISTER.

    Attributes:
        selector: the 16-bit selector.
        base: linear base address.
        limit: limit in bytes, granularity applied.
        attributes: access rights: bits 3:0 type, 4 S, 6:5 DPL, 7 present, 12 AVL, 13 L,
            14 D/B, 15 G.
    """

    selector: int
    base: int
    limit: int
    attributes: int


@dataclass(frozen=True, slots=True)
class EntryState:
    """The boot processor's architectural registers at the guest's first instruction.

    Every register that is not here has its value after reset. General registers that are not in
    ``general`` are 0; their names are ``rax`` to ``r15``, without ``rsp``.

    Attributes:
        kind: how the guest is entered.
        rip: the first instruction.
        rsp: the stack pointer; 0 where the protocol gives none.
        general: the general registers that are not 0, by name.
        rflags: the flags; interrupts are always disabled.
        cr0: control register 0.
        cr3: page-table root; 0 without paging.
        cr4: control register 4.
        efer: the extended feature register.
        cs: code segment.
        data: the segment in DS, ES, SS, FS and GS.
        tr: task register.
        ldtr: local descriptor table register.
        gdt_base: linear base of the global descriptor table.
        gdt_limit: its limit in bytes.
        idt_base: linear base of the interrupt descriptor table.
        idt_limit: its limit in bytes; 0 means none.
        symbols: an ELF file with the guest's symbol table, if the image has one.
        symbol_slide: what is added to the values of that table to get the guest's addresses.
    """

    kind: EntryKind
    rip: int
    rsp: int
    cr0: int
    cr3: int
    cr4: int
    efer: int
    cs: Segment
    data: Segment
    gdt_base: int
    gdt_limit: int
    general: dict[str, int] = field(default_factory=dict)
    rflags: int = 2
    tr: Segment = Segment(0, 0, 0xFFFF, 0x8B)
    ldtr: Segment = Segment(0, 0, 0xFFFF, 0x82)
    idt_base: int = 0
    idt_limit: int = 0
    symbols: bytes | None = None
    symbol_slide: int = 0
