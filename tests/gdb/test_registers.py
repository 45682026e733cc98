from xml.etree import ElementTree

import pytest

from hypercall.errors import InputError
from hypercall.gdb.registers import (
    REGISTERS_32,
    REGISTERS_64,
    RegisterSet,
    read_register,
    write_register,
)
from hypercall.machine.machine import Machine


@pytest.mark.parametrize(
    ("registers", "architecture", "first", "pointer"),
    [
        (REGISTERS_64, "i386:x86-64", "rax", 16),
        (REGISTERS_32, "i386", "eax", 8),
    ],
)
def test_the_description_has_the_registers_in_their_order(
    registers: RegisterSet, architecture: str, first: str, pointer: int
) -> None:
    root = ElementTree.fromstring(registers.description())
    assert root.findtext("architecture") == architecture
    found = [(reg.get("name"), int(reg.get("bitsize") or 0)) for reg in root.iter("reg")]
    assert found == [(register.name, 8 * register.size) for register in registers.registers]
    assert found[0][0] == first
    assert found[pointer][0] in ("rip", "eip")
    # Every type that is not gdb's own is described.
    known = {node.get("id") for node in root.iter() if node.get("id")}
    own = {"int64", "int32", "int", "code_ptr", "data_ptr", "i387_ext", "uint64"}
    assert {reg.get("type") for reg in root.iter("reg")} <= known | own


@pytest.mark.parametrize("registers", [REGISTERS_64, REGISTERS_32])
def test_what_is_written_is_read(machine: Machine, registers: RegisterSet) -> None:
    engine = machine.debugging.engine
    for register in registers.registers:
        before = read_register(register, engine, 0)
        assert len(before) == register.size
        if register.set is None:
            with pytest.raises(InputError, match="cannot be written"):
                write_register(register, engine, 0, before)
            continue
        write_register(register, engine, 0, before)
        assert read_register(register, engine, 0) == before
        with pytest.raises(InputError, match="bytes"):
            write_register(register, engine, 0, before + b"\0")
    values = {register.name: register for register in registers.registers}
    for name in ("xmm3", "st2", "cr2", "k_gs_base"):
        value = bytes(range(1, values[name].size + 1))
        write_register(values[name], engine, 0, value)
        assert read_register(values[name], engine, 0) == value
    empty = int.from_bytes(read_register(values["ftag"], engine, 0), "little")
    assert empty >> 4 & 3 == 0


def test_flags_and_pointer(machine: Machine) -> None:
    engine = machine.debugging.engine
    values = {register.name: register for register in REGISTERS_64.registers}
    write_register(values["rip"], engine, 0, (0x1234).to_bytes(8, "little"))
    assert engine.get_rip(0) == 0x1234
    write_register(values["eflags"], engine, 0, (0x8D7).to_bytes(4, "little"))
    assert engine.get_rflags(0) == 0x8D7
    write_register(values["gs_base"], engine, 0, (0xFFFF_8880_0000_0000).to_bytes(8, "little"))
    assert engine.get_segment(0, 5)[1] == 0xFFFF_8880_0000_0000
