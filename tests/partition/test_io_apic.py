from collections.abc import Callable

import pytest

from hypercall.partition.io_apic import IoApic
from hypercall.partition.local_apic import LocalApic
from hypercall.partition.standalone import StandalonePartition

MakePartition = Callable[..., StandalonePartition]

LEVEL, MASKED, REMOTE_IRR = 1 << 15, 1 << 16, 1 << 14


class Board:
    def __init__(self, box: StandalonePartition) -> None:
        self.io_apic = IoApic(box.partition)
        self.apics: list[LocalApic] = [vp.current.apic for vp in box.partition.virtual_processors]
        for apic in self.apics:
            apic.write_mmio(0xF0, 0x1FF)

    def route(self, pin: int, low: int, destination: int = 0) -> None:
        for register, value in ((1, destination << 24), (0, low)):
            self.io_apic.write_mmio(0, 0x10 + 2 * pin + register)
            self.io_apic.write_mmio(0x10, value)

    def entry(self, pin: int) -> int:
        self.io_apic.write_mmio(0, 0x10 + 2 * pin)
        return self.io_apic.read_mmio(0x10)


@pytest.fixture
def board(make_partition: MakePartition) -> Board:
    return Board(make_partition(2))


def test_an_edge_interrupts_the_destination_once(board: Board) -> None:
    board.route(4, 0x34, destination=1)
    board.io_apic.set_line(4, True)
    board.io_apic.set_line(4, True)
    assert board.apics[0].pending_vector() is None
    assert board.apics[1].acknowledge() == 0x34
    board.apics[1].eoi()
    assert board.apics[1].pending_vector() is None
    board.io_apic.set_line(4, False)
    board.io_apic.pulse(4)
    assert board.apics[1].pending_vector() == 0x34


def test_a_masked_edge_is_lost_and_a_masked_level_waits(board: Board) -> None:
    board.io_apic.set_line(3, True)
    board.route(3, 0x33)
    assert board.apics[0].pending_vector() is None
    board.route(5, MASKED | LEVEL | 0x35)
    board.io_apic.set_line(5, True)
    assert board.apics[0].pending_vector() is None
    board.route(5, LEVEL | 0x35)
    assert board.apics[0].pending_vector() == 0x35


def test_a_level_interrupt_comes_again_at_its_end_while_asserted(board: Board) -> None:
    board.route(9, LEVEL | 0x49)
    board.io_apic.set_line(9, True)
    assert board.entry(9) & REMOTE_IRR
    apic = board.apics[0]
    assert apic.acknowledge() == 0x49
    assert apic.pending_vector() is None
    apic.eoi()
    assert apic.acknowledge() == 0x49
    board.io_apic.set_line(9, False)
    apic.eoi()
    assert apic.pending_vector() is None
    assert not board.entry(9) & REMOTE_IRR


def test_identification_and_what_does_not_exist(board: Board) -> None:
    io_apic = board.io_apic
    io_apic.write_mmio(0, 1)
    assert io_apic.read_mmio(0x10) == 0x00170020
    io_apic.write_mmio(0, 0)
    io_apic.write_mmio(0x10, 0x0F000000)
    assert io_apic.read_mmio(0x10) == 0x0F000000
    io_apic.write_mmio(0, 0xFF)
    io_apic.write_mmio(0x10, 0xFFFFFFFF)
    assert io_apic.read_mmio(0x10) == 0
    assert io_apic.read_mmio(0x800) == 0


def test_garbage_in_every_register_harms_nothing(board: Board) -> None:
    for register in range(256):
        board.io_apic.write_mmio(0, register)
        board.io_apic.write_mmio(0x10, 0xFFFFFFFF)
    for pin in range(24):
        board.io_apic.pulse(pin)
    assert all(not entry & 1 << 17 for entry in board.io_apic.entries)
