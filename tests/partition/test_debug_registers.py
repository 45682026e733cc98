import pytest

from hypercall.partition.configuration import (
    DEFAULT_FEATURES,
    PartitionConfiguration,
)
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.standalone import StandalonePartition, standalone_partition
from hypercall.tlfs.msrs import SyntheticMsr
from hypercall.tlfs.privileges import Feature

PAGE = 0x5000


def make(**changes: object) -> StandalonePartition:
    return standalone_partition(PartitionConfiguration(memory_size=1 << 20).replace(**changes))


def read(box: StandalonePartition, msr: SyntheticMsr) -> int:
    return box.partition.msrs.read(box.partition.bootstrap, msr)


def write(box: StandalonePartition, msr: SyntheticMsr, value: int) -> None:
    box.partition.msrs.write(box.partition.bootstrap, msr, value)


def test_send() -> None:
    box = make()
    box.partition.memory.write(PAGE, b"hello, debugger")
    write(box, SyntheticMsr.SYNDBG_SEND_BUFFER, PAGE)
    write(box, SyntheticMsr.SYNDBG_CONTROL, 1 | 5 << 16)
    assert read(box, SyntheticMsr.SYNDBG_STATUS) == 1
    assert read(box, SyntheticMsr.SYNDBG_CONTROL) == 1 | 5 << 16
    assert box.partition.debug_channel.receive() == b"hello"


def test_receive() -> None:
    box = make()
    write(box, SyntheticMsr.SYNDBG_RECV_BUFFER, PAGE)
    write(box, SyntheticMsr.SYNDBG_CONTROL, 2)
    assert read(box, SyntheticMsr.SYNDBG_STATUS) == 0
    box.partition.debug_channel.send(b"abc")
    write(box, SyntheticMsr.SYNDBG_CONTROL, 2)
    assert read(box, SyntheticMsr.SYNDBG_STATUS) == 4 | 3 << 16
    assert box.partition.memory.read(PAGE, 4) == b"abc\0"


def test_the_pending_buffer_shows_whether_data_wait() -> None:
    box = make()
    box.partition.memory.write(PAGE, b"\xff\xff")
    write(box, SyntheticMsr.SYNDBG_PENDING_BUFFER, PAGE)
    assert box.partition.memory.read(PAGE, 2) == b"\0\xff"
    box.partition.debug_channel.send(b"abc")
    assert box.partition.memory.read(PAGE, 2) == b"\1\xff"
    box.partition.debug_channel.retrieve(3)
    assert box.partition.memory.read(PAGE, 2) == b"\0\xff"


def test_buffers_where_no_memory_is_fail_and_lose_nothing() -> None:
    box = make()
    box.partition.debug_channel.send(b"abc")
    for msr in (
        SyntheticMsr.SYNDBG_SEND_BUFFER,
        SyntheticMsr.SYNDBG_RECV_BUFFER,
        SyntheticMsr.SYNDBG_PENDING_BUFFER,
    ):
        write(box, msr, 1 << 30)
    for control in (1 | 5 << 16, 2):
        write(box, SyntheticMsr.SYNDBG_CONTROL, control)
        assert read(box, SyntheticMsr.SYNDBG_STATUS) == 0
    assert box.partition.debug_channel.incoming_count == 3


def test_options_tell_whether_there_is_a_channel_and_are_the_guests_afterwards() -> None:
    assert read(make(), SyntheticMsr.DEBUG_DEVICE_OPTIONS) == 4
    box = make(debug_channel_id=0)
    assert read(box, SyntheticMsr.DEBUG_DEVICE_OPTIONS) == 0
    write(box, SyntheticMsr.DEBUG_DEVICE_OPTIONS, 4)
    assert read(box, SyntheticMsr.DEBUG_DEVICE_OPTIONS) == 4
    write(box, SyntheticMsr.SYNDBG_CONTROL, 1 | 5 << 16)
    assert read(box, SyntheticMsr.SYNDBG_STATUS) == 0
    box.partition.reset()
    assert read(box, SyntheticMsr.DEBUG_DEVICE_OPTIONS) == 0


def test_without_the_feature_there_are_no_such_registers() -> None:
    box = make(features=DEFAULT_FEATURES & ~Feature.DEBUG_MSRS)
    for msr in (*range(0x400000F1, 0x400000F6), 0x400000FF):
        with pytest.raises(GeneralProtection):
            box.partition.msrs.read(box.partition.bootstrap, msr)
