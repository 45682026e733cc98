import pytest
from tests.guests.kit import Guest
from tests.guests.layout import DATA, IDENTITY_TABLES, WINDOW
from tests.guests.paging import KERNEL_PAGE, window

from hypercall.machine.kernel_memory import KernelMemory
from hypercall.machine.machine import Machine
from hypercall.tlfs.registers import RegisterName

# In the selector and in the attributes of a segment.
USER_PRIVILEGE = 3 << 96 | 3 << 117


def machine_of() -> Machine:
    content = {DATA + 0x3FFC: b"abcd", DATA: b"efgh"}
    entries = window(DATA + 0x3000 | KERNEL_PAGE, DATA | KERNEL_PAGE, 0, 0xFFFF_FFF0_0000 | 3)
    return Guest("ret", memory=entries | content).machine()


def kernel_memory(machine: Machine) -> KernelMemory:
    return KernelMemory(machine.engine, machine.processors, machine.partition.memory)


def test_memory_is_read_across_pages() -> None:
    memory = kernel_memory(machine_of())
    assert memory.read(WINDOW + 0xFFC, 8) == b"abcdefgh"
    assert memory.read(WINDOW + 0xFFC, 0) == b""


@pytest.mark.parametrize(
    "address",
    [WINDOW + 0x1FFC, WINDOW + 0x3000, 0xFFFF_8000_0000_0000, 1 << 47, (1 << 64) - 4, -8],
)
def test_what_is_not_all_there_is_nothing(address: int) -> None:
    assert kernel_memory(machine_of()).read(address, 8) is None


def test_the_kernels_tables_count_while_those_for_user_code_are_loaded() -> None:
    # The kernel's root table and, in the page behind it, the user's, which lacks the window.
    root, user = DATA + 0x10_0000, DATA + 0x10_1000
    machine = machine_of()
    entries = machine.partition.memory.read(IDENTITY_TABLES, 4096)
    machine.partition.memory.write(root, entries)
    memory = kernel_memory(machine)
    machine.write_register(0, RegisterName.CR3, user)
    assert memory.read(WINDOW, 4) is None, "code of the kernel has the tables that are loaded"
    stack = machine.processors.registers.read(0, RegisterName.SS)
    machine.write_register(0, RegisterName.SS, stack | USER_PRIVILEGE)
    assert memory.read(WINDOW + 0xFFC, 8) == b"abcdefgh"
    assert memory.read(WINDOW + 0x1FFC, 8) is None
    machine.write_register(0, RegisterName.CR3, root)
    assert memory.read(WINDOW + 0xFFC, 8) == b"abcdefgh"
    machine.write_register(0, RegisterName.CR3, 0xFFFF_FFF0_1000)
    assert memory.read(WINDOW, 8) is None
