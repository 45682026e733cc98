"""The setup header of a bzImage: what the kernel says of itself and what the loader answers.

The layout is the x86 boot protocol's (Linux, Documentation/arch/x86/boot.rst); offsets are those
in the file, which are the same in the boot parameters.
"""

from dataclasses import dataclass

from hypercall.machine.loaders.image_reader import ImageReader

HEADER_START = 0x1F1
HEADER_MAGIC_OFFSET = 0x202
HEADER_MAGIC = b"HdrS"

_SECTOR = 512
# The last field that is needed, init_size, ends here; protocol 2.12 has it.
_NEEDED_END = 0x264
_HEADER_LIMIT = 0x290
_VERSION_NEEDED = 0x020C
_LOADED_HIGH = 1
_XLF_KERNEL_64 = 1


@dataclass(frozen=True, slots=True)
class SetupHeader:
    """The fields of the setup header that loading needs.

    Attributes:
        raw: the header as it is in the file, from offset 0x1F1.
        code_offset: where the protected-mode code starts in the file.
        code_size: its bytes.
        payload_offset: where the packed kernel starts in the protected-mode code.
        payload_length: its bytes.
        initrd_highest: the last address that the initial RAM disk may cover.
        command_line_limit: the most bytes of a command line, without its NUL.
        preferred_address: where the kernel wants to be loaded.
        memory_needed: how many bytes it needs there until it knows its memory.
        relocatable: whether it also runs elsewhere.
        alignment: of an address elsewhere.
    """

    raw: bytes
    code_offset: int
    code_size: int
    payload_offset: int
    payload_length: int
    initrd_highest: int
    command_line_limit: int
    preferred_address: int
    memory_needed: int
    relocatable: bool
    alignment: int


def parse_setup_header(reader: ImageReader) -> SetupHeader:
    """Check the header of a bzImage and take from it what loading needs.

    Raises:
        InputError: the file is cut off, or the kernel is too old or not a 64-bit one.
    """
    what = "the kernel's setup header"
    setup_sectors, _, code_paragraphs = reader.unpack("BHI", HEADER_START, what)
    (version,) = reader.unpack("H", 0x206, what)
    if version < _VERSION_NEEDED:
        raise reader.fail(
            f"the kernel has boot protocol {version >> 8}.{version & 0xFF}, "
            "and 2.12 (Linux 3.8) is the oldest that is supported"
        )
    (load_flags,) = reader.unpack("B", 0x211, what)
    (initrd_highest, alignment, relocatable, _, extended_flags, command_line_limit) = reader.unpack(
        "IIBBHI", 0x22C, what
    )
    payload_offset, payload_length, _, preferred, needed = reader.unpack("IIQQI", 0x248, what)
    if not load_flags & _LOADED_HIGH:
        raise reader.fail("a zImage that is loaded low; build the kernel as a bzImage")
    if not extended_flags & _XLF_KERNEL_64:
        raise reader.fail("a 32-bit kernel; this machine boots 64-bit kernels")
    code_offset = ((setup_sectors or 4) + 1) * _SECTOR
    code_size = code_paragraphs * 16
    reader.bytes_at(code_offset, code_size, "the kernel")
    if payload_offset + payload_length > code_size or not payload_length:
        raise reader.fail("the setup header is damaged (payload outside the file); get it again")
    end = min(max(HEADER_MAGIC_OFFSET + reader.data[0x201], _NEEDED_END), _HEADER_LIMIT)
    return SetupHeader(
        raw=reader.bytes_at(HEADER_START, end - HEADER_START, what),
        code_offset=code_offset,
        code_size=code_size,
        payload_offset=payload_offset,
        payload_length=payload_length,
        initrd_highest=initrd_highest,
        command_line_limit=command_line_limit,
        preferred_address=preferred,
        memory_needed=needed,
        relocatable=bool(relocatable),
        alignment=alignment,
    )
