from typing import Any

import pytest

from hypercall.machine.devices.power_management import PowerManagement


@pytest.fixture
def offs() -> list[bool]:
    return []


@pytest.fixture
def device(bench: Any, offs: list[bool]) -> PowerManagement:
    return PowerManagement(bench.clock, bench.set_irq, lambda: offs.append(True))


def test_the_timer_counts_at_its_frequency(bench: Any, device: PowerManagement) -> None:
    assert device.read_port(0x608, 4) == 0
    bench.advance(1_000_000_000)
    assert device.read_port(0x608, 4) == 3_579_545
    bench.advance(2000 * 1_000_000_000)
    assert device.read_port(0x608, 4) == 2001 * 3_579_545 % (1 << 32)


def test_acpi_mode_is_always_on(device: PowerManagement) -> None:
    device.write_port(0x604, 2, 0)
    assert device.read_port(0x604, 2) & 1


@pytest.mark.parametrize("size", [2, 1])
def test_s5_powers_off(device: PowerManagement, offs: list[bool], size: int) -> None:
    value = 5 << 10 | 1 << 13
    if size == 2:
        device.write_port(0x604, 2, value)
    else:
        device.write_port(0x604, 1, value & 0xFF)
        device.write_port(0x605, 1, value >> 8)
    assert offs == [True]


@pytest.mark.parametrize("value", [5 << 10, 1 << 13, 1 << 13 | 3 << 10])
def test_other_sleep_types_do_not(device: PowerManagement, offs: list[bool], value: int) -> None:
    device.write_port(0x604, 2, value)
    assert offs == []
    assert device.read_port(0x604, 2) == value & 0x1C00 | 1


def test_the_power_button_interrupts_until_it_is_cleared(
    bench: Any, device: PowerManagement
) -> None:
    device.press_power_button()
    assert bench.changes == []
    device.write_port(0x602, 2, 0x0100)
    assert bench.changes == [(9, True)]
    assert device.read_port(0x600, 2) == 0x0100
    device.write_port(0x600, 2, 0x0001)
    assert bench.levels[9]
    device.write_port(0x600, 2, 0x0100)
    assert bench.changes == [(9, True), (9, False)]
    assert device.read_port(0x600, 4) == 0x0100 << 16
