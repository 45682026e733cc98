"""A small encoder for the ACPI Machine Language, as far as the board's DSDT needs it.

Source: ACPI Specification 6.4, chapter 20 (AML) and section 6.4 (resource data types). Each
function returns the bytes of one term; terms are put together by concatenation.
"""


def name_string(path: str) -> bytes:
    r"""A path such as ``\_SB.VMB0``: segments are filled up with underscores to four letters."""
    prefix = b"\\" if path.startswith("\\") else b""
    segments = [part.ljust(4, "_").encode("ascii") for part in path.lstrip("\\").split(".") if part]
    if any(len(segment) != 4 for segment in segments):
        raise ValueError(f"{path} has a segment of more than four letters")
    if not segments:
        return prefix + b"\0"
    if len(segments) == 1:
        return prefix + segments[0]
    if len(segments) == 2:
        return prefix + b"\x2e" + b"".join(segments)
    return prefix + b"\x2f" + bytes([len(segments)]) + b"".join(segments)


def integer(value: int) -> bytes:
    """An integer of up to 64 bits in its shortest form."""
    if value < 2:
        return bytes([value])
    for opcode, size in ((0x0A, 1), (0x0B, 2), (0x0C, 4)):
        if value < 1 << 8 * size:
            return bytes([opcode]) + value.to_bytes(size, "little")
    return b"\x0e" + value.to_bytes(8, "little")


def string(text: str) -> bytes:
    """A string of ASCII characters."""
    return b"\x0d" + text.encode("ascii") + b"\0"


def eisa_id(identifier: str) -> bytes:
    """An identifier such as ``PNP0501`` in its compressed form."""
    first, second, third = (ord(letter) - 0x40 for letter in identifier[:3])
    vendor = first << 10 | second << 5 | third
    return b"\x0c" + vendor.to_bytes(2, "big") + int(identifier[3:], 16).to_bytes(2, "big")


def _package_length(body: bytes) -> bytes:
    # The length counts its own bytes too.
    for size in range(1, 5):
        length = len(body) + size
        if size == 1 and length < 0x40:
            return bytes([length])
        if size > 1 and length < 1 << 4 + 8 * (size - 1):
            first = (size - 1) << 6 | length & 0x0F
            return bytes([first]) + (length >> 4).to_bytes(size - 1, "little")
    raise ValueError("an AML term is too long")


def _with_length(opcode: bytes, body: bytes) -> bytes:
    return opcode + _package_length(body) + body


def name(path: str, value: bytes) -> bytes:
    """A named object."""
    return b"\x08" + name_string(path) + value


def scope(path: str, body: bytes) -> bytes:
    """Terms inside an existing scope."""
    return _with_length(b"\x10", name_string(path) + body)


def device(path: str, body: bytes) -> bytes:
    """A device and its objects."""
    return _with_length(b"\x5b\x82", name_string(path) + body)


def package(*elements: bytes) -> bytes:
    """A package of constant elements."""
    return _with_length(b"\x12", bytes([len(elements)]) + b"".join(elements))


def buffer(data: bytes) -> bytes:
    """A buffer with these bytes."""
    return _with_length(b"\x11", integer(len(data)) + data)


def resource_template(*descriptors: bytes) -> bytes:
    """A buffer of resource descriptors with its end tag."""
    return buffer(b"".join(descriptors) + b"\x79\0")


def io_resource(base: int, length: int) -> bytes:
    """A fixed range of I/O ports with 16-bit decoding."""
    port = base.to_bytes(2, "little")
    return b"\x47\x01" + port + port + b"\x01" + bytes([length])


def irq_resource(line: int) -> bytes:
    """An edge-triggered, active-high ISA interrupt."""
    return b"\x22" + (1 << line).to_bytes(2, "little")


def memory_resource(base: int, length: int) -> bytes:
    """A fixed range of guest-physical memory below 4 GiB that devices behind a bridge may use."""
    # Produced for others, both ends fixed; not cacheable, and may be written.
    flags = b"\x00\x0c\x01"
    words = (0, base, base + length - 1, 0, length)
    return b"\x87\x17\0" + flags + b"".join(word.to_bytes(4, "little") for word in words)
