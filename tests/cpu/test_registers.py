from dataclasses import replace

import pytest
from tests.cpu.rig import Rig
from tests.initial_contexts import CODE_64, DATA, LONG, TASK

from hypercall.cpu.registers import ProcessorRegisters, attributes_to_flags, flags_to_attributes
from hypercall.tlfs.registers import RegisterName

R = RegisterName


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def registers(rig: Rig) -> ProcessorRegisters:
    return ProcessorRegisters(rig.engine)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((R.RAX + number, 0x1111_2222_3333_0000 + number) for number in range(16)),
        (R.RIP, 0xFFFF_8000_0000_1000),
        (R.RFLAGS, 0x246),
        (R.RFLAGS, 0x403),
        (R.CR2, 0x1234_5678_9ABC),
        (R.CR3, 0x5000),
        (R.CR4, 0x6A0),
        (R.LSTAR, 0xFFFF_8000_0000_2000),
        (R.STAR, 0x23_0010 << 32),
        (R.SFMASK, 0x700),
        (R.KERNEL_GS_BASE, 0x1_0000_0000),
        (R.SYSENTER_CS, 0x10),
        (R.SYSENTER_RIP, 0xFFFF_8000_0000_3000),
        (R.TSC_AUX, 7),
        (R.PAT, 0x0007_0406_0007_0406),
        (R.DR7, 0x400),
        (R.XMM0, 0x1111_2222_3333_4444_5555_6666_7777_8888),
        (R.XMM15, (1 << 128) - 1),
        (R.IDTR, 0xFFFF_8000_0000_0000 << 64 | 0xFFF << 48),
        (R.GDTR, 0x5000 << 64 | 0x7F << 48),
        (R.LDTR, 0x0082_0000_0000_0000 << 64),
        (R.TR, 0x008B_0028_0000_0067 << 64 | 0x4000),
        (R.DS, 0xC093_0018_FFFF_FFFF << 64),
        (R.CS, 0xA09B_0010_FFFF_FFFF << 64),
    ],
    ids=lambda value: f"{value:#x}",
)
def test_what_is_written_is_read(registers: ProcessorRegisters, name: int, value: int) -> None:
    registers.write(0, name, value)
    assert registers.read(0, name) == value


def test_an_unknown_register(registers: ProcessorRegisters) -> None:
    with pytest.raises(KeyError):
        registers.read(0, R.VP_INDEX)
    with pytest.raises(KeyError):
        registers.write(0, R.VP_INDEX, 0)


def test_registers_reach_the_code_and_come_from_it(rig: Rig, registers: ProcessorRegisters) -> None:
    registers.write(0, R.RAX, 5)
    registers.write(0, R.RBX, 0x1_0000_0007)
    rig.run("add eax, ebx\nmov esi, 9\nstc")
    assert registers.read(0, R.RAX) == 12
    assert registers.read(0, R.RSI) == 9
    assert registers.read(0, R.RFLAGS) & 1 == 1


def test_each_context_has_its_own(rig: Rig, registers: ProcessorRegisters) -> None:
    rig.flat(rig.engine.add_context(rig.table))
    registers.write(0, R.RAX, 1)
    registers.write(1, R.RAX, 2)
    assert [registers.read(number, R.RAX) for number in (0, 1)] == [1, 2]


def test_attributes_are_a_descriptors_bits() -> None:
    assert attributes_to_flags(0xA09B) == 0xA09B00
    assert attributes_to_flags(0x008B) == 0x8B00
    assert flags_to_attributes(0xC0F300) == 0xC0F3


def test_an_initial_context(registers: ProcessorRegisters) -> None:
    context = replace(LONG, gs=replace(DATA, base=0x1234), tr=replace(TASK, base=0x3000))
    registers.write_context(0, context)
    assert registers.read(0, R.RIP) == 0x100000
    assert registers.read(0, R.RSP) == 0x200000
    assert registers.read(0, R.EFER) == 0xD00
    assert registers.read(0, R.CR0) == 0x80050033
    assert registers.read(0, R.CS) == int.from_bytes(CODE_64.pack(), "little")
    assert registers.read(0, R.GS) & 0xFFFF == 0x1234
    assert registers.read(0, R.GDTR) == 0x302000 << 64 | 0x7F << 48
