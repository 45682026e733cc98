import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.partition.synics import take

from hypercall.partition.configuration import PartitionConfiguration
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.standalone import StandalonePartition, standalone_partition
from hypercall.partition.synthetic_timers import (
    AUTO_ENABLE,
    DIRECT,
    ENABLE,
    PERIODIC,
    SyntheticTimer,
)
from hypercall.tlfs.messages import Message, MessageType
from hypercall.tlfs.privileges import Feature

MakePartition = Callable[..., StandalonePartition]

SIMP = 0x10000
DIRECT_50 = DIRECT | 0x50 << 4
SINT3 = 3 << 16


@pytest.fixture
def box(make_partition: MakePartition) -> StandalonePartition:
    box = make_partition(1)
    state = box.partition.bootstrap.current
    state.apic.write_mmio(0xF0, 0x1FF)
    state.synic.write_control(1)
    state.synic.write_message_page(SIMP | 1)
    state.synic.write_sint(3, 0x63)
    return box


@pytest.fixture
def timer(box: StandalonePartition) -> SyntheticTimer:
    return box.partition.bootstrap.current.timers[1]


def slot(box: StandalonePartition) -> Message:
    return Message.parse(box.partition.memory.read(SIMP + 3 * 256, 256))


def test_a_direct_one_shot_expires_at_its_time_and_disables_itself(
    box: StandalonePartition, timer: SyntheticTimer
) -> None:
    timer.write_config(DIRECT_50 | AUTO_ENABLE)
    timer.write_count(1_000)
    assert timer.config & ENABLE
    box.advance(99_999)
    assert take(box) is None
    box.advance(1)
    assert take(box) == 0x50
    assert not timer.config & ENABLE
    assert not timer.running
    box.advance(10**9)
    assert take(box) is None


def test_a_one_shot_in_the_past_expires_at_once(
    box: StandalonePartition, timer: SyntheticTimer
) -> None:
    box.advance(1_000_000)
    timer.write_count(5)
    timer.write_config(DIRECT_50 | ENABLE)
    assert box.advance(0) == 1
    assert take(box) == 0x50


def test_without_auto_enable_a_count_does_not_start_the_timer(timer: SyntheticTimer) -> None:
    timer.write_config(DIRECT_50)
    timer.write_count(100)
    assert not timer.running
    timer.write_config(DIRECT_50 | ENABLE)
    assert timer.running


@pytest.mark.parametrize("config", [DIRECT_50 | ENABLE, DIRECT_50 | ENABLE | AUTO_ENABLE])
def test_count_zero_stops_and_disables(timer: SyntheticTimer, config: int) -> None:
    timer.write_count(100)
    timer.write_config(config)
    assert timer.running
    timer.write_count(0)
    assert not timer.running
    assert not timer.config & ENABLE


def test_an_enabled_timer_needs_a_sint_or_a_valid_vector(timer: SyntheticTimer) -> None:
    timer.write_count(100)
    timer.write_config(ENABLE)
    assert not timer.config & ENABLE, "SINT 0"
    timer.write_config(DIRECT | 0x0F << 4 | ENABLE)
    assert not timer.config & ENABLE, "vector 15"
    timer.write_config(SINT3 | ENABLE)
    assert timer.config & ENABLE


def test_reserved_bits_read_as_zero(timer: SyntheticTimer) -> None:
    timer.write_config((1 << 64) - 1 & ~ENABLE)
    assert timer.config == 0xF1FFE


def test_direct_mode_is_a_feature(make_partition: MakePartition) -> None:
    timer = make_partition(1, features=Feature(0)).partition.bootstrap.current.timers[0]
    with pytest.raises(GeneralProtection):
        timer.write_config(DIRECT_50)
    timer.write_config(SINT3)


def test_a_message_says_when_it_was_due_and_when_it_came(
    box: StandalonePartition, timer: SyntheticTimer
) -> None:
    timer.write_config(SINT3 | AUTO_ENABLE)
    timer.write_count(1_000)
    box.advance(100_000)
    message = slot(box)
    assert message.message_type == MessageType.TIMER_EXPIRED
    assert struct.unpack("<IIQQ", message.payload) == (1, 0, 1_000, 1_000)
    assert take(box) == 0x63


def test_a_message_that_waits_says_so_at_delivery(
    box: StandalonePartition, timer: SyntheticTimer
) -> None:
    state = box.partition.bootstrap.current
    timer.write_config(SINT3 | PERIODIC | ENABLE)
    timer.write_count(1_000)
    box.advance(350_000)
    assert state.synic.queue_length(3) == 1, "a timer has one message buffer"
    assert slot(box).flags == 1
    box.partition.memory.write_u32(SIMP + 3 * 256, 0)
    state.synic.scan_queues()
    assert struct.unpack("<IIQQ", slot(box).payload) == (1, 0, 2_000, 3_500)
    box.partition.memory.write_u32(SIMP + 3 * 256, 0)
    box.advance(50_000)
    assert struct.unpack("<IIQQ", slot(box).payload) == (1, 0, 4_000, 4_000)


def test_periodic_timers_keep_their_phase(box: StandalonePartition, timer: SyntheticTimer) -> None:
    box.advance(50)
    timer.write_count(500)
    timer.write_config(DIRECT_50 | PERIODIC | ENABLE)
    assert box.advance(500_000) == 10
    box.time.advance(120_000)
    assert box.partition.timers.run_due(box.time.nanoseconds) == 1
    assert box.partition.timers.next_deadline() == 650_000
    assert timer.config & ENABLE


def test_a_new_configuration_starts_the_period_anew(
    box: StandalonePartition, timer: SyntheticTimer
) -> None:
    timer.write_count(1_000)
    timer.write_config(DIRECT_50 | PERIODIC | ENABLE)
    box.advance(60_000)
    timer.write_config(DIRECT_50 | PERIODIC | ENABLE)
    assert box.partition.timers.next_deadline() == 160_000
    timer.reset()
    assert box.partition.timers.next_deadline() is None


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, (1 << 64) - 1), st.integers(0, 10**7)),
        max_size=12,
    )
)
def test_garbage_neither_raises_nor_floods(steps: list[tuple[bool, int, int]]) -> None:
    box = standalone_partition(PartitionConfiguration(memory_size=1 << 20))
    timer = box.partition.bootstrap.current.timers[0]
    for is_config, value, time in steps:
        (timer.write_config if is_config else timer.write_count)(value)
        assert box.advance(time) <= time // 10_000 + 2
        assert len(box.partition.timers) <= 1
