import pytest

from hypercall.machine.devices.board_test_device import TEST_MEMORY, BoardTestDevice


@pytest.fixture
def lines() -> list[tuple[int, bool]]:
    return []


@pytest.fixture
def device(lines: list[tuple[int, bool]]) -> BoardTestDevice:
    return BoardTestDevice(lambda line, level: lines.append((line, level)))


def test_lines(device: BoardTestDevice, lines: list[tuple[int, bool]]) -> None:
    for port, size, value in ((0x2000, 1, 1), (0x200F, 1, 0xFF), (0x200E, 4, 1 << 31)):
        device.write_port(port, size, value)
        device.write_port(port, size, 0)
    assert lines == [(0, True), (0, False), (15, True), (15, False), (14, True), (14, False)]


@pytest.mark.parametrize("base", [0xE0, 0xE8])
@pytest.mark.parametrize(("size", "value"), [(1, 0xAA), (2, 0xBBCC), (4, 0x12345678)])
def test_latches(device: BoardTestDevice, base: int, size: int, value: int) -> None:
    device.write_port(base, size, value)
    assert device.read_port(base, size) == value
    assert device.read_port(base, 1) == value & 0xFF
    assert device.read_port(base ^ 8, 4) == 0


def test_the_latches_are_apart(device: BoardTestDevice, lines: list[tuple[int, bool]]) -> None:
    device.write_port(0xE0, 4, 0x11111111)
    device.write_port(0xE4, 1, 0xFF)
    assert device.read_port(0xE0, 4) == 0x11111111
    assert device.read_port(0xE4, 4) == 0
    assert device.read_port(0x2003, 1) == 0
    assert lines == []


def test_ports(device: BoardTestDevice) -> None:
    ports = {port for ports in device.ports for port in ports}
    assert ports == {*range(0xE0, 0xEC), *range(0x2000, 0x2010)}


@pytest.mark.parametrize(("offset", "size"), [(0, 8), (0x1FFC, 4), (0xFFFE, 2), (0x123, 1)])
def test_memory(device: BoardTestDevice, offset: int, size: int) -> None:
    value = (1 << 8 * size) - 0x12
    device.write_memory(TEST_MEMORY.start + offset, size, value)
    assert device.read_memory(TEST_MEMORY.start + offset, size) == value
    assert device.read_memory(TEST_MEMORY.start + offset, 1) == value & 0xFF
    assert device.regions == (TEST_MEMORY,)
