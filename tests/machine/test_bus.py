from collections.abc import Sequence

import pytest

from hypercall.machine.bus import Bus


class Ports:
    """A device that keeps its accesses and answers with the low byte of the port."""

    def __init__(self, *ports: range, widest_access: int = 1) -> None:
        self.ports: Sequence[range] = ports
        self.widest_access = widest_access
        self.accesses: list[tuple[int, ...]] = []

    def read_port(self, port: int, size: int) -> int:
        self.accesses.append((port, size))
        return port & 0xFF

    def write_port(self, port: int, size: int, value: int) -> None:
        self.accesses.append((port, size, value))


class Registers:
    """A device with registers in memory that answers with the offset."""

    def __init__(self, region: range) -> None:
        self.regions: Sequence[range] = (region,)
        self.accesses: list[tuple[int, ...]] = []

    def read_memory(self, gpa: int, size: int) -> int:
        return gpa - self.regions[0].start

    def write_memory(self, gpa: int, size: int, value: int) -> None:
        self.accesses.append((gpa, size, value))


def test_an_access_reaches_the_device_of_its_port() -> None:
    bus, first, second = (
        Bus(),
        Ports(range(0x20, 0x22), range(0xA0, 0xA2)),
        Ports(range(0x22, 0x23)),
    )
    bus.add(first)
    bus.add(second)
    assert bus.read_port(0xA1, 1) == 0xA1
    bus.write_port(0x22, 1, 0x1FF)
    assert first.accesses == [(0xA1, 1)]
    assert second.accesses == [(0x22, 1, 0xFF)]
    assert bus.devices == (first, second)


@pytest.mark.parametrize(("size", "value"), [(1, 0xFF), (2, 0xFFFF), (4, 0xFFFF_FFFF)])
def test_a_port_that_nobody_has_reads_as_ones(size: int, value: int) -> None:
    bus = Bus()
    assert bus.read_port(0xCFC, size) == value
    bus.write_port(0x80, size, 0)


def test_the_observer_sees_what_nobody_claims() -> None:
    seen: list[tuple[int, int, int, bool]] = []
    bus = Bus()
    bus.observer = lambda *access: seen.append(access)
    bus.add(Ports(range(1)))
    bus.read_port(0, 1)
    bus.read_port(0x300, 2)
    bus.write_port(0x301, 1, 7)
    assert seen == [(0x300, 2, 0xFFFF, False), (0x301, 1, 7, True)]


def test_wide_accesses_of_narrow_devices_are_split() -> None:
    bus, device = Bus(), Ports(range(0x40, 0x43))
    bus.add(device)
    assert bus.read_port(0x40, 4) == 0xFF42_4140
    bus.write_port(0x41, 2, 0xBBAA)
    assert device.accesses[-2:] == [(0x41, 1, 0xAA), (0x42, 1, 0xBB)]


def test_wide_devices_get_wide_accesses_whole() -> None:
    bus, device = Bus(), Ports(range(0xF4, 0xF8), widest_access=4)
    bus.add(device)
    bus.write_port(0xF4, 4, 0x1234_5678)
    assert device.accesses == [(0xF4, 4, 0x1234_5678)]


def test_a_split_access_wraps_at_the_last_port() -> None:
    bus, device = Bus(), Ports(range(0xFFFF, 0x10000))
    bus.add(device)
    assert bus.read_port(0xFFFF, 2) == 0xFFFF


def test_memory_mapped_devices() -> None:
    bus, device = Bus(), Registers(range(0xFEC0_0000, 0xFEC0_1000))
    bus.add(device)
    bus.add(Registers(range(0x1000, 0x2000)))
    assert bus.read_memory(0xFEC0_0010, 4) == 0x10
    assert bus.read_memory(0xFEC0_1000, 8) == (1 << 64) - 1
    bus.write_memory(0xFEC0_0000, 4, 0x1_0000_0002)
    bus.write_memory(0xFEC0_1000, 4, 1)
    assert device.accesses == [(0xFEC0_0000, 4, 2)]
    assert bus.regions == (range(0x1000, 0x2000), range(0xFEC0_0000, 0xFEC0_1000))


@pytest.mark.parametrize("ports", [range(0x21, 0x23), range(0x10000, 0x10001)])
def test_a_port_cannot_be_claimed_twice_or_beyond_the_last(ports: range) -> None:
    bus = Bus()
    bus.add(Ports(range(0x20, 0x22)))
    with pytest.raises(ValueError, match="port"):
        bus.add(Ports(ports))
    assert bus.read_port(0x22, 1) == 0xFF


def test_an_address_cannot_be_claimed_twice() -> None:
    bus = Bus()
    bus.add(Registers(range(0x1000, 0x2000)))
    with pytest.raises(ValueError, match="0x1fff is claimed twice"):
        bus.add(Registers(range(0x1FFF, 0x3000)))
