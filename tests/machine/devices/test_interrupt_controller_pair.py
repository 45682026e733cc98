import pytest

from hypercall.machine.devices.interrupt_controller_pair import InterruptControllerPair


class Pair:
    """A pair whose output is kept, programmed as PC firmware and Linux do it."""

    def __init__(self) -> None:
        self.outputs: list[bool] = []
        self.pair = InterruptControllerPair(self.outputs.append)

    def write(self, port: int, value: int) -> None:
        self.pair.write_port(port, 1, value)

    def read(self, port: int) -> int:
        return self.pair.read_port(port, 1)

    def initialise(self, *, auto_end: bool = False) -> None:
        for command, data, vector, cascade in ((0x20, 0x21, 0x30, 4), (0xA0, 0xA1, 0x38, 2)):
            self.write(command, 0x11)
            self.write(data, vector)
            self.write(data, cascade)
            self.write(data, 3 if auto_end else 1)
            self.write(data, 0)

    def pulse(self, line: int) -> None:
        self.pair.set_line(line, True)
        self.pair.set_line(line, False)


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.initialise()
    return pair


def test_masks_read_back() -> None:
    pair = Pair()
    assert (pair.read(0x21), pair.read(0xA1)) == (0xFF, 0xFF)
    pair.initialise()
    pair.write(0x21, 0xFB)
    pair.write(0xA1, 0x5A)
    assert (pair.read(0x21), pair.read(0xA1)) == (0xFB, 0x5A)


def test_an_interrupt_has_its_line_s_vector(pair: Pair) -> None:
    pair.pair.set_line(4, True)
    assert pair.outputs == [True]
    assert pair.pair.acknowledge() == 0x34
    assert pair.outputs == [True, False]
    assert pair.pair.acknowledge() is None
    # An edge counts once, however long the line stays up.
    pair.write(0x20, 0x20)
    assert pair.pair.acknowledge() is None


def test_a_line_of_the_second_goes_through_both(pair: Pair) -> None:
    pair.pair.set_line(12, True)
    assert pair.pair.acknowledge() == 0x3C
    pair.write(0x20, 0x0B)
    pair.write(0xA0, 0x0B)
    assert (pair.read(0x20), pair.read(0xA0)) == (0x04, 0x10)
    pair.write(0xA0, 0x20)
    pair.write(0x20, 0x20)
    assert (pair.read(0x20), pair.read(0xA0)) == (0, 0)


def test_a_higher_line_interrupts_a_lower_one_and_not_the_reverse(pair: Pair) -> None:
    pair.pair.set_line(4, True)
    assert pair.pair.acknowledge() == 0x34
    pair.pair.set_line(5, True)
    assert pair.pair.acknowledge() is None
    pair.pair.set_line(1, True)
    assert pair.pair.acknowledge() == 0x31
    pair.write(0x20, 0x61)
    pair.write(0x20, 0x64)
    assert pair.pair.acknowledge() == 0x35


def test_masked_lines_ask_for_nothing(pair: Pair) -> None:
    pair.write(0x21, 0xFF)
    pair.write(0xA1, 0xFF)
    for line in (0, 1, 3, 7, 8, 15):
        pair.pair.set_line(line, True)
    assert pair.outputs == []
    assert pair.pair.acknowledge() is None
    pair.write(0x21, 0x7F)
    assert pair.pair.acknowledge() == 0x37


def test_a_line_that_drops_early_leaves_nothing_spurious(pair: Pair) -> None:
    pair.pulse(7)
    pair.pulse(15)
    assert pair.outputs[-1] is False
    assert pair.pair.acknowledge() is None


def test_a_level_line_asks_until_it_drops(pair: Pair) -> None:
    pair.pair.write_port(0x4D1, 1, 0xFF)
    assert pair.read(0x4D1) == 0xDE
    pair.pair.set_line(9, True)
    assert pair.pair.acknowledge() == 0x39
    pair.write(0xA0, 0x20)
    pair.write(0x20, 0x20)
    assert pair.pair.acknowledge() == 0x39
    pair.pair.set_line(9, False)
    pair.write(0xA0, 0x20)
    pair.write(0x20, 0x20)
    assert pair.pair.acknowledge() is None


def test_automatic_end_leaves_nothing_in_service() -> None:
    pair = Pair()
    pair.initialise(auto_end=True)
    pair.pair.set_line(3, True)
    assert pair.pair.acknowledge() == 0x33
    pair.write(0x20, 0x0B)
    assert pair.read(0x20) == 0


def test_rotation_makes_the_ended_line_the_lowest(pair: Pair) -> None:
    for line in (3, 4):
        pair.pair.set_line(line, True)
    assert pair.pair.acknowledge() == 0x33
    pair.write(0x20, 0xA0)
    pair.pair.set_line(3, False)
    pair.pair.set_line(3, True)
    assert pair.pair.acknowledge() == 0x34


def test_a_poll_acknowledges(pair: Pair) -> None:
    pair.pair.set_line(6, True)
    pair.write(0x20, 0x0C)
    assert pair.read(0x20) == 0x86
    pair.write(0x20, 0x0C)
    assert pair.read(0x20) == 0
    assert pair.outputs == [True, False]


def test_nothing_is_asked_while_the_vector_base_is_unknown() -> None:
    pair = Pair()
    pair.write(0x20, 0x11)
    pair.pair.set_line(1, True)
    assert pair.pair.acknowledge() is None
    pair.write(0x21, 0x40)
    pair.write(0x21, 4)
    pair.write(0x21, 1)
    assert pair.pair.acknowledge() == 0x41


def test_the_special_mask_mode_lets_lower_lines_in(pair: Pair) -> None:
    pair.pair.set_line(1, True)
    assert pair.pair.acknowledge() == 0x31
    pair.pair.set_line(5, True)
    assert pair.pair.acknowledge() is None
    pair.write(0x21, 0x02)
    pair.write(0x20, 0x68)
    assert pair.pair.acknowledge() == 0x35
