from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from hypercall.machine.devices.real_time_clock import CENTURY, RealTimeClock

SECOND = 1_000_000_000
TIME = (0, 2, 4, 6, 7, 8, 9, CENTURY)


class Clock:
    def __init__(self, bench: Any, start: datetime) -> None:
        self.bench = bench
        self.device = RealTimeClock(bench.clock, start)

    def read(self, index: int) -> int:
        self.device.write_port(0x70, 1, index)
        return self.device.read_port(0x71, 1)

    def write(self, index: int, value: int) -> None:
        self.device.write_port(0x70, 1, index)
        self.device.write_port(0x71, 1, value)

    def time(self) -> list[str]:
        return [f"{self.read(index):02x}" for index in TIME]


@pytest.fixture
def clock(bench: Any) -> Clock:
    return Clock(bench, datetime(2024, 2, 29, 23, 59, 58))


def test_the_date_is_the_configured_one_in_bcd(clock: Clock) -> None:
    assert clock.time() == ["58", "59", "23", "05", "29", "02", "24", "20"]


def test_it_runs_with_the_partition_s_clock(clock: Clock) -> None:
    clock.bench.advance(2 * SECOND)
    assert clock.time() == ["00", "00", "00", "06", "01", "03", "24", "20"]


def test_a_time_zone_is_converted(bench: Any) -> None:
    start = datetime(2024, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert Clock(bench, start).device.now() == datetime(2023, 12, 31, 23, 0, tzinfo=UTC)


def test_binary_and_12_hour_formats(clock: Clock) -> None:
    clock.write(0x0B, 0x06)
    assert [clock.read(0), clock.read(4), clock.read(CENTURY)] == [58, 23, 20]
    clock.write(0x0B, 0x00)
    assert clock.read(4) == 0x91
    clock.write(4, 0x12)
    assert clock.device.now().hour == 0


def test_the_status_says_valid_and_no_update_in_progress(clock: Clock) -> None:
    assert clock.read(0x0D) == 0x80
    assert not clock.read(0x0A) & 0x80
    assert clock.read(0x0B) == 0x02
    clock.write(0x0D, 0)
    assert clock.read(0x0D) == 0x80


def test_the_guest_can_set_the_time(clock: Clock) -> None:
    clock.write(0x0B, 0x82)
    for index, value in zip(TIME, (0x01, 0x02, 0x03, 0x01, 0x15, 0x06, 0x30, 0x19), strict=True):
        clock.write(index, value)
    clock.bench.advance(10 * SECOND)
    assert clock.time()[0] == "01"
    clock.write(0x0B, 0x02)
    clock.bench.advance(10 * SECOND)
    assert clock.device.now() == datetime(1930, 6, 15, 3, 2, 11, tzinfo=UTC)


def test_a_date_that_does_not_exist_is_ignored(clock: Clock) -> None:
    for index in TIME:
        clock.write(index, 0xFF)
    assert clock.device.now().year == 2024


def test_memory_bytes_keep_their_values(clock: Clock) -> None:
    clock.write(0x40, 0xA5)
    assert clock.read(0x40) == 0xA5
    # Bit 7 of the index is the NMI mask.
    clock.device.write_port(0x70, 1, 0xC0)
    assert clock.device.read_port(0x71, 1) == 0xA5
    assert clock.device.read_port(0x70, 1) == 0xFF


def test_the_end_of_time_is_no_error(clock: Clock) -> None:
    clock.bench.advance(10**21)
    assert clock.device.now().year == 9999
