import pytest

from hypercall.machine.devices.debug_exit import DebugExit


@pytest.mark.parametrize(("size", "value"), [(1, 0x10), (2, 0x1234), (4, 0xFFFF_FFFF)])
def test_a_write_of_any_size_ends_the_machine(size: int, value: int) -> None:
    codes: list[int] = []
    device = DebugExit(codes.append)
    assert device.ports == (range(0xF4, 0xF8),)
    device.write_port(0xF4, size, value)
    assert codes == [value]
    assert device.read_port(0xF4, size) == 0


@pytest.mark.parametrize(("value", "status"), [(0, 1), (1, 3), (0x10, 33), (0x80, 1)])
def test_the_process_status_is_qemu_s(value: int, status: int) -> None:
    assert DebugExit.process_status(value) == status
