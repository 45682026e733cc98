import struct

import pytest

from hypercall.partition.paging import loadable_cr3
from hypercall.partition.standalone import StandalonePartition, standalone_partition
from hypercall.tlfs.registers import RegisterName as R

LONG_MODE = {R.EFER: 0x500}
PAE = {R.CR0: 0x8000_0001, R.CR4: 0x20}
TWO_LEVELS = {R.CR0: 0x8000_0001}


def in_mode(registers: dict[R, int]) -> StandalonePartition:
    box = standalone_partition()
    for name, value in registers.items():
        box.effects.registers[0, 0, name] = value
    return box


@pytest.mark.parametrize(
    ("mode", "value", "loadable"),
    [
        (LONG_MODE, 0xFF_FFFF_FFFF, True),
        (LONG_MODE, 1 << 40, False),
        (LONG_MODE, 1 << 63, False),
        (TWO_LEVELS, 0xFFFF_F018, True),
        (TWO_LEVELS, 1 << 32, False),
        ({}, 0xFFFF_FFFF, True),
        (PAE, 0x2000, True),
        (PAE, 0x3000, False),
        (PAE, 0x301F, False),
        (PAE, 0x3020, True),
        (PAE, 0xF000_0000, False),
    ],
)
def test_values(mode: dict[R, int], value: int, loadable: bool) -> None:
    box = in_mode(mode)
    box.partition.memory.write(0x3000, struct.pack("<8Q", 1, 2, 3, 0, 0x5001, 0, 0x1E6, 0))
    assert loadable_cr3(box.partition.bootstrap, value) == loadable
