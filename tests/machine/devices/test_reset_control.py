import pytest

from hypercall.machine.devices.reset_control import RESET_PORT, RESET_VALUE, ResetControl


@pytest.fixture
def resets() -> list[bool]:
    return []


@pytest.fixture
def device(resets: list[bool]) -> ResetControl:
    return ResetControl(lambda: resets.append(True))


@pytest.mark.parametrize(
    ("port", "value"), [(RESET_PORT, RESET_VALUE), (RESET_PORT, 0x0E), (0x64, 0xFE), (0x92, 0x01)]
)
def test_every_way_to_reset(
    device: ResetControl, resets: list[bool], port: int, value: int
) -> None:
    device.write_port(port, 1, value)
    assert resets == [True]


@pytest.mark.parametrize(
    ("port", "value"), [(RESET_PORT, 0x02), (0x64, 0xFF), (0x64, 0xAA), (0x92, 0x02), (0x60, 0xFE)]
)
def test_what_does_not_reset(
    device: ResetControl, resets: list[bool], port: int, value: int
) -> None:
    device.write_port(port, 1, value)
    assert resets == []


def test_the_keyboard_controller_is_absent(device: ResetControl) -> None:
    assert device.read_port(0x60, 1) == device.read_port(0x64, 1) == 0xFF


def test_the_other_registers_read_back(device: ResetControl) -> None:
    device.write_port(RESET_PORT, 1, 0x02)
    assert device.read_port(RESET_PORT, 1) == 0x02
    assert device.read_port(0x92, 1) == 0x02
