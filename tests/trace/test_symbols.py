import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.errors import InputError
from hypercall.trace.symbols import (
    LazySymbols,
    Place,
    SymbolTable,
    symbols_of_elf,
    symbols_of_map,
)


def build_elf(symbols: Sequence[tuple[str, int, int, int]]) -> bytes:
    """Make an ELF64 file of symbols (name, value, size, type) and one segment 0x1000-0x2000."""
    names, table = b"\0", bytes(24)
    for name, value, size, kind in symbols:
        table += struct.pack("<IBBHQQ", len(names), 0x10 | kind, 0, 1, value, size)
        names += name.encode() + b"\0"
    section_names = b"\0.symtab\0.strtab\0.shstrtab\0"
    at_table = 64 + 56
    at_names = at_table + len(table)
    at_section_names = at_names + len(names)
    at_sections = at_section_names + len(section_names)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0x1000, 64, at_sections, 0, 64, 56, 1, 64, 4, 3
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x1000, 0x1000, 0, 0x1000, 0x1000)

    def section(name: int, kind: int, at: int, size: int, link: int, entry: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, at, size, link, 1, 8, entry)

    sections = bytes(64)
    sections += section(1, 2, at_table, len(table), 2, 24)
    sections += section(9, 3, at_names, len(names), 0, 0)
    sections += section(17, 3, at_section_names, len(section_names), 0, 0)
    return header + segment + table + names + section_names + sections


def test_lookup_names_the_symbol_at_or_before_the_address() -> None:
    table = SymbolTable([0x1000, 0x1040, 0x2000], ["start", "middle", "last"], end=0x2100)
    assert table.lookup(0x1000) == "start"
    assert table.lookup(0x103F) == "start+0x3f"
    assert table.lookup(0x1040) == "middle"
    assert table.lookup(0x20FF) == "last+0xff"
    assert table.lookup(0x2100) is None
    assert table.lookup(0xFFF) is None
    assert table.lookup(-1) is None
    assert table.find(0x1041) == ("middle", 1)


def test_without_an_end_the_last_symbol_covers_one_byte() -> None:
    table = SymbolTable([0x1000, 0x2000], ["start", "end"])
    assert table.lookup(0x2000) == "end"
    assert table.lookup(0x2001) is None


def test_the_first_of_several_names_of_an_address_answers() -> None:
    table = SymbolTable.from_pairs([(0x20, "b"), (0x10, "first"), (0x10, "second")])
    assert table.lookup(0x11) == "first+0x1"
    assert table.address_of("second") == 0x10


def test_an_empty_table_knows_nothing() -> None:
    table = SymbolTable([], [])
    assert len(table) == 0
    assert table.lookup(0) is None
    assert table.address_of("x") is None


def test_addresses_that_do_not_ascend_or_do_not_match_the_names_are_refused() -> None:
    with pytest.raises(ValueError, match="ascend"):
        SymbolTable([2, 1], ["a", "b"])
    with pytest.raises(ValueError, match="1 addresses but 2 names"):
        SymbolTable([2], ["a", "b"])


def test_a_moved_table_has_every_address_moved() -> None:
    table = SymbolTable([0x1000], ["start"], end=0x1100).moved(0x500)
    assert table.lookup(0x15FF) == "start+0xff"
    assert table.lookup(0x1000) is None
    assert table.lookup(0x1600) is None
    assert table.moved(-0x500).lookup(0x1000) == "start"


@given(st.lists(st.integers(0, 2**64 - 2), min_size=1, max_size=30), st.integers(0, 2**64 - 1))
def test_lookup_agrees_with_a_plain_search(addresses: list[int], wanted: int) -> None:
    addresses.sort()
    table = SymbolTable(addresses, [f"s{address:x}" for address in addresses], end=2**64 - 1)
    below = [address for address in addresses if address <= wanted < 2**64 - 1]
    expected = (f"s{max(below):x}", wanted - max(below)) if below else None
    assert table.find(wanted) == expected


def test_elf_symbols_are_functions_objects_and_labels() -> None:
    table = symbols_of_elf(
        build_elf(
            [
                ("main", 0x1100, 0x20, 2),
                ("data", 0x1200, 8, 1),
                ("label", 0x1010, 0, 0),
                ("file.c", 0, 0, 4),
            ]
        )
    )
    assert len(table) == 3
    assert table.lookup(0x1011) == "label+0x1"
    assert table.lookup(0x1110) == "main+0x10"
    # The last label reaches to the end of its segment.
    assert table.lookup(0x1FFF) == "data+0xdff"
    assert table.lookup(0x2000) is None


def test_a_stripped_elf_gives_an_empty_table() -> None:
    assert len(symbols_of_elf(build_elf([]))) == 0


@pytest.mark.parametrize("data", [b"", b"MZ" + bytes(100), b"\x7fELF", build_elf([])[:100]])
def test_what_is_not_a_whole_elf_file_is_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError, match="symbol table"):
        symbols_of_elf(data)


def test_a_symbol_map_is_read() -> None:
    table = symbols_of_map(
        "ffffffff81000000 T _stext\nffffffff81000040 t helper [module]\n\nffffffff81000080 T end\n"
    )
    assert table.lookup(0xFFFFFFFF81000041) == "helper+0x1"
    assert table.address_of("_stext") == 0xFFFFFFFF81000000


@pytest.mark.parametrize("line", ["nonsense", "zz T name", "1000 T"])
def test_a_bad_line_of_a_symbol_map_is_named(line: str) -> None:
    with pytest.raises(InputError, match="line 2 "):
        symbols_of_map(f"1000 T good\n{line}\n")


def test_a_lazy_look_up_searches_less_and_less_often_until_it_finds() -> None:
    attempts: list[int] = []
    answers: list[str | None] = []

    def find() -> SymbolTable | None:
        attempts.append(len(answers))
        return SymbolTable([0x10], ["here"]) if len(attempts) == 4 else None

    symbols = LazySymbols(find)
    for _ in range(20):
        answers.append(symbols.lookup(0x10))
    assert attempts == [0, 3, 8, 17]
    assert answers == [None] * 17 + ["here"] * 3


def test_a_lazy_look_up_gives_up_on_a_guest_without_symbols() -> None:
    attempts: list[int] = []

    def find() -> SymbolTable | None:
        attempts.append(1)
        return None

    symbols = LazySymbols(find, attempts=3)
    assert [symbols.lookup(0x10) for _ in range(1000)] == [None] * 1000
    assert len(attempts) == 3


def test_a_table_is_gone_through_in_the_order_of_addresses() -> None:
    table = SymbolTable.from_pairs([(0x20, "second"), (0x10, "first"), (0x20, "third")])
    assert list(table) == [(0x10, "first"), (0x20, "second"), (0x20, "third")]


def test_a_lazy_look_up_shows_its_table_once_it_is_there() -> None:
    tables = [None, SymbolTable([0x10], ["name"])]
    symbols = LazySymbols(lambda: tables.pop(0))
    assert symbols.table() is None
    found = symbols.table()
    assert found is not None
    assert symbols.table() is found
    assert symbols.lookup(0x10) == "name"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("send", Place("send", 0)),
        ("send+0x1a", Place("send", 0x1A)),
        ("hv_post_message+0x8f [hv_vmbus]", Place("hv_post_message", 0x8F, "hv_vmbus")),
        ("init_module [pci_hyperv]", Place("init_module", 0, "pci_hyperv")),
    ],
)
def test_a_place_as_text_and_back(text: str, place: Place) -> None:
    assert str(place) == text
    assert Place.parse(text) == place


def test_a_table_covers_what_it_names() -> None:
    table = SymbolTable([0x1000, 0x1040], ["start", "last"], end=0x1100)
    for address in (0, 0xFFF, 0x1000, 0x10FF, 0x1100, 1 << 64):
        assert table.covers(address) is (table.find(address) is not None)
    assert not SymbolTable([], []).covers(0)


def test_all_addresses_of_a_name() -> None:
    pairs = [(0x10, "same"), (0x20, "other"), (0x30, "same")]
    table = SymbolTable.from_pairs(pairs)
    assert table.addresses_of("same") == [0x10, 0x30]
    assert table.addresses_of("sam") == []
    assert table.moved(0x100).addresses_of("same") == [0x110, 0x130]


def test_a_lazy_look_up_tells_what_it_knows_without_looking() -> None:
    symbols = LazySymbols(lambda: SymbolTable([0x10], ["name"]))
    assert symbols.known is None
    table = symbols.table()
    assert symbols.known is table


def test_a_name_that_a_guest_chose_changes_nothing_on_a_terminal() -> None:
    table = SymbolTable.from_pairs([(0x1000, "a\x1b[2Jb"), (0x2000, "x" * 5000)])
    assert table.lookup(0x1004) == "a?[2Jb+0x4"
    assert len(table.lookup(0x2000) or "") == 600
