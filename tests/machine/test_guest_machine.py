from collections.abc import Callable

import pytest
from tests.guests.assembly import leave
from tests.machine.small_guests import LOOP, SECOND, flat, machine_with

from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus


def test_nothing_loaded() -> None:
    with pytest.raises(InputError, match="load"):
        Machine(MachineConfiguration(memory=2 << 20)).run()


def test_the_time() -> None:
    machine = flat(LOOP)
    assert machine.time_ns == 0
    machine.run(5_000)
    assert machine.time_ns >= 5_000


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda: MachineConfiguration(memory=4095), "memory"),
        (lambda: MachineConfiguration(time="slow"), "time"),
        (lambda: Machine(MachineConfiguration(cpus=0)), "virtual processors"),
        (lambda: Machine(MachineConfiguration(cpus=65)), "virtual processors"),
        (lambda: Machine(MachineConfiguration(like="vmware")), "vmware"),
        (lambda: flat(b""), "empty"),
    ],
)
def test_bad_input(prepare: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare()


def test_messages_to_the_console() -> None:
    text = "\n".join(f"mov al, {byte}\nmov dx, 0x3F8\nout dx, al" for byte in b"hello")
    machine = machine_with(f"{text}\n{leave(0)}")
    output = bytearray()
    machine.console.output.append(output.extend)
    machine.run(SECOND)
    assert bytes(output) == b"hello"


def test_a_function_can_serve_a_call_in_place_of_the_handler() -> None:
    machine = Machine(MachineConfiguration(memory=16 << 20))
    boot = machine.partition.bootstrap
    machine.partition.msrs.write(boot, 0x40000000, 0x8100 << 48)
    machine.partition.msrs.write(boot, 0x40000001, 0x1001)
    assert machine.call(0x10008, 5).status == HvStatus.SUCCESS
    counts = []

    @machine.handle(Call.NOTIFY_LONG_SPIN_WAIT)
    def refuse(vp: object, spin_count: int) -> HvStatus:
        assert vp is boot
        counts.append(spin_count)
        return HvStatus.ACCESS_DENIED

    assert machine.call(0x10008, 7).status == HvStatus.ACCESS_DENIED
    assert counts == [7]
    other = Machine(MachineConfiguration(memory=16 << 20))
    other.partition.msrs.write(other.partition.bootstrap, 0x40000000, 0x8100 << 48)
    other.partition.msrs.write(other.partition.bootstrap, 0x40000001, 0x1001)
    assert other.call(0x10008, 7).status == HvStatus.SUCCESS
