from typing import Any

import pytest

from hypercall.machine.devices.serial import Serial

DATA, ENABLE, IDENTIFICATION, LINE_CONTROL, MODEM_CONTROL, LINE_STATUS, MODEM_STATUS, SCRATCH = (
    range(0x3F8, 0x400)
)
NONE, TRANSMIT_EMPTY, RECEIVED, TIMEOUT, LINE = 1, 2, 4, 0x0C, 6


class Port:
    """A serial port with the registers as they are after a driver has set it up."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.serial = Serial(bench.clock, bench.timers, bench.set_irq)
        self.output: list[bytes] = []
        self.serial.sinks.append(self.output.append)

    def read(self, port: int) -> int:
        return self.serial.read_port(port, 1)

    def write(self, port: int, value: int) -> None:
        self.serial.write_port(port, 1, value)

    def send(self, data: bytes) -> None:
        for byte in data:
            self.write(DATA, byte)

    def identify(self) -> int:
        return self.read(IDENTIFICATION) & 0x0F


@pytest.fixture
def port(bench: Any) -> Port:
    port = Port(bench)
    port.write(IDENTIFICATION, 0x01)
    port.write(MODEM_CONTROL, 0x0B)
    return port


def test_output_comes_line_by_line(port: Port) -> None:
    port.send(b"one\ntwo\nthr")
    assert port.output == [b"one\n", b"two\n"]
    port.serial.flush()
    assert port.output[2:] == [b"thr"]
    port.serial.flush()
    assert len(port.output) == 3


def test_a_prompt_comes_after_a_while(port: Port) -> None:
    port.send(b"/ # ")
    port.bench.advance(1_000_000)
    assert port.output == []
    port.bench.advance(1_000_000_000)
    assert port.output == [b"/ # "]
    assert port.bench.timers.next_deadline() is None


def test_a_line_without_end_comes_in_pieces(port: Port) -> None:
    port.send(b"x" * 10_000)
    assert [len(piece) for piece in port.output] == [4096, 4096]


def test_the_transmitter_is_always_empty(port: Port) -> None:
    port.send(b"x" * 100)
    assert port.read(LINE_STATUS) == 0x60


def test_enabling_the_transmit_interrupt_raises_it(port: Port) -> None:
    port.write(ENABLE, 2)
    assert port.bench.levels[4]
    assert port.identify() == TRANSMIT_EMPTY
    # Reading the identification takes it back.
    assert not port.bench.levels[4]
    assert port.identify() == NONE
    # Drivers test for a known fault of clones: disable and enable must raise it once more.
    port.write(ENABLE, 0)
    port.write(ENABLE, 2)
    assert port.identify() == TRANSMIT_EMPTY


def test_sending_raises_the_transmit_interrupt_again(port: Port) -> None:
    port.write(ENABLE, 2)
    port.identify()
    port.send(b"abcdef")
    assert port.bench.rises(4) == 2
    assert port.identify() == TRANSMIT_EMPTY
    port.write(ENABLE, 0)
    assert port.identify() == NONE


def test_input_arrives_in_order_and_raises_its_interrupt(port: Port) -> None:
    port.write(ENABLE, 1)
    port.serial.feed(b"hello")
    assert port.bench.levels[4]
    assert port.identify() == TIMEOUT or port.identify() == RECEIVED
    received = bytearray()
    while port.read(LINE_STATUS) & 1:
        received.append(port.read(DATA))
    assert received == b"hello"
    assert not port.bench.levels[4]
    assert port.identify() == NONE


def test_input_longer_than_the_fifo_comes_at_the_pace_of_the_line(port: Port) -> None:
    port.write(ENABLE, 1)
    data = bytes(range(40))
    port.serial.feed(data)
    received = bytearray()
    while port.read(LINE_STATUS) & 1:
        received.append(port.read(DATA))
    assert received == data[:16]
    assert port.serial.pending_input == 24
    port.bench.advance(16 * 86_806)
    assert port.bench.levels[4]
    while port.read(LINE_STATUS) & 1:
        received.append(port.read(DATA))
    port.bench.advance(16 * 86_806)
    while port.read(LINE_STATUS) & 1:
        received.append(port.read(DATA))
    assert received == data
    assert port.serial.pending_input == 0


def test_the_trigger_level_tells_received_from_timeout(port: Port) -> None:
    port.write(IDENTIFICATION, 0x81)
    port.write(ENABLE, 1)
    port.serial.feed(b"x" * 8)
    assert port.identify() == RECEIVED
    port.read(DATA)
    assert port.identify() == TIMEOUT


def test_without_fifo_one_byte_is_received_at_a_time(port: Port) -> None:
    port.write(IDENTIFICATION, 0)
    assert port.read(IDENTIFICATION) & 0xC0 == 0
    port.serial.feed(b"ab")
    assert port.read(DATA) == ord("a")
    assert not port.read(LINE_STATUS) & 1
    port.bench.advance(86_806)
    assert port.read(DATA) == ord("b")


def test_input_fed_before_the_driver_is_there_is_cleared_by_it(port: Port) -> None:
    port.serial.feed(b"x" * 16)
    port.write(IDENTIFICATION, 0x03)
    assert not port.read(LINE_STATUS) & 1


def test_input_that_the_driver_cleared_comes_again(port: Port) -> None:
    port.serial.feed(b"type this")
    for _ in range(3):
        port.bench.advance(1_000_000)
        port.write(IDENTIFICATION, 0x07)
        # What a driver does to be sure that nothing is left.
        assert port.read(DATA) == 0
    port.bench.advance(86_805)
    assert not port.read(LINE_STATUS) & 1
    port.bench.advance(1)
    assert port.read(LINE_STATUS) & 1
    port.bench.advance(1_000_000)
    assert bytes(port.read(DATA) for _ in range(9)) == b"type this"
    assert not port.read(LINE_STATUS) & 1


def test_the_interrupt_line_is_gated_by_out2(port: Port) -> None:
    port.write(ENABLE, 2)
    port.write(MODEM_CONTROL, 0x03)
    assert not port.bench.levels[4]
    port.write(MODEM_CONTROL, 0x0B)
    assert port.bench.levels[4]


@pytest.mark.parametrize(
    ("control", "status"), [(0x1A, 0x90), (0x11, 0x20), (0x14, 0x40), (0x1F, 0xF0), (0x10, 0)]
)
def test_loopback_returns_the_modem_lines(port: Port, control: int, status: int) -> None:
    port.write(MODEM_CONTROL, control)
    assert port.read(MODEM_STATUS) & 0xF0 == status


def test_loopback_returns_data_and_sends_none(port: Port) -> None:
    port.write(MODEM_CONTROL, 0x10)
    port.send(b"ab")
    assert bytes([port.read(DATA), port.read(DATA)]) == b"ab"
    port.serial.flush()
    assert port.output == []


def test_loopback_overrun_is_a_line_status(port: Port) -> None:
    port.write(MODEM_CONTROL, 0x10)
    port.write(ENABLE, 4)
    port.send(b"x" * 17)
    assert port.identify() == LINE
    assert port.read(LINE_STATUS) & 2
    assert not port.read(LINE_STATUS) & 2
    assert port.identify() == NONE


def test_input_waits_for_the_end_of_loopback(port: Port) -> None:
    port.write(MODEM_CONTROL, 0x10)
    port.serial.feed(b"x")
    assert not port.read(LINE_STATUS) & 1
    port.write(MODEM_CONTROL, 0x0B)
    port.bench.advance(1_000_000)
    assert port.read(DATA) == ord("x")


def test_changes_of_the_modem_lines_raise_an_interrupt(port: Port) -> None:
    port.read(MODEM_STATUS)
    port.write(MODEM_CONTROL, 0x18)
    port.write(ENABLE, 8)
    port.write(MODEM_CONTROL, 0x08)
    assert port.identify() == 0
    # CTS and DSR have changed.
    assert port.read(MODEM_STATUS) & 3 == 3
    assert port.read(MODEM_STATUS) & 0x0F == 0
    assert port.identify() == NONE


def test_the_divisor_latch_hides_data_and_enable(port: Port) -> None:
    port.write(ENABLE, 5)
    port.write(LINE_CONTROL, 0x83)
    port.write(DATA, 0x34)
    port.write(ENABLE, 0x12)
    assert (port.read(DATA), port.read(ENABLE)) == (0x34, 0x12)
    port.write(LINE_CONTROL, 0x03)
    assert port.read(ENABLE) == 5
    assert port.read(LINE_CONTROL) == 3
    port.serial.flush()
    assert port.output == []


def test_it_is_a_16550a_and_nothing_newer(port: Port) -> None:
    assert port.read(IDENTIFICATION) & 0xE0 == 0xC0
    port.write(SCRATCH, 0x5A)
    assert port.read(SCRATCH) == 0x5A
    # Bits of newer chips do not stick: sleep mode, 64-byte FIFO.
    port.write(ENABLE, 0xF0)
    assert port.read(ENABLE) == 0
    port.write(IDENTIFICATION, 0x21)
    assert not port.read(IDENTIFICATION) & 0x20


def test_reset_quiets_it_and_keeps_what_waits(port: Port) -> None:
    port.write(ENABLE, 3)
    port.serial.feed(b"x" * 20)
    port.serial.reset()
    assert not port.bench.levels[4]
    assert port.read(ENABLE) == 0
    assert port.serial.pending_input == 4
