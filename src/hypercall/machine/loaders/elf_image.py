"""The part of an ELF file that a boot loader needs: its header and its loadable segments."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypercall.machine.loaders.entry import LoaderMemory
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.placement import clear, require_ram

ELF_MAGIC = b"\x7fELF"

_ET_EXEC = 2
_ET_DYN = 3
_EM_386 = 3
_EM_X86_64 = 62
_PT_LOAD = 1
_PT_INTERP = 3
_SHT_SYMTAB = 2
_MACHINES = {8: "MIPS", 20: "PowerPC", 21: "PowerPC", 22: "S/390", 40: "ARM", 183: "ARM64"}
_MACHINES |= {243: "RISC-V", 258: "LoongArch", 2: "SPARC", 43: "SPARC", 50: "Itanium"}
_TYPES = {1: "an object file that is not linked yet", 4: "a core dump"}


@dataclass(frozen=True, slots=True)
class LoadSegment:
    """One PT_LOAD program header.

    Attributes:
        offset: where its bytes start in the file.
        file_size: how many bytes of it are in the file.
        memory_size: how many it has in memory; the rest is zero.
        physical: the physical address it is loaded at.
        virtual: the virtual address it is linked for.
    """

    offset: int
    file_size: int
    memory_size: int
    physical: int
    virtual: int


@dataclass(frozen=True, slots=True)
class ElfImage:
    """An ELF file for x86 whose headers and segments are all there.

    Attributes:
        bits: 32 or 64, by the machine that it is for.
        entry: e_entry.
        segments: the loadable segments, as the file has them.
        position_independent: it is of type ET_DYN.
        interpreted: it asks for a dynamic linker.
        has_symbols: it has a symbol table.
    """

    bits: int
    entry: int
    segments: tuple[LoadSegment, ...]
    position_independent: bool
    interpreted: bool
    has_symbols: bool

    def end(self) -> int:
        """The first physical address after all segments."""
        return max(segment.physical + segment.memory_size for segment in self.segments)

    def holds(self, address: int) -> bool:
        """Whether a physical address is inside a segment."""
        return any(
            segment.physical <= address < segment.physical + segment.memory_size
            for segment in self.segments
        )


def parse_elf(reader: ImageReader) -> ElfImage:
    """Check an ELF file and take from it what loading needs.

    Raises:
        InputError: it is truncated, inconsistent, or not for an x86 processor.
    """
    word_size, byte_order = reader.unpack("BB", 4, "the ELF identification")
    if word_size not in (1, 2) or byte_order not in (1, 2):
        raise reader.fail("the ELF identification is damaged; get the file again")
    if byte_order == 2:
        raise reader.fail("an ELF file for a big-endian machine; this machine is x86")
    elf_type, machine = reader.unpack("HH", 16, "the ELF header")
    if machine not in (_EM_386, _EM_X86_64):
        other = _MACHINES.get(machine, f"number {machine}")
        raise reader.fail(f"an ELF file for another machine ({other}); this machine is x86")
    if elf_type not in (_ET_EXEC, _ET_DYN):
        other = _TYPES.get(elf_type, f"of type {elf_type}")
        raise reader.fail(f"the ELF file is {other}, not an executable; link it first")
    if word_size == 2:
        entry, program_headers, section_headers = reader.unpack("QQQ", 24, "the ELF header")
        sizes = reader.unpack("HHHH", 54, "the ELF header")
    else:
        entry, program_headers, section_headers = reader.unpack("III", 24, "the ELF header")
        sizes = reader.unpack("HHHH", 42, "the ELF header")
    program_header_size, program_header_count, section_header_size, section_header_count = sizes
    if program_header_count and program_header_size < (56 if word_size == 2 else 32):
        raise reader.fail("the ELF program headers have a wrong size; get the file again")
    segments: list[LoadSegment] = []
    interpreted = False
    for index in range(program_header_count):
        kind, segment = _program_header(
            reader, program_headers + index * program_header_size, word_size
        )
        if kind == _PT_LOAD and segment.memory_size:
            segments.append(_checked(reader, segment, len(segments)))
        interpreted |= kind == _PT_INTERP
    if not segments:
        raise reader.fail("the ELF file has nothing to load")
    has_symbols = _has_symbols(
        reader, section_headers, section_header_size, section_header_count, word_size
    )
    return ElfImage(
        bits=64 if machine == _EM_X86_64 else 32,
        entry=entry,
        segments=tuple(segments),
        position_independent=elf_type == _ET_DYN,
        interpreted=interpreted,
        has_symbols=has_symbols,
    )


def _program_header(reader: ImageReader, offset: int, word_size: int) -> tuple[int, LoadSegment]:
    what = "the ELF program headers"
    if word_size == 2:
        kind, _, start, virtual, physical, file_size, memory_size, _ = reader.unpack(
            "IIQQQQQQ", offset, what
        )
    else:
        kind, start, virtual, physical, file_size, memory_size, _, _ = reader.unpack(
            "IIIIIIII", offset, what
        )
    return kind, LoadSegment(start, file_size, memory_size, physical, virtual)


def _checked(reader: ImageReader, segment: LoadSegment, index: int) -> LoadSegment:
    if segment.file_size > segment.memory_size:
        raise reader.fail(f"ELF segment {index} is larger in the file than in memory")
    end = segment.offset + segment.file_size
    if end > len(reader.data):
        raise reader.fail(
            f"truncated: ELF segment {index} would end at byte {end}, "
            f"but the file has only {len(reader.data)} bytes; get it again"
        )
    return segment


def _has_symbols(
    reader: ImageReader, offset: int, entry_size: int, count: int, word_size: int
) -> bool:
    """Whether there is a symbol table; a section header table that is cut off is an error."""
    if not offset or not count:
        return False
    if entry_size < (64 if word_size == 2 else 40):
        raise reader.fail("the ELF section headers have a wrong size; get the file again")
    table = reader.bytes_at(offset, entry_size * count, "the ELF section headers")
    kinds = (
        int.from_bytes(table[start + 4 : start + 8], "little")
        for start in range(0, len(table), entry_size)
    )
    return _SHT_SYMTAB in kinds


def load_segments(
    reader: ImageReader,
    segments: Sequence[LoadSegment],
    memory: LoaderMemory,
    offset: int = 0,
) -> None:
    """Copy the segments to their physical addresses, moved by ``offset``, and clear their rest.

    Raises:
        InputError: a segment does not fit into memory, or two overlap.
    """
    end = 0
    for segment in sorted(segments, key=lambda segment: segment.physical):
        if segment.physical < end:
            raise reader.fail(f"two ELF segments overlap at {segment.physical:#x}; link it again")
        end = segment.physical + segment.memory_size
    for index, segment in enumerate(segments):
        require_ram(
            reader, memory, segment.physical + offset, segment.memory_size, f"ELF segment {index}"
        )
    for segment in segments:
        start = segment.physical + offset
        memory.write(start, reader.data[segment.offset : segment.offset + segment.file_size])
        clear(memory, start + segment.file_size, segment.memory_size - segment.file_size)
