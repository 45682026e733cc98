from typing import Any

import pytest

from hypercall.machine.devices.interval_timer import FREQUENCY, IntervalTimer

MILLISECOND = 1_000_000
SECOND = 1_000_000_000


class Timer:
    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.device = IntervalTimer(bench.clock, bench.timers, bench.set_irq)

    def read(self, port: int) -> int:
        return self.device.read_port(port, 1)

    def write(self, port: int, *values: int) -> None:
        for value in values:
            self.device.write_port(port, 1, value)

    def start(self, channel: int, mode: int, count: int) -> None:
        self.write(0x43, channel << 6 | 0x30 | mode << 1)
        self.write(0x40 + channel, count & 0xFF, count >> 8)

    def count(self, channel: int) -> int:
        self.write(0x43, channel << 6)
        return self.read(0x40 + channel) | self.read(0x40 + channel) << 8


@pytest.fixture
def timer(bench: Any) -> Timer:
    return Timer(bench)


@pytest.mark.parametrize("mode", [2, 3])
def test_periodic_modes_interrupt_at_their_rate(timer: Timer, mode: int) -> None:
    timer.start(0, mode, 11932)
    timer.bench.advance(SECOND)
    assert timer.bench.rises(0) == 99
    timer.bench.advance(SECOND)
    assert timer.bench.rises(0) == 199


def test_mode_0_interrupts_once_and_stays_high(timer: Timer) -> None:
    timer.start(0, 0, 1193)
    timer.bench.advance(MILLISECOND - 200_000)
    assert timer.bench.rises(0) == 0
    timer.bench.advance(SECOND)
    assert timer.bench.rises(0) == 1
    assert timer.bench.levels[0]
    timer.start(0, 0, 1193)
    assert not timer.bench.levels[0]
    timer.bench.advance(SECOND)
    assert timer.bench.rises(0) == 2


def test_a_new_control_word_stops_the_interrupts(timer: Timer) -> None:
    timer.start(0, 2, 1193)
    timer.bench.advance(5 * MILLISECOND)
    rises = timer.bench.rises(0)
    assert rises >= 4
    timer.write(0x43, 0x34)
    timer.bench.advance(SECOND)
    assert timer.bench.rises(0) == rises
    assert timer.bench.timers.next_deadline() is None


def test_a_count_of_0_is_the_longest(timer: Timer) -> None:
    timer.start(0, 2, 0)
    timer.bench.advance(SECOND)
    assert timer.bench.rises(0) == 18


def test_a_count_too_short_to_serve_is_stretched(timer: Timer) -> None:
    timer.start(0, 2, 1)
    timer.bench.advance(10 * MILLISECOND)
    assert 900 <= timer.bench.rises(0) <= 1001


def test_a_latched_count_stands_still(timer: Timer) -> None:
    timer.start(0, 2, 0xFFFF)
    timer.bench.advance(MILLISECOND)
    timer.write(0x43, 0x00)
    timer.bench.advance(MILLISECOND)
    latched = timer.read(0x40) | timer.read(0x40) << 8
    assert 0xFFFF - latched == FREQUENCY // 1000
    later = timer.read(0x40) | timer.read(0x40) << 8
    assert 0xFFFF - later == 2 * FREQUENCY // 1000


def test_mode_3_counts_by_twos(timer: Timer) -> None:
    timer.start(0, 3, 0x8000)
    timer.bench.advance(MILLISECOND)
    assert 0x8000 - timer.count(0) == 2 * (FREQUENCY // 1000)


def test_read_back_latches_count_and_status(timer: Timer) -> None:
    timer.start(0, 2, 0x1234)
    timer.write(0x43, 0xC2)
    assert timer.read(0x40) == 0xB4
    assert timer.read(0x40) | timer.read(0x40) << 8 == 0x1234
    timer.write(0x43, 0x30)
    timer.write(0x43, 0xE2)
    # Output low in mode 0, and no count loaded yet.
    assert timer.read(0x40) == 0x70


def test_single_byte_access(timer: Timer) -> None:
    timer.write(0x43, 0x14)
    timer.write(0x40, 100)
    assert timer.read(0x40) == 100
    timer.write(0x43, 0x24)
    timer.write(0x40, 2)
    assert timer.read(0x40) == 2


def test_decimal_counting(timer: Timer) -> None:
    timer.write(0x43, 0x35)
    timer.write(0x40, 0x34, 0x12)
    assert timer.count(0) == 0x1234


def test_channel_2_calibrates_through_port_61(timer: Timer) -> None:
    # As Linux does it: gate on, mode 0, wait until the output rises.
    timer.write(0x61, 0x01)
    timer.start(2, 0, FREQUENCY // 20)
    assert not timer.read(0x61) & 0x20
    timer.bench.advance(49 * MILLISECOND)
    assert not timer.read(0x61) & 0x20
    timer.bench.advance(2 * MILLISECOND)
    assert timer.read(0x61) & 0x20
    assert timer.read(0x61) & 1
    assert timer.bench.rises(0) == 0


def test_a_rising_gate_starts_channel_2_anew(timer: Timer) -> None:
    timer.write(0x61, 0x01)
    timer.start(2, 1, 0xFFFF)
    timer.bench.advance(MILLISECOND)
    timer.write(0x61, 0x00)
    timer.write(0x61, 0x01)
    assert timer.count(2) == 0xFFFF


def test_the_refresh_bit_toggles(timer: Timer) -> None:
    seen = set()
    for _ in range(4):
        seen.add(timer.read(0x61) & 0x10)
        timer.bench.advance(15_085)
    assert seen == {0, 0x10}


def test_the_control_port_reads_as_ones(timer: Timer) -> None:
    assert timer.read(0x43) == 0xFF
