"""Ports of Python code, with guests that post and signal to them and hear from them."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from tests.guests.assembly import call, put, put_word, write_apic, write_msr
from tests.guests.kit import Guest, GuestRun, run_machine
from tests.guests.layout import EVENTS, INPUT, MESSAGES
from tests.guests.vtl import run_to_end, vtl_call, vtl_guest, vtl_return

from hypercall.errors import InputError
from hypercall.machine.host_port import HostPort
from hypercall.machine.machine import Machine
from hypercall.machine.result import StopReason
from hypercall.partition.ports import PostedMessage, SignaledEvent
from hypercall.tlfs.status import HvStatus

CONNECTION, TYPE = 0x123456, 0x77
SINT, VECTOR = 5, 0x75
SLOT = MESSAGES + 256 * SINT
FLAGS = EVENTS + 256 * SINT
POST = f"{call(0x5C, INPUT)}\n{put('rax')}"
EMPTY_SLOT = f"mov dword ptr [{SLOT}], 0\n{write_msr(0x40000084, 0)}"
NEXT_MESSAGE = f"inc qword ptr [{INPUT + 16}]"
SYNIC = "\n".join(
    (
        write_apic(0xF0, 0x1FF),
        write_msr(0x40000080, 1),
        write_msr(0x40000083, MESSAGES | 1),
        write_msr(0x40000082, EVENTS | 1),
        write_msr(0x40000090 + SINT, VECTOR),
    )
)
WAIT = f"waiting:\npause\ncmp dword ptr [{SLOT}], 0\nje waiting"


def message(kind: int = TYPE, *words: int, connection: int = CONNECTION) -> dict[int, bytes]:
    """The input of HvCallPostMessage, for `POST`."""
    header = struct.pack("<IIII", connection, 0, kind, 8 * len(words))
    return {INPUT: header + struct.pack(f"<{len(words)}Q", *words)}


def signal(flag: int, connection: int = CONNECTION) -> str:
    """Signal an event in the register form."""
    return f"{call(0x1005D, connection | flag << 32)}\n{put('rax')}"


def machine_of(text: str, *, cpus: int = 1) -> Machine:
    return Guest(text, cpus=cpus, memory=message(TYPE, 0x1111)).machine()


def test_messages_wait_until_they_are_taken() -> None:
    machine = machine_of(f"{POST}\n{NEXT_MESSAGE}\n{POST}")
    port = machine.port(CONNECTION)
    assert run_machine(machine).words(2) == [0, 0]
    assert port.waiting == 2
    first, second = port.messages()
    assert first == PostedMessage(CONNECTION, TYPE, (0x1111).to_bytes(8, "little"), 0, 0)
    assert second.payload == (0x1112).to_bytes(8, "little")
    assert (port.waiting, port.take_message()) == (0, None)


def test_a_full_port_refuses_and_recovers() -> None:
    """The guest posts until it is refused; Python takes one; the guest posts it again."""
    machine = machine_of(
        f"""
    again:
        {POST}
        test ax, ax
        jnz full
        {NEXT_MESSAGE}
        jmp again
    full:
        mov dword ptr [{SLOT}], 0x600D
        pause
    wait_for_room:
        pause
        cmp dword ptr [{SLOT}], 0x600D
        je wait_for_room
        {POST}
        {NEXT_MESSAGE}
        {POST}
        """
    )
    port = machine.port(CONNECTION, buffers=3)
    memory = machine.partition.memory
    result = machine.run(200_000_000, until=lambda: memory.read_u32(SLOT) == 0x600D)
    assert result.reason is StopReason.UNTIL
    assert port.waiting == 3
    oldest = port.take_message()
    assert oldest is not None
    memory.write_u32(SLOT, 0)
    run = run_machine(machine)
    refused = HvStatus.INSUFFICIENT_BUFFERS
    assert run.words(6) == [0, 0, 0, refused, 0, refused]
    taken = [int.from_bytes(each.payload, "little") for each in (oldest, *port.messages())]
    assert taken == [0x1111, 0x1112, 0x1113, 0x1114]


def test_a_function_gets_messages_and_answers_within_the_call() -> None:
    machine = machine_of(f"{SYNIC}\n{POST}\n{put_word(SLOT)}\n{put_word(SLOT + 16)}\nsti\nnop\nnop")
    port = machine.port(CONNECTION, sint=SINT)

    @port.on_message
    def answer(message: PostedMessage) -> None:
        assert port.post(message.message_type + 1, message.payload[::-1]) is HvStatus.SUCCESS

    run = run_machine(machine)
    swapped = int.from_bytes((0x1111).to_bytes(8, "big"), "little")
    assert run.words(3) == [0, 8 << 32 | TYPE + 1, swapped]
    assert run.interrupts() == {VECTOR: 1}
    assert port.waiting == 0


def test_a_function_may_refuse() -> None:
    machine = machine_of(f"{POST}\n{POST}")
    answers = iter((False, True))
    machine.port(CONNECTION).on_message(lambda message: next(answers))
    assert run_machine(machine).words(2) == [HvStatus.INSUFFICIENT_BUFFERS, 0]


def test_a_function_gets_what_waited_already() -> None:
    machine = machine_of(f"{POST}\n{NEXT_MESSAGE}\n{POST}")
    port = machine.port(CONNECTION)
    run_machine(machine)
    got: list[int] = []

    @port.on_message
    def take(message: PostedMessage) -> bool:
        if got:
            return False
        got.append(message.payload[0])
        return True

    assert (got, port.waiting) == ([0x11], 1)


def test_python_posts_until_the_buffers_are_full_and_the_guest_empties_them() -> None:
    """One message lies in the slot and 16 wait; each EOM brings the next, in order."""
    machine = machine_of(
        f"""
        {SYNIC}
        {WAIT}
        mov ebx, 18
    next_message:
        {put_word(SLOT + 16)}
        {EMPTY_SLOT}
        sub ebx, 1
        jnz next_message
        """
    )
    port = machine.port(CONNECTION, sint=SINT)
    synic = machine.partition.bootstrap.current.synic
    assert port.post(TYPE) is HvStatus.INVALID_SYNIC_STATE
    assert machine.run(200_000_000, until=lambda: synic.accepts_messages).reason is StopReason.UNTIL
    statuses = [port.post(TYPE, number.to_bytes(8, "little")) for number in range(18)]
    assert statuses == [HvStatus.SUCCESS] * 17 + [HvStatus.INSUFFICIENT_BUFFERS]
    assert port.free_buffers == 0
    run = run_machine(machine)
    assert run.words(18) == [*range(17), 16]
    assert port.free_buffers == 16
    assert port.post(TYPE) is HvStatus.SUCCESS


@pytest.mark.parametrize("vp_index", [0, 1])
def test_events_in_both_directions(vp_index: int) -> None:
    text = f"{SYNIC}\n{signal(3)}\n{signal(3)}\n{signal(7)}\n{signal(8)}\nsti\nnop\nnop\ncli"
    machine = machine_of(text, cpus=2)
    port = machine.port(CONNECTION, "events", sint=SINT, vp_index=vp_index, flag_count=8)
    run = run_machine(machine)
    assert run.words(4) == [0, 0, 0, HvStatus.INVALID_PARAMETER]
    assert port.waiting == 2
    assert port.take_event() == SignaledEvent(CONNECTION, 3, 0, 0)
    assert port.take_event() == SignaledEvent(CONNECTION, 7, 0, 0)
    assert port.take_event() is None
    # The other processor has not enabled its SynIC.
    expected = HvStatus.INVALID_SYNIC_STATE if vp_index else HvStatus.SUCCESS
    assert port.signal(7) is expected
    assert port.signal(8) is HvStatus.INVALID_PARAMETER
    assert run.memory(FLAGS, 2) == (bytes(2) if vp_index else b"\x80\0")


def test_a_function_gets_each_event() -> None:
    machine = machine_of(
        f"{SYNIC}\n{signal(3)}\n{signal(3)}\nsti\nnop\nnop\ncli\n{put_word(FLAGS)}"
    )
    port = machine.port(CONNECTION, "events", sint=SINT)
    flags: list[int] = []

    @port.on_event
    def answer(event: SignaledEvent) -> None:
        flags.append(event.flag)
        port.signal(len(flags))

    run = run_machine(machine)
    assert flags == [3, 3]
    assert run.words(3) == [0, 0, 0b110]
    assert run.interrupts() == {VECTOR: 1}


# --- virtual trust levels ------------------------------------------------------------------------


def run_with_ports(prepare: Callable[[Machine], None], normal: str, secure: str) -> GuestRun:
    machine = vtl_guest(normal, secure, memory=message(TYPE, 0x1111)).machine()
    prepare(machine)
    return run_to_end(machine)


def test_b122_a_connection_above_the_callers_vtl() -> None:
    """The same call is refused in VTL 0 and taken in VTL 1."""
    ports: list[HostPort] = []

    def prepare(machine: Machine) -> None:
        ports.append(machine.port(CONNECTION, minimum_vtl=1))
        ports.append(machine.port(CONNECTION + 1, "events", minimum_vtl=1))

    event = signal(0, CONNECTION + 1)
    run = run_with_ports(
        prepare,
        f"{POST}\n{event}\n{vtl_call()}\n{POST}",
        f"{POST}\n{event}\n{vtl_return()}",
    )
    denied = HvStatus.OPERATION_DENIED
    assert run.words(5) == [denied, denied, 0, 0, denied]
    messages, events = ports
    assert [each.vtl for each in messages.messages()] == [1]
    event_taken = events.take_event()
    assert event_taken is not None
    assert event_taken.vtl == 1


def test_b122_a_minimum_that_no_caller_has() -> None:
    def prepare(machine: Machine) -> None:
        machine.port(CONNECTION, minimum_vtl=2)

    run = run_with_ports(prepare, f"{POST}\n{vtl_call()}", f"{POST}\n{vtl_return()}")
    assert run.words(2) == [HvStatus.OPERATION_DENIED, HvStatus.OPERATION_DENIED]


def test_each_vtl_has_a_synic_of_its_own() -> None:
    """Messages of Python for VTL 1 arrive in its page, raise its SINT and so enter it."""
    slot_1 = MESSAGES + 0x8000 + 256 * 2
    ports: dict[int, HostPort] = {}

    def prepare(machine: Machine) -> None:
        ports[0] = machine.port(CONNECTION, sint=SINT)
        ports[1] = machine.port(CONNECTION + 1, sint=2, vtl=1)
        assert ports[1].post(TYPE) is HvStatus.INVALID_VP_INDEX

        @ports[0].on_message
        def to_both(message: PostedMessage) -> None:
            assert ports[0].post(1, b"\x01") is HvStatus.SUCCESS
            assert ports[1].post(2, b"\x02") is HvStatus.SUCCESS

    run = run_with_ports(
        prepare,
        f"{SYNIC}\n{vtl_call()}\n{POST}\n{put_word(SLOT)}\n{put_word(SLOT + 16)}",
        f"""
        {write_msr(0x40000092, 0x52)}
        {vtl_return()}
        mov r11, {slot_1}
        mov rax, [r11]
        {put("rax")}
        mov rax, [r11 + 16]
        {put("rax")}
        sti
        nop
        nop
        cli
        {vtl_return()}
        """,
    )
    # VTL 1 was entered before VTL 0 could look at the result of its call.
    assert run.words(5) == [1 << 32 | 2, 2, 0, 1 << 32 | 1, 1]


# --- what is refused -----------------------------------------------------------------------------


def idle() -> Machine:
    return Guest("nop").machine()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"connection_id": 1 << 24}, "24 bits"),
        ({"connection_id": 4}, "taken"),
        ({"kind": "pigeons"}, "'messages' or 'events'"),
        ({"sint": 16}, "SINT 16"),
        ({"sint": 1, "vp_index": 9}, "virtual processor 9"),
        ({"vtl": 3}, "no VTL 3"),
        ({"minimum_vtl": -1}, "no VTL -1"),
        ({"buffers": 0}, "0 buffers"),
        ({"kind": "events", "flag_count": 2049}, "2049 event flags"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], complaint: str) -> None:
    machine = idle()
    before = dict(machine.partition.ports.ports)
    with pytest.raises(InputError, match=complaint):
        machine.port(**{"connection_id": CONNECTION, **arguments})
    assert machine.partition.ports.ports == before


@pytest.mark.parametrize(
    ("use", "complaint"),
    [
        (lambda port: port.post(1), "no way back"),
        (lambda port: port.signal(1), "no way back"),
        (lambda port: port.free_buffers, "no way back"),
        (lambda port: port.take_event(), "takes messages, not events"),
        (lambda port: port.on_event(print), "takes messages, not events"),
        (lambda port: port.post(0), "no type"),
        (lambda port: port.post(1 << 31), "no type"),
    ],
)
def test_bad_uses(use: Callable[[HostPort], object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        use(idle().port(CONNECTION))


def test_too_long_a_payload() -> None:
    with pytest.raises(InputError, match="240"):
        idle().port(CONNECTION, sint=1).post(1, bytes(241))


def test_the_wrong_call_and_a_closed_port() -> None:
    machine = machine_of(f"{POST}\n{POST}")
    port = machine.port(CONNECTION, "events")
    machine.run(200_000_000)
    assert machine.partition.memory.read_u64(0x1E0000) == HvStatus.INVALID_PORT_ID
    port.close()
    port.close()
    machine = machine_of(POST)
    machine.port(CONNECTION, sint=1).close()
    assert run_machine(machine).words(1) == [HvStatus.INVALID_CONNECTION_ID]
    # The id can be had again.
    assert machine.port(CONNECTION).waiting == 0
