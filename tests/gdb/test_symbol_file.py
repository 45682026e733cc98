import io
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from hypercall.errors import InputError
from hypercall.gdb.symbol_file import symbol_file, write_symbol_file
from hypercall.trace.symbols import SymbolTable, symbols_of_elf

KERNEL = 0xFFFF_FFFF_8100_0000
TABLE = SymbolTable.from_pairs(
    [
        (KERNEL, "_text"),
        (KERNEL, "startup"),
        (KERNEL + 0x100, "schedule"),
        (KERNEL + 0x1000, "_etext"),
        (KERNEL + 0x2000, "jiffies"),
        (KERNEL + 0x3000, "_sinittext"),
        (KERNEL + 0x3010, "start_kernel"),
        (KERNEL + 0x3100, "_einittext"),
    ]
)


def test_code_is_in_sections_and_data_is_absolute() -> None:
    data, count = symbol_file(TABLE)
    assert count == len(TABLE)
    elf = ELFFile(io.BytesIO(data))
    assert elf["e_machine"] == "EM_X86_64"
    code = [(s["sh_addr"], s["sh_size"]) for s in elf.iter_sections() if s.name == ".text"]
    assert code == [(KERNEL, 0x1000), (KERNEL + 0x3000, 0x100)]
    found = {s.name: s for s in elf.get_section_by_name(".symtab").iter_symbols()}
    assert found["schedule"]["st_value"] == KERNEL + 0x100
    assert found["schedule"]["st_size"] == 0xF00
    assert found["schedule"]["st_info"]["type"] == "STT_FUNC"
    assert found["start_kernel"]["st_shndx"] == 2
    assert found["startup"]["st_size"] == 0x100
    assert found["jiffies"]["st_shndx"] == "SHN_ABS"
    assert found["jiffies"]["st_info"]["type"] == "STT_OBJECT"


def test_the_functions_of_modules_are_code() -> None:
    area = 0xFFFF_FFFF_C000_0000
    first = SymbolTable([area + 0x1000, area + 0x1100], ["post", "signal"])
    near = SymbolTable([area + 0x1200], ["near"])
    far = SymbolTable([area + 0x9000], ["far"])
    data, count = symbol_file(TABLE, [far, SymbolTable([], []), near, first])
    assert count == len(TABLE) + 4
    elf = ELFFile(io.BytesIO(data))
    code = [(s["sh_addr"], s["sh_size"]) for s in elf.iter_sections() if s.name == ".text"]
    kernel = [(KERNEL, 0x1000), (KERNEL + 0x3000, 0x100)]
    assert code == [*kernel, (area + 0x1000, 0x1200), (area + 0x9000, 0x1000)]
    found = {s.name: s for s in elf.get_section_by_name(".symtab").iter_symbols()}
    assert (found["post"]["st_value"], found["post"]["st_size"]) == (area + 0x1000, 0x100)
    assert {found[name]["st_shndx"] for name in ("post", "signal", "near")} == {3}
    assert found["far"]["st_shndx"] == 4
    assert found["schedule"]["st_shndx"] == 1


def test_our_own_reader_reads_the_code() -> None:
    table = symbols_of_elf(symbol_file(TABLE)[0])
    assert table.address_of("start_kernel") == KERNEL + 0x3010
    assert table.lookup(KERNEL + 0x104) == "schedule+0x4"


def test_without_bounds_everything_is_code() -> None:
    table = SymbolTable.from_pairs([(0x1000, "first"), (0x2000, "sec\0ond")])
    elf = ELFFile(io.BytesIO(symbol_file(table)[0]))
    assert elf.get_section_by_name(".text")["sh_size"] == 0x2000
    names = [s.name for s in elf.get_section_by_name(".symtab").iter_symbols()]
    assert names == ["", "first", "sec?ond"]
    assert symbol_file(SymbolTable([], []))[1] == 0


def test_only_files_of_its_own_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "guest.elf"
    assert write_symbol_file(path, TABLE) == len(TABLE)
    before = path.read_bytes()
    write_symbol_file(path, SymbolTable([], []))
    assert path.read_bytes() != before
    other = tmp_path / "other.elf"
    other.write_bytes(b"\x7fELF something precious")
    (tmp_path / "link.elf").symlink_to(path)
    for name in ("other.elf", "link.elf"):
        with pytest.raises(InputError, match="there already"):
            write_symbol_file(tmp_path / name, TABLE)
    assert other.read_bytes() == b"\x7fELF something precious"
    with pytest.raises(InputError, match=r"ends in \.elf"):
        write_symbol_file(tmp_path / "authorized_keys", TABLE)
    with pytest.raises(InputError, match="cannot be written: no such file"):
        write_symbol_file(tmp_path / "nowhere" / "guest.elf", TABLE)
