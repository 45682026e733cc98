"""Messages and events: what a guest posts and signals arrives in its own SynIC pages."""

import struct

import pytest
from tests.guests.assembly import (
    call,
    catch,
    put,
    put_fault,
    put_word,
    read_msr,
    start_others,
    write_apic,
    write_msr,
)
from tests.guests.hypercalls import Caller, Row
from tests.guests.kit import run_guest
from tests.guests.layout import EVENTS, INPUT, MESSAGES, NO_EOI, OUTPUT

from hypercall.machine.machine import Machine
from hypercall.partition.ports import SintTarget

SINT, VECTOR = 3, 0x73
SLOT = MESSAGES + 256 * SINT
CONNECTION = 0x10
CREATE_MESSAGES, CREATE_EVENTS, SET_SINT, CREATE_ROUTE = 4, 6, 3, 1
MESSAGE = (CONNECTION, 8 << 32 | 0x1234_5678, 0x1111_1111_1111_1111)


def device(command: int, connection: int = CONNECTION, vp_index: int = 0, sint: int = SINT) -> str:
    """A command of the SynIC test device."""
    value = connection << 24 | command << 16 | vp_index << 8 | sint
    return f"mov eax, {value}\nmov dx, 0x3000\nout dx, eax"


def enable_synic(sint: int = SINT, value: int = VECTOR) -> str:
    """Enable SynIC, pages and one SINT of the running processor."""
    return "\n".join(
        (
            write_apic(0xF0, 0x1FF),
            write_msr(0x40000080, 1),
            write_msr(0x40000083, MESSAGES | 1),
            write_msr(0x40000082, EVENTS | 1),
            write_msr(0x40000090 + sint, value),
        )
    )


def raise_sint(sint: int) -> str:
    """Raise a SINT through the device; the next block begins at once."""
    return f"{device(SET_SINT, 0, 0, sint)}\njmp raised_{sint}\nraised_{sint}:"


POST = call(0x5C, INPUT)
EMPTY_SLOT = f"mov dword ptr [{SLOT}], 0"
END_OF_MESSAGE = write_msr(0x40000084, 0)
MEMORY = {INPUT: struct.pack("<3Q", *MESSAGE)}


@pytest.mark.parametrize("mode", ["64", "32"])
def test_a_message_arrives_in_its_slot(mode: str) -> None:
    caller = Caller(
        mode, before=f"{enable_synic()}\n{device(CREATE_MESSAGES)}", after="sti\nnop\nnop"
    )
    calls = caller.make(Row(0x5C, MESSAGE))
    assert calls.only.result == 0
    # The type, the payload's size, no flags, the port, and the payload.
    kind, size, flags, port = struct.unpack("<IBB2xQ", calls.run.memory(SLOT, 16))
    assert (kind, size, flags) == (0x1234_5678, 8, 0)
    assert port == calls.run.machine.partition.ports.connections[CONNECTION].port.port_id
    assert calls.run.memory_words(SLOT + 16, 1) == [MESSAGE[2]]
    assert calls.run.interrupts() == {VECTOR: 1}


def test_a_message_waits_for_its_slot() -> None:
    """Cases A078 and A079."""
    run = run_guest(
        f"""
        {enable_synic()}
        {device(CREATE_MESSAGES)}
        sti
        {POST}
        {put("rax")}
        inc qword ptr [{INPUT + 16}]
        {POST}
        {put("rax")}
        {put_word(SLOT + 16)}
        {put_word(SLOT)}
        {EMPTY_SLOT}
        {END_OF_MESSAGE}
        {put_word(SLOT + 16)}
        {put_word(SLOT)}
        """,
        memory=MEMORY,
    )
    pending = 1 << 40
    header = 8 << 32 | 0x1234_5678
    assert run.words(6) == [0, 0, MESSAGE[2], header | pending, MESSAGE[2] + 1, header]
    assert run.interrupts() == {VECTOR: 2}


def test_sixteen_messages_wait_and_no_more() -> None:
    """Case B120: one lies in the slot, 16 buffers hold those that wait."""
    run = run_guest(
        f"""
        {enable_synic()}
        {device(CREATE_MESSAGES)}
        mov ebx, 18
    again:
        {POST}
        {put("rax")}
        sub ebx, 1
        jnz again
        """,
        memory=MEMORY,
    )
    assert run.words(18) == [0] * 17 + [0x13]


def test_without_message_page_the_state_is_wrong() -> None:
    """Case B121."""
    run = run_guest(
        f"{enable_synic()}\n{write_msr(0x40000083, 0)}\n{device(CREATE_MESSAGES)}\n"
        f"{POST}\n{put('rax')}",
        memory=MEMORY,
    )
    assert run.words(1) == [0x18]


@pytest.mark.parametrize("mode", ["64", "32"])
def test_a_connection_above_the_callers_level(mode: str) -> None:
    """Case B122."""

    def prepare(machine: Machine) -> None:
        partition = machine.partition
        port = partition.ports.create_message_port(SintTarget(0, SINT))
        partition.ports.connect(CONNECTION, port, minimum_vtl=2)

    calls = Caller(mode, before=enable_synic(), prepare=prepare).make(Row(0x5C, MESSAGE))
    assert calls.only.result == 8
    assert calls.run.memory_words(SLOT, 1) == [0]


def test_an_unknown_connection() -> None:
    unknown = Caller(before=enable_synic()).make(Row(0x5C, (0x99, *MESSAGE[1:]))).only
    assert unknown.status == 0x12


@pytest.mark.parametrize("mode", ["64", "32"])
@pytest.mark.parametrize("form", ["memory", "registers"])
def test_an_event_sets_its_flag(form: str, mode: str) -> None:
    connection = 0x21
    row = (
        Row(0x5D, (connection,))
        if form == "memory"
        else Row(0x1005D, input=connection, output=OUTPUT)
    )
    caller = Caller(
        mode,
        before=f"{enable_synic()}\n{device(CREATE_EVENTS, connection)}",
        after="sti\nnop\nnop",
    )
    calls = caller.make(row, row)
    assert [answer.result for answer in calls.answers] == [0, 0]
    flags = calls.run.memory(EVENTS + 256 * SINT, 256)
    assert flags == bytes(connection // 8) + bytes([1 << connection % 8]) + bytes(
        255 - connection // 8
    )
    # The flag was set already when the second one came.
    assert calls.run.interrupts() == {VECTOR: 1}


def test_messages_of_another_processor() -> None:
    run = run_guest(
        f"""
        mov qword ptr [0x113050], application
        {start_others(1)}
        {device(CREATE_MESSAGES, vp_index=1)}
        {POST}
        {put("rax")}
    wait_for_message:
        pause
        cmp dword ptr [{SLOT}], 0
        je wait_for_message
        ret
    application:
        {enable_synic()}
        mov dword ptr [0x113100], 1
        ret
        """.replace(
            device(CREATE_MESSAGES, vp_index=1),
            "synic_on:\npause\ncmp dword ptr [0x113100], 1\njne synic_on\n"
            + device(CREATE_MESSAGES, vp_index=1),
        ),
        cpus=2,
        memory=MEMORY,
    )
    assert run.words(1) == [0]
    # SIM pages are overlays of the processor that has them: the boot processor sees it too.
    assert run.memory_words(SLOT + 16, 1) == [MESSAGE[2]]


def test_sixteen_sources_with_and_without_automatic_end() -> None:
    """Case A081: an automatic end of interrupt leaves nothing in service."""
    auto = 1 << 17
    text = [enable_synic(), f"mov byte ptr [{NO_EOI}], 1"]
    for sint in range(16):
        value = 0xB0 + sint | (auto if sint % 2 else 0)
        text += [write_msr(0x40000090 + sint, value), device(CREATE_ROUTE, 0, 0, sint)]
    text += ["sti"]
    # The odd ones end by themselves; an even one blocks those of its class until it is ended.
    text += [raise_sint(sint) for sint in range(1, 16, 2)]
    run = run_guest("\n".join(text))
    assert run.interrupts() == {0xB0 + sint: 1 for sint in range(1, 16, 2)}
    text += [raise_sint(sint) for sint in range(0, 16, 2)]
    run = run_guest("\n".join(text))
    assert run.interrupts() == {0xB0: 1} | {0xB0 + sint: 1 for sint in range(1, 16, 2)}
    ended = [*text, f"mov byte ptr [{NO_EOI}], 0", write_apic(0xB0, 0), "jmp ended", "ended:"]
    run = run_guest("\n".join(ended))
    assert run.interrupts() == {0xB0 + sint: 1 for sint in range(16)}


def test_what_the_synic_registers_read() -> None:
    """Cases A080 and B026."""
    run = run_guest(
        f"{read_msr(0x40000084)}\n{put('rax')}\n{read_msr(0x40000081)}\n{put('rax')}\n"
        f"{read_msr(0x40000093)}\n{put('rax')}"
    )
    assert run.words(3) == [0, 1, 1 << 16]


def test_a_vector_below_16_is_no_vector_of_a_sint() -> None:
    """Case B024."""
    run = run_guest(f"{catch('written', write_msr(0x40000090, 0x0F))}\n{put_fault()}")
    assert run.words(2) == [13, 0]
