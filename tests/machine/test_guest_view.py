import pytest
from tests.guests.kit import Guest
from tests.guests.layout import DATA, WINDOW
from tests.guests.paging import USER_PAGE, window
from tests.machine.small_guests import flat

from hypercall.errors import GuestMemoryError, InputError
from hypercall.tlfs.registers import RegisterName


def test_virtual_memory_by_the_guests_tables() -> None:
    pages = window(DATA + 0x3000 | USER_PAGE, DATA | USER_PAGE)
    content = {DATA + 0x3FFC: b"abcd", DATA: b"efgh"}
    machine = Guest("ret", memory=pages | content).machine()
    bootstrap = machine.partition.bootstrap
    assert machine.read_virtual(bootstrap, WINDOW + 0xFFC, 8) == b"abcdefgh"


def test_an_address_that_is_not_mapped() -> None:
    machine = Guest("ret", memory=window(0)).machine()
    with pytest.raises(GuestMemoryError):
        machine.read_virtual(machine.partition.bootstrap, WINDOW, 1)


def test_the_registers_by_their_names() -> None:
    machine = flat(bytes.fromhex("b807000000e7f4f4"))
    machine.run()
    shown = machine.registers()
    assert shown["rax"] == 7
    assert shown["rip"] == 0x100008
    assert {"r15", "rflags", "cr0", "cr2", "cr3", "cr4", "efer"} <= shown.keys()
    machine.write_register(0, RegisterName.RAX, 9)
    assert machine.registers()["rax"] == 9


def test_a_register_that_is_none_of_the_processors() -> None:
    machine = flat(b"\xf4")
    with pytest.raises(InputError, match="VP_INDEX is not a register of the processor"):
        machine.write_register(0, RegisterName.VP_INDEX, 1)


def test_a_processor_that_is_not_there() -> None:
    machine = flat(b"\xf4")
    with pytest.raises(InputError, match="no virtual processor 1: give an index below 1"):
        machine.registers(1)
