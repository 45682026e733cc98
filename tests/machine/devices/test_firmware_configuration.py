import pytest

from hypercall.machine.devices.firmware_configuration import FirmwareConfiguration


@pytest.fixture
def device() -> FirmwareConfiguration:
    return FirmwareConfiguration(processor_count=300, memory_size=0x1_2345_6000)


def item(device: FirmwareConfiguration, selector: int, length: int) -> bytes:
    device.write_port(0x510, 2, selector)
    return bytes(device.read_port(0x511, 1) for _ in range(length))


def test_items_are_read_byte_by_byte(device: FirmwareConfiguration) -> None:
    assert item(device, 0, 6) == b"QEMU\0\0"
    assert item(device, 1, 4) == b"\1\0\0\0"
    assert item(device, 3, 8) == (0x1_2345_6000).to_bytes(8, "little")
    assert item(device, 5, 2) == item(device, 0x0F, 2) == (300).to_bytes(2, "little")


def test_an_unknown_item_reads_zero(device: FirmwareConfiguration) -> None:
    assert item(device, 0x1234, 4) == bytes(4)


def test_selecting_again_starts_over_and_data_is_read_only(device: FirmwareConfiguration) -> None:
    assert item(device, 0, 2) == b"QE"
    device.write_port(0x511, 1, 0xFF)
    assert item(device, 0, 4) == b"QEMU"
    assert device.read_port(0x510, 2) == 0
