"""The real-time clock and its CMOS memory, with a date that the configuration gives.

Source: Motorola MC146818A data sheet. The time runs with the partition's clock, never with the
host's, so that every run sees the same dates. There are no alarms.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypercall.partition.clock import ReferenceClock

_SECOND_NS = 1_000_000_000
_SECONDS, _MINUTES, _HOURS, _WEEKDAY, _DAY, _MONTH, _YEAR = 0, 2, 4, 6, 7, 8, 9
_STATUS_A, _STATUS_B, _STATUS_C, _STATUS_D = 0x0A, 0x0B, 0x0C, 0x0D
#: The CMOS byte with the century, which the FADT tells the guest.
CENTURY = 0x32
_TIME_REGISTERS = (_SECONDS, _MINUTES, _HOURS, _WEEKDAY, _DAY, _MONTH, _YEAR, CENTURY)
_B_SET, _B_BINARY, _B_24_HOURS = 0x80, 0x04, 0x02
_PM = 0x80


class RealTimeClock:
    """The clock at ports 0x70 (index) and 0x71 (data).

    Args:
        clock: the partition's clock.
        start: the date and time when the clock reads 0; without a time zone it is UTC.
    """

    widest_access = 1

    def __init__(self, clock: ReferenceClock, start: datetime) -> None:
        self._clock = clock
        self._start = start.astimezone(UTC) if start.tzinfo else start.replace(tzinfo=UTC)
        self._index = 0
        self._memory = bytearray(128)
        self._memory[_STATUS_A] = 0x26
        self._memory[_STATUS_B] = _B_24_HOURS
        self._memory[_STATUS_D] = 0x80
        # While the guest sets the time, the registers stand still with what it has written.
        self._stopped: datetime | None = None

    @property
    def ports(self) -> Sequence[range]:
        """Index and data."""
        return (range(0x70, 0x72),)

    def now(self) -> datetime:
        """The date and time that the clock shows, in UTC."""
        if self._stopped is not None:
            return self._stopped
        try:
            return self._start + timedelta(microseconds=self._clock.now() // 1000)
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)

    def read_port(self, port: int, size: int) -> int:
        """Read the selected byte; the index reads as all ones, as it does on a PC."""
        if port == 0x70:
            return 0xFF
        index = self._index
        if index in _TIME_REGISTERS:
            return self._encode(index, self.now())
        return self._memory[index]

    def write_port(self, port: int, size: int, value: int) -> None:
        """Select or write a byte."""
        if port == 0x70:
            self._index = value & 0x7F
            return
        index = self._index
        if index in _TIME_REGISTERS:
            self._set(index, value)
        elif index == _STATUS_B:
            if value & _B_SET and self._stopped is None:
                self._stopped = self.now()
            elif not value & _B_SET and self._stopped is not None:
                self._run_from(self._stopped)
                self._stopped = None
            self._memory[index] = value
        elif index == _STATUS_A:
            self._memory[index] = value & 0x7F
        elif index not in (_STATUS_C, _STATUS_D):
            self._memory[index] = value

    def _run_from(self, moment: datetime) -> None:
        try:
            self._start = moment - timedelta(microseconds=self._clock.now() // 1000)
        except OverflowError:
            self._start = datetime.min.replace(tzinfo=UTC)

    def _to_register(self, value: int) -> int:
        if self._memory[_STATUS_B] & _B_BINARY:
            return value
        return value // 10 << 4 | value % 10

    def _from_register(self, value: int) -> int:
        if self._memory[_STATUS_B] & _B_BINARY:
            return value
        return (value >> 4) * 10 + (value & 0x0F)

    def _encode(self, index: int, moment: datetime) -> int:
        if index == _HOURS and not self._memory[_STATUS_B] & _B_24_HOURS:
            hour = self._to_register((moment.hour + 11) % 12 + 1)
            return hour | (_PM if moment.hour >= 12 else 0)
        value = {
            _SECONDS: moment.second,
            _MINUTES: moment.minute,
            _HOURS: moment.hour,
            _WEEKDAY: moment.isoweekday() % 7 + 1,
            _DAY: moment.day,
            _MONTH: moment.month,
            _YEAR: moment.year % 100,
            CENTURY: moment.year // 100,
        }[index]
        return self._to_register(value)

    def _set(self, index: int, value: int) -> None:
        moment = self.now()
        if index == _HOURS and not self._memory[_STATUS_B] & _B_24_HOURS:
            number = self._from_register(value & 0x7F) % 12 + (12 if value & _PM else 0)
        else:
            number = self._from_register(value)
        try:
            changed = {
                _SECONDS: lambda: moment.replace(second=number),
                _MINUTES: lambda: moment.replace(minute=number),
                _HOURS: lambda: moment.replace(hour=number),
                _WEEKDAY: lambda: moment,
                _DAY: lambda: moment.replace(day=number),
                _MONTH: lambda: moment.replace(month=number),
                _YEAR: lambda: moment.replace(year=moment.year // 100 * 100 + number % 100),
                CENTURY: lambda: moment.replace(year=number * 100 + moment.year % 100),
            }[index]()
        except ValueError:
            # No such date: a clock chip would show it, but nothing could be computed from it.
            return
        if self._stopped is not None:
            self._stopped = changed
        else:
            self._run_from(changed)
