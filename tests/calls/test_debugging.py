"""The debug calls as a guest makes them, by the conformance cases."""

import struct
from collections.abc import Callable

import pytest
from tests.calls.conftest import INPUT, OUTPUT, Guest

from hypercall.abi.outcome import SUSPEND
from hypercall.calls.debugging import MAX_TIMEOUT
from hypercall.partition.configuration import DEFAULT_FEATURES, DEFAULT_PRIVILEGES
from hypercall.partition.debug_channel import CAPACITY, ConnectionAddresses
from hypercall.tlfs.privileges import Feature, Privilege
from hypercall.tlfs.readings import ReadingSet
from hypercall.tlfs.status import HvStatus

POST, RETRIEVE, RESET = 0x69, 0x6A, 0x6B
NO_DEBUGGING = {"features": DEFAULT_FEATURES & ~Feature.GUEST_DEBUGGING}


def post(guest: Guest, data: bytes, options: int = 0) -> int:
    words = struct.unpack(f"<{(len(data) + 7) // 8}Q", data.ljust((len(data) + 7) // 8 * 8, b"\0"))
    return guest.call(POST, len(data) | options << 32, *words)


def retrieve(guest: Guest, count: int, options: int = 0, timeout: int = 0) -> int:
    return guest.call(RETRIEVE, count | options << 32, timeout)


def retrieved(guest: Guest) -> tuple[int, int, bytes]:
    count, remaining = struct.unpack("<II", guest.output(8))
    return count, remaining, guest.output(8 + count)[8:]


def test_post_gives_the_debugger_the_bytes(guest: Guest) -> None:
    assert post(guest, b"twelve bytes") == HvStatus.SUCCESS
    assert guest.output(8) == struct.pack("<II", 12, 0)
    assert post(guest, b"more", options=3) == HvStatus.SUCCESS
    assert guest.output(4) == struct.pack("<I", 16)
    assert guest.partition.debug_channel.receive() == b"twelve bytesmore"


def test_b127_a_count_of_0_asks_what_is_pending(guest: Guest) -> None:
    guest.partition.debug_channel.post(bytes(77))
    assert guest.call(POST, 0) == HvStatus.SUCCESS
    assert guest.output(4) == struct.pack("<I", 77)


def test_post_takes_all_or_nothing(guest: Guest) -> None:
    guest.partition.debug_channel.post(bytes(CAPACITY - 10))
    assert post(guest, bytes(11)) == HvStatus.INSUFFICIENT_BUFFERS
    assert guest.partition.debug_channel.outgoing_count == CAPACITY - 10
    assert post(guest, bytes(10)) == HvStatus.SUCCESS


def test_post_like_qemu_takes_a_part(make_guest: Callable[..., Guest]) -> None:
    guest = make_guest(1, "kvm")
    guest.partition.debug_channel.post(bytes(CAPACITY - 10))
    assert post(guest, bytes(14)) == HvStatus.INSUFFICIENT_BUFFERS
    assert guest.output(4) == struct.pack("<I", 4)
    assert guest.partition.debug_channel.outgoing_count == CAPACITY
    guest.partition.debug_channel.receive()
    assert post(guest, bytes(14)) == HvStatus.SUCCESS
    assert guest.output(4) == bytes(4)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(POST, (4089,), id="B126"),
        pytest.param(POST, (1 | 4 << 32, 0), id="post-option"),
        pytest.param(RETRIEVE, (4089, 0), id="retrieve-count"),
        pytest.param(RETRIEVE, (8 << 32, 0), id="retrieve-option"),
        pytest.param(RESET, (0x11,), id="reset-option"),
        pytest.param(RESET, (0,), id="B137-in-memory"),
        pytest.param(RESET, (4,), id="neither-purge"),
    ],
)
def test_invalid_parameters(guest: Guest, code: int, words: tuple[int, ...]) -> None:
    guest.partition.debug_channel.send(b"x")
    assert guest.call(code, *words) == HvStatus.INVALID_PARAMETER
    assert guest.partition.debug_channel.incoming_count == 1


def test_post_data_across_a_page(guest: Guest) -> None:
    start = INPUT + 4096 - 16
    guest.partition.memory.write(start, struct.pack("<II", 9, 0))
    assert guest.attempt(POST, start, OUTPUT).value == HvStatus.INVALID_PARAMETER
    guest.partition.memory.write(start, struct.pack("<II", 8, 0))
    assert guest.attempt(POST, start, OUTPUT).value == HvStatus.SUCCESS


def test_retrieve_takes_a_part_and_counts_the_rest(guest: Guest) -> None:
    guest.partition.debug_channel.send(b"0123456789")
    assert retrieve(guest, 4) == HvStatus.SUCCESS
    assert retrieved(guest) == (4, 6, b"0123")
    assert retrieve(guest, 0) == HvStatus.SUCCESS
    assert retrieved(guest) == (0, 6, b"")
    assert retrieve(guest, 4088) == HvStatus.SUCCESS
    assert retrieved(guest) == (6, 0, b"456789")
    assert retrieve(guest, 4) == HvStatus.NO_DATA


def test_retrieve_like_qemu_counts_what_was_not_filled(make_guest: Callable[..., Guest]) -> None:
    guest = make_guest(1, "kvm")
    guest.partition.debug_channel.send(b"0123456789")
    assert retrieve(guest, 16, options=2) == HvStatus.SUCCESS
    assert retrieved(guest) == (10, 6, b"0123456789")
    assert retrieve(guest, 16, options=1, timeout=1000) == HvStatus.NO_DATA
    assert retrieved(guest) == (0, 16, b"")
    assert not guest.effects.named("suspend")


def test_b133_the_test_of_activity_comes_first(guest: Guest) -> None:
    channel = guest.partition.debug_channel
    assert retrieve(guest, 0x100, options=2) == HvStatus.INACTIVE
    channel.send(b"ab")
    assert retrieve(guest, 1, options=2) == HvStatus.SUCCESS
    assert retrieve(guest, 1, options=2) == HvStatus.INACTIVE
    assert channel.incoming_count == 1


def test_b135_a_loop_waits_in_virtual_time(guest: Guest) -> None:
    guest.partition.memory.write(INPUT, struct.pack("<IIQ", 0x100, 1, 1_000_000))
    assert guest.attempt(RETRIEVE, INPUT, OUTPUT) is SUSPEND
    assert guest.effects.named("suspend") == [(guest.vp(),)]
    guest.box.advance(99_999_999)
    assert guest.attempt(RETRIEVE, INPUT, OUTPUT) is SUSPEND
    guest.box.advance(1)
    assert guest.effects.named("resume") == [(guest.vp(),)]
    assert guest.attempt(RETRIEVE, INPUT, OUTPUT).value == HvStatus.NO_DATA
    assert guest.attempt(RETRIEVE, INPUT, OUTPUT) is SUSPEND


def test_a_loop_ends_with_the_first_data(guest: Guest) -> None:
    guest.partition.memory.write(INPUT, struct.pack("<IIQ", 0x100, 1, 1_000_000))
    assert guest.attempt(RETRIEVE, INPUT, OUTPUT) is SUSPEND
    guest.partition.debug_channel.send(b"go")
    assert guest.effects.named("resume") == [(guest.vp(),)]
    assert guest.attempt(RETRIEVE, INPUT, OUTPUT).value == HvStatus.SUCCESS
    assert retrieved(guest) == (2, 0, b"go")
    assert guest.partition.timers.next_deadline() is None


def test_the_test_of_activity_is_made_once_in_a_wait(guest: Guest) -> None:
    channel = guest.partition.debug_channel
    channel.send(b"x")
    channel.retrieve(1)
    guest.partition.memory.write(INPUT, struct.pack("<IIQ", 0x100, 3, 1_000_000))
    assert guest.attempt(RETRIEVE, INPUT, OUTPUT) is SUSPEND
    assert guest.attempt(RETRIEVE, INPUT, OUTPUT) is SUSPEND


def test_the_longest_wait_is_bounded(guest: Guest) -> None:
    guest.partition.memory.write(INPUT, struct.pack("<IIQ", 0x100, 1, 1 << 63))
    assert guest.attempt(RETRIEVE, INPUT, OUTPUT) is SUSPEND
    assert guest.partition.timers.next_deadline() == MAX_TIMEOUT * 100


@pytest.mark.parametrize(
    ("options", "status", "left"),
    [
        pytest.param(1, 0, (0, 3), id="B139"),
        pytest.param(2, 0, (2, 0), id="outgoing"),
        pytest.param(3, 0, (0, 0), id="both"),
    ],
)
def test_reset(guest: Guest, options: int, status: int, left: tuple[int, int]) -> None:
    channel = guest.partition.debug_channel
    channel.send(b"in")
    channel.post(b"out")
    assert guest.fast(RESET, options) == status
    assert (channel.incoming_count, channel.outgoing_count) == left


def test_b138_reset_with_nothing_to_drop(guest: Guest) -> None:
    assert guest.fast(RESET, 3) == HvStatus.NO_DATA


def test_b137_reset_without_purge(guest: Guest) -> None:
    assert guest.fast(RESET, 0) == HvStatus.INVALID_PARAMETER


def test_b140_reset_like_qemu_gives_the_connection(make_guest: Callable[..., Guest]) -> None:
    guest = make_guest(1, "kvm")
    guest.partition.debug_channel.addresses = ConnectionAddresses(
        0x7F000001, 0x0A000002, 50000, 50001
    )
    assert guest.call(RESET, 0) == HvStatus.SUCCESS
    expected = struct.pack("<IIHH12x", 0x7F000001, 0x0A000002, 50000, 50001)
    assert guest.output(24) == expected


@pytest.mark.parametrize("code", [POST, RETRIEVE, RESET])
def test_refusals(make_guest: Callable[..., Guest], code: int) -> None:
    unsupported = make_guest(1, **NO_DEBUGGING)
    assert unsupported.call(code, 0, 0) == HvStatus.FEATURE_UNAVAILABLE  # B131
    assert make_guest(1, debug_channel_id=0).call(code, 0, 0) == HvStatus.OPERATION_DENIED  # B136
    denied = make_guest(1, privileges=DEFAULT_PRIVILEGES & ~Privilege.DEBUGGING)
    assert denied.call(code, 0, 0) == HvStatus.ACCESS_DENIED


@pytest.mark.parametrize("code", [POST, RETRIEVE, RESET])
def test_kvm_wants_the_option_to_use_calls(make_guest: Callable[..., Guest], code: int) -> None:
    guest = make_guest(1, "kvm")
    assert guest.call(code, 0, 0) != HvStatus.OPERATION_DENIED
    guest.partition.msrs.write(guest.vp(), 0x400000FF, 0)
    assert guest.call(code, 0, 0) == HvStatus.OPERATION_DENIED
    assert make_guest(1, "kvm", **NO_DEBUGGING).call(code, 0, 0) == 2


def test_b130_no_register_form(make_guest: Callable[..., Guest]) -> None:
    assert make_guest(1, "kvm").fast(POST) == HvStatus.INVALID_PARAMETER
    assert make_guest(1).fast(POST) == HvStatus.INVALID_HYPERCALL_INPUT


FOUR = ("hyperv", "kvm", "xen", "openvmm")


def answers(
    make_guest: Callable[..., Guest], act: Callable[[Guest], int], **changes: object
) -> list[int]:
    """What the four readings answer, side by side."""
    return [act(make_guest(1, reading, **changes)) for reading in FOUR]


def post_beyond_room(guest: Guest) -> int:
    guest.partition.debug_channel.post(bytes(CAPACITY - 1))
    post(guest, bytes(2))
    return guest.partition.debug_channel.outgoing_count


def remaining_of_16(guest: Guest) -> int:
    guest.partition.debug_channel.send(bytes(20))
    retrieve(guest, 16)
    return retrieved(guest)[1]


def without_option(guest: Guest) -> int:
    guest.partition.msrs.write(guest.vp(), 0x400000FF, 0)
    return guest.call(POST, 0)


def reset_with_data(guest: Guest) -> int:
    guest.partition.debug_channel.post(b"x")
    guest.call(RESET, 3)
    return guest.partition.debug_channel.outgoing_count


@pytest.mark.parametrize(
    ("reading", "act", "expected", "changes"),
    [
        ("debugging_unsupported", lambda guest: guest.call(POST, 0), [30, 2, 2, 2], NO_DEBUGGING),
        ("debug_calls_need_option", without_option, [0, 8, 0, 0], {}),
        ("debug_post_partial", post_beyond_room, [CAPACITY - 1, CAPACITY] + [CAPACITY - 1] * 2, {}),
        ("debug_remaining_count", remaining_of_16, [4, 0, 4, 4], {}),
        (
            "debug_retrieve_options",
            lambda guest: retrieve(guest, 0, options=2),
            [0x1C, 0x1B, 0x1C, 0x1C],
            {},
        ),
        ("debug_reset_gives_connection", reset_with_data, [0, 1, 0, 0], {}),
    ],
)
def test_the_readings_side_by_side(
    make_guest: Callable[..., Guest],
    reading: str,
    act: Callable[[Guest], int],
    expected: list[int],
    changes: dict[str, object],
) -> None:
    assert reading in ReadingSet.named("hyperv").decisions()
    assert answers(make_guest, act, **changes) == expected
