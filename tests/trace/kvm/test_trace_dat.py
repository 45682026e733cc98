import struct

import pytest
from tests.trace.kvm.recordings import Entry, ring_buffer, trace_dat

from hypercall.errors import InputError
from hypercall.trace.kvm.trace_dat import Piece, chunks, read_trace_dat

ENTRIES = [
    Entry(
        number * 1000, 40 + number % 2, number % 2, "kvm_hv_hypercall", task=f"CPU {number % 2}/KVM"
    )
    for number in range(3000)
]
FORMS = [(6, "none"), (7, "none"), (7, "zstd"), (7, "zlib")]


def parts_of(data: bytes, form: str) -> tuple[list[bytes], list[tuple[int, str]]]:
    """Return each processor's ring buffer, and the damage."""
    found = read_trace_dat(memoryview(data))
    damage: list[tuple[int, str]] = []
    rings = [
        b"".join(
            bytes(part)
            for _, part in chunks(
                memoryview(data), piece, form, 2, lambda *each: damage.append(each)
            )
        )
        for piece in found.processors
    ]
    return rings, damage


@pytest.mark.parametrize(("version", "form"), FORMS)
def test_what_was_written_is_read(version: int, form: str) -> None:
    data = trace_dat(ENTRIES, version=version, compression=form)
    found = read_trace_dat(memoryview(data))
    assert found.version == version
    assert found.compression == form
    assert found.clock == "local"
    assert (found.page.size, found.page.data_offset) == (4096, 16)
    assert found.virtual_processors == [(40, 0), (41, 1)]
    assert "kvm_hv_hypercall" in {each.name for each in found.formats}
    rings, damage = parts_of(data, form)
    assert damage == []
    assert rings == [ring_buffer([each for each in ENTRIES if each.cpu == cpu]) for cpu in (0, 1)]
    assert len(rings[0]) > 40960


@pytest.mark.parametrize(("version", "form"), FORMS)
def test_options(version: int, form: str) -> None:
    options = [
        (7, b"-0x10\0"),
        (1, b"5\0"),
        (14, struct.pack("<IIQ", 3, 4, 5)),
        (999, b"unknown"),
    ]
    data = trace_dat(ENTRIES[:2], version=version, compression=form, options=options)
    found = read_trace_dat(memoryview(data))
    assert found.added == 5000 - 16
    assert found.conversion == (3, 4)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ((7, b"soon\0"), "no offset"),
        ((7, b"9" * 30 + b"\0"), "62 bits"),
        ((14, struct.pack("<IIQ", 3, 99, 5)), "shifted by 99"),
        ((14, b"\0"), "4 bytes are announced"),
        ((3, struct.pack("<Q", 1 << 60)), "cut off|9 bytes"),
    ],
)
def test_damaged_options(option: tuple[int, bytes], message: str) -> None:
    data = trace_dat(ENTRIES[:2], options=[option])
    with pytest.raises(InputError, match=message):
        read_trace_dat(memoryview(data))


def test_buffers_of_other_instances_in_version_6() -> None:
    data = trace_dat(ENTRIES[:2], version=6, options=[(3, bytes(8) + b"other\0")])
    found = read_trace_dat(memoryview(data))
    assert found.notes == ["buffers of other instances are passed over"]
    assert len(found.processors) == 2


def test_a_trace_in_text() -> None:
    data = trace_dat(ENTRIES[:2], version=6)
    at = data.index(b"flyrecord\0")
    found = read_trace_dat(memoryview(data[:at] + b"latency  \0# tracer: nop\n"))
    assert found.text == [Piece(at + 10, 14)]
    assert found.processors == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 are"),
        (b"\x17\x08\x44tracinG7\0", "does not begin"),
        (b"\x17\x08\x44tracing5\0\0\x08", "version 5"),
        (b"\x17\x08\x44tracing7\0\1\x08", "big-endian"),
        (b"\x17\x08\x44tracing7\0\0\x08\0\x10\0\0none\0", "announced|end"),
        (b"\x17\x08\x44tracing" + b"7" * 5000, "does not end"),
    ],
)
def test_no_trace_dat(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_trace_dat(memoryview(data))


def test_options_that_go_round() -> None:
    data = bytearray(trace_dat(ENTRIES[:2]))
    (first,) = struct.unpack_from("<Q", data, 25)
    assert data[-8:] == bytes(8)
    data[-8:] = struct.pack("<Q", first)
    with pytest.raises(InputError, match="go round"):
        read_trace_dat(memoryview(data))


def test_pages_of_other_sizes() -> None:
    data = trace_dat(ENTRIES, page=65536)
    assert read_trace_dat(memoryview(data)).page.size == 65536
    option = data.replace(b"local\0" + struct.pack("<I", 65536), b"local\0" + bytes(4))
    with pytest.raises(InputError, match="pages of 0 bytes"):
        read_trace_dat(memoryview(option))


def test_a_section_that_is_a_bomb() -> None:
    data = bytearray(trace_dat(ENTRIES[:2], compression="zstd"))
    # After the section's head: its packed and its unpacked size.
    at = data.index(struct.pack("<HH", 16, 1))
    struct.pack_into("<I", data, at + 20, 0xFFFF_FFFF)
    with pytest.raises(InputError, match="4294967295 bytes"):
        read_trace_dat(memoryview(data))


def test_chunks_that_are_damaged_are_left_out_and_told() -> None:
    data = bytearray(trace_dat(ENTRIES, compression="zstd"))
    found = read_trace_dat(memoryview(data))
    piece = found.processors[0]
    (count, packed) = struct.unpack_from("<2I", data, piece.offset)
    assert count > 1
    data[piece.offset + 12 : piece.offset + 12 + packed] = bytes(packed)
    rings, damage = parts_of(bytes(data), "zstd")
    whole = ring_buffer([each for each in ENTRIES if each.cpu == 0])
    assert rings[0] == whole[40960:]
    assert [place for place, _ in damage] == [piece.offset + 4]


@pytest.mark.parametrize("form", ["none", "zstd"])
def test_data_that_is_cut_off(form: str) -> None:
    # The options come last, so the ring buffers are cut by claiming that they are longer.
    data = trace_dat(ENTRIES, compression=form)
    damage: list[tuple[int, str]] = []
    piece = Piece(len(data) - 100, 5000, form != "none")
    list(chunks(memoryview(data), piece, form, 1, lambda *each: damage.append(each)))
    assert damage[0][0] == len(data)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\1\0", "number of chunks"),
        (struct.pack("<3I", 2, 0, 4096), "compressed"),
        (struct.pack("<I", 1), "missing"),
        (struct.pack("<3I", 1, 999, 4096), "cut off"),
        (struct.pack("<3I", 1, 0, 1 << 30), "too large"),
    ],
)
def test_chunks_that_make_no_sense(content: bytes, what: str) -> None:
    damage: list[str] = []
    piece = Piece(0, max(len(content) - 4, 1), True)
    found = list(
        chunks(memoryview(content), piece, "zstd", 1, lambda place, text: damage.append(text))
    )
    assert found == []
    assert any(what in text for text in damage)


def test_a_compression_that_is_not_known() -> None:
    data = trace_dat(ENTRIES[:2]).replace(b"none\0001\0", b"lzo9\0001\0")
    damage: list[str] = []
    found = read_trace_dat(memoryview(data))
    piece = Piece(0, 40, True)
    list(chunks(memoryview(data), piece, found.compression, 1, lambda _, text: damage.append(text)))
    assert "lzo9" in damage[0]
