import struct

import pytest

from hypercall.trace.kallsyms import find_kallsyms
from hypercall.trace.symbols import SymbolTable

BASE = 0xFFFF_FFFF_8100_0000
# What is added to a place in an image that was not moved to get the kernel's address of it.
DISTANCE = 0xFFFF_FFFF_8000_0000
TOKENS = {1: b"hv_", 2: b"send", 3: b"_ipi", 4: b"Tfunction_"}


def aligned(data: bytes, to: int = 8) -> bytes:
    return data + bytes(-len(data) % to)


def pack_name(text: bytes) -> bytes:
    for token, meaning in TOKENS.items():
        text = text.replace(meaning, bytes([token]))
    length = len(text)
    if length < 0x80:
        return bytes([length]) + text
    return bytes([length & 0x7F | 0x80, length >> 7]) + text


def build(
    symbols: list[tuple[int, str]],
    *,
    layout: str = "6.1",
    absolute_percpu: bool = True,
    percpu: int = 0,
    base: int = BASE,
    distance: int = DISTANCE,
) -> bytes:
    """Lay out a kernel's symbol arrays; symbols are (distance from the base, name with type)."""
    names, markers = b"", []
    every = [(i * 8, f"Apercpu_{i}") for i in range(percpu)] + symbols
    for number, (_, name) in enumerate(every):
        if number % 256 == 0:
            markers.append(len(names))
        names += pack_name(name.encode())
    table, index = b"", []
    for token in range(256):
        index.append(len(table))
        text = TOKENS.get(token, bytes([token]) if 0x21 <= token < 0x7F else b"")
        table += text + b"\0"
    offsets = [offset for offset, _ in every[:percpu]]
    offsets += [-1 - offset if absolute_percpu else offset for offset, _ in symbols]
    noise = aligned(bytes(range(1, 256)) * 9)
    if layout == "7.3":
        # Everything starts where its words demand, and the distances are from where they lie.
        count = struct.pack("<I", len(every))
        packed = noise + count + aligned(names, 4) + struct.pack(f"<{len(markers)}I", *markers)
        packed += aligned(table, 2) + struct.pack("<256H", *index)
        packed = aligned(packed, 4)
        start = distance + len(packed)
        words = [base + offset - start - 4 * place for place, (offset, _) in enumerate(every)]
        return packed + struct.pack(f"<{len(words)}i", *words) + noise
    part = {
        "num_syms": struct.pack("<I", len(every)),
        "names": names,
        "markers": struct.pack(f"<{len(markers)}I", *markers),
        "seqs": bytes(n % 251 for n in range(3 * len(every))),
        "token_table": table,
        "token_index": struct.pack("<256H", *index),
        "offsets": struct.pack(f"<{len(every)}i", *offsets),
        "relative_base": struct.pack("<Q", base),
    }
    order = {
        "6.1": "offsets relative_base num_syms names markers token_table token_index",
        "6.2": "offsets relative_base num_syms names markers seqs token_table token_index",
        "6.12": "num_syms names markers token_table token_index offsets relative_base seqs",
    }[layout]
    return noise + b"".join(aligned(part[name]) for name in order.split()) + noise


SYMBOLS = [(0x40 * i, f"Tfunction_{i}") for i in range(1100)]
SYMBOLS[700] = (SYMBOLS[700][0], "thv_send_ipi_mask")
SYMBOLS[701] = (SYMBOLS[701][0], "t" + "long_" * 40)


@pytest.mark.parametrize("layout", ["6.1", "6.2", "6.12", "7.3"])
@pytest.mark.parametrize("absolute_percpu", [True, False])
@pytest.mark.parametrize("count", [1000, 1024, 769])
def test_every_layout_and_encoding_is_found(layout: str, absolute_percpu: bool, count: int) -> None:
    percpu = 37 if absolute_percpu and layout != "7.3" else 0
    image = build(
        SYMBOLS[: count - percpu],
        layout=layout,
        absolute_percpu=absolute_percpu,
        percpu=percpu,
    )
    table = find_kallsyms(memoryview(image))
    assert table is not None
    assert len(table) == count - percpu
    assert table.lookup(BASE) == "function_0"
    assert table.lookup(BASE + 0x40 * 700 + 0x1A) == "hv_send_ipi_mask+0x1a"
    assert table.lookup(BASE + 0x40 * 701 + 1) == "long_" * 40 + "+0x1"
    assert table.lookup(BASE + 0x40 * 702) == "function_702"
    assert table.address_of("function_255") == BASE + 0x40 * 255
    assert table.address_of("percpu_3") is None
    assert table.lookup(BASE - 1) is None


def test_a_moved_kernel_is_found_where_it_runs() -> None:
    table = find_kallsyms(memoryview(build(SYMBOLS, base=BASE + 0x1C00_0000)))
    assert table is not None
    assert table.address_of("function_9") == BASE + 0x1C00_0000 + 9 * 0x40


@pytest.mark.parametrize(
    ("layout", "count"),
    [
        *((layout, count) for layout in ("6.1", "6.12") for count in (1, 2, 255, 256)),
        # No such kernel has less than that: the markers' only word could as well be padding.
        *((layout, count) for layout in ("6.1", "6.12", "7.3") for count in (257, 512, 513)),
    ],
)
def test_small_tables_are_found(count: int, layout: str) -> None:
    table = find_kallsyms(memoryview(build(SYMBOLS[:count], layout=layout)))
    assert table is not None
    assert len(table) == count
    assert table.lookup(BASE + 0x40 * (count - 1)) == f"function_{count - 1}"


def test_the_newest_kernels_tell_distances_from_where_they_run() -> None:
    moved, slide = BASE + 0x1C00_0000, 0x1C00_0000
    before = bytes(0x2000)
    image = memoryview(before + build(SYMBOLS, layout="7.3", base=moved, distance=DISTANCE + slide))
    running_at = moved + 0x47
    # The image begins a little before what was laid out.
    table = find_kallsyms(image, running_at, running_at - DISTANCE - slide + len(before))
    assert table is not None
    assert table.lookup(running_at) == "function_1+0x7"
    assert table.address_of("function_1099") == moved + 0x40 * 1099
    assert table.addresses_of("hv_send_ipi_mask") == [moved + 0x40 * 700]
    assert find_kallsyms(image, running_at) is None
    assert find_kallsyms(image, running_at, 0x10) is None


def test_the_table_that_covers_the_running_address_is_chosen() -> None:
    stale = build(SYMBOLS)
    moved = build(SYMBOLS, base=BASE + 0x200_0000)
    image = memoryview(aligned(stale) + moved)
    table = find_kallsyms(image, running_at=BASE + 0x200_0040)
    assert isinstance(table, SymbolTable)
    assert table.lookup(BASE + 0x200_0041) == "function_1+0x1"
    assert find_kallsyms(image, running_at=BASE + 0x1000_0000) is None
    assert find_kallsyms(image, running_at=0x1000) is None


@pytest.mark.parametrize("layout", ["6.1", "6.12", "7.3"])
def test_an_incomplete_table_is_not_found_and_does_no_harm(layout: str) -> None:
    image = build(SYMBOLS, layout=layout)
    noise = 9 * 255
    lost = 0
    for length in range(0, len(image) - noise, 97):
        table = find_kallsyms(memoryview(image[:length]))
        lost += table is None
        # A table whose base was cut off but whose look-alike is in range would show up here.
        assert table is None or table.lookup(BASE) == "function_0"
    assert lost > 50


def test_damaged_names_still_give_an_answer() -> None:
    image = bytearray(build(SYMBOLS))
    start = image.index(pack_name(b"Tfunction_600"))
    image[start : start + 400] = b"\xff" * 400
    table = find_kallsyms(memoryview(image))
    assert table is not None
    found = [table.find(BASE + 0x40 * i) for i in range(len(SYMBOLS))]
    assert all(found)
    assert found[10] == ("function_10", 0)
    assert found[-1] != ("function_1099", 0) or found[620] != ("function_620", 0)


def test_plain_memory_has_no_table() -> None:
    digits = b"".join(b"%d\0" % digit for digit in range(10))
    assert find_kallsyms(memoryview(b"")) is None
    assert find_kallsyms(memoryview(bytes(5000))) is None
    assert find_kallsyms(memoryview(digits * 100)) is None
    assert find_kallsyms(memoryview(bytes(4096) + digits + bytes(300))) is None
    assert find_kallsyms(memoryview(bytes(4096) + digits + bytes(9000))) is None


@pytest.mark.parametrize("percpu", [0, 37, 300])
def test_a_name_is_found_as_it_is_written(percpu: int) -> None:
    symbols = [(0x40 * i, f"Tfunction_{i}") for i in range(700)]
    for place in (0, 1, 255, 256, 511, 699):
        # "Tfunction_" is one token, which has the type and part of the name.
        symbols[place] = (0x40 * place, "Tfunction_send_ipi")
    symbols[300] = (0x40 * 300, "thv_send_ipi_mask")
    symbols[301] = (0x40 * 301, "Dhv_send_ipi_mask")
    symbols[302] = (0x40 * 302, "d" + "long_" * 40)
    image = build(symbols, percpu=percpu)
    table = find_kallsyms(memoryview(image))
    assert table is not None

    def found(name: str) -> list[int]:
        return [(address - BASE) // 0x40 for address in table.addresses_of(name)]

    assert found("function_send_ipi") == [0, 1, 255, 256, 511, 699]
    assert found("hv_send_ipi_mask") == [300, 301]
    assert found("long_" * 40) == [302]
    assert found("function_254") == [254]
    for name in ("hv_send_ipi", "send_ipi_mask", "percpu_0", "", "x", "\u00e4", "no such"):
        assert found(name) == [], name


def test_a_name_is_looked_for_in_damaged_names() -> None:
    image = bytearray(build(SYMBOLS))
    start = image.index(pack_name(b"Tfunction_600"))
    image[start : start + 400] = b"\xff" * 400
    table = find_kallsyms(memoryview(image))
    assert table is not None
    assert table.addresses_of("function_10") == [BASE + 0x40 * 10]
    assert table.addresses_of("function_1099") in ([], [BASE + 0x40 * 1099])
