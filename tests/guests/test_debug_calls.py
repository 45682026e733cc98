"""The debug channel from guest code: calls from 64- and 32-bit callers, waits, and registers."""

import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.guests import assembly
from tests.guests.hypercalls import Caller, Row
from tests.guests.kit import Guest, GuestRun, assemble, run_machine
from tests.guests.layout import AP_MAIN, DATA, HOOKS, INPUT, OUTPUT, SHARED
from tests.guests.vtl import keep_registers, vtl_call, vtl_guest, vtl_return

from hypercall.machine.result import StopReason

POST, RETRIEVE, RESET = 0x69, 0x6A, 0x6B
NO_DATA, INACTIVE = 0x1B, 0x1C
MILLISECOND = 1_000_000


def post_row(data: bytes, address: int = INPUT, options: int = 0) -> Row:
    padded = data.ljust((len(data) + 7) // 8 * 8, b"\0")
    words = struct.unpack(f"<{len(padded) // 8}Q", padded)
    return Row(POST, (len(data) | options << 32, *words), address)


def words(count: int, options: int = 0, timeout: int = 0) -> bytes:
    return struct.pack("<IIQ", count, options, timeout)


@pytest.mark.parametrize("mode", ["64", "32"])
def test_what_a_guest_posts_the_debugger_receives(mode: str) -> None:
    calls = Caller(mode).make(
        post_row(b"hello "),
        post_row(b"debugger", INPUT + 0x100, options=1),
        Row(POST, (0,), INPUT + 0x200),
    )
    assert [answer.result for answer in calls.answers] == [0, 0, 0]
    assert calls.output(1) == [14]
    assert calls.run.machine.debug_channel.receive() == b"hello debugger"


def run_with_data(source: str, data: bytes, **settings: Any) -> GuestRun:
    machine = Guest(source, memory={INPUT: words(8)}, **settings).machine()
    machine.debug_channel.send(data)
    return run_machine(machine)


def test_a_guest_retrieves_what_the_debugger_sends() -> None:
    once = assembly.call(RETRIEVE, INPUT, OUTPUT) + "\n" + assembly.put("rax")
    run = run_with_data(
        f"{once}\nmov rax, [{OUTPUT}]\n{assembly.put('rax')}\nmov rax, [{OUTPUT + 8}]\n"
        f"{assembly.put('rax')}\n{once}\n{once}",
        b"0123456789",
    )
    assert run.words(5) == [
        0,
        8 | 2 << 32,
        int.from_bytes(b"01234567", "little"),
        0,
        NO_DATA,
    ]
    assert run.memory(OUTPUT + 8, 2) == b"89"


@pytest.mark.parametrize("mode", ["64", "32"])
def test_reset_in_registers_and_in_memory(mode: str) -> None:
    calls = Caller(mode).make(
        post_row(b"abc"),
        Row(RESET | 1 << 16, input=2),
        Row(RESET | 1 << 16, input=3),
        Row(RESET, (1,), INPUT + 0x100),
        Row(RESET | 1 << 16, input=0),
    )
    assert [answer.result for answer in calls.answers] == [0, 0, NO_DATA, NO_DATA, 5]
    assert calls.run.machine.debug_channel.receive() == b""


def timed(options: int, timeout: int) -> Guest:
    """A guest that measures a call in ticks of the time stamp counter, which are nanoseconds."""
    stamp = "rdtsc\nshl rdx, 32\nor rax, rdx"
    return Guest(
        f"""
        {stamp}
        mov rbx, rax
        {assembly.call(RETRIEVE, INPUT, OUTPUT)}
        {assembly.put("rax")}
        {stamp}
        sub rax, rbx
        {assembly.put("rax")}
        """,
        memory={INPUT: words(64, options, timeout)},
    )


def test_b135_a_loop_lets_the_processor_rest_until_its_time_is_over() -> None:
    run = run_machine(timed(1, 10_000).machine())
    status, passed = run.words(2)
    assert status == NO_DATA
    assert MILLISECOND <= passed < MILLISECOND + 50_000
    assert run.result.executed < 200_000


def test_no_loop_no_wait() -> None:
    status, passed = run_machine(timed(0, 10_000).machine()).words(2)
    assert status == NO_DATA
    assert passed < 50_000


def test_b133_test_of_activity() -> None:
    assert run_machine(timed(2, 0).machine()).words(1) == [INACTIVE]


def test_data_end_a_loop_early() -> None:
    machine = timed(1, 4_000_000).machine()

    def send() -> None:
        machine.debug_channel.send(b"wake up")

    machine.partition.timers.schedule(2 * MILLISECOND, send)
    run = run_machine(machine)
    status, passed = run.words(2)
    assert status == 0
    assert passed < 3 * MILLISECOND
    assert run.memory(OUTPUT, 15) == struct.pack("<II", 7, 0) + b"wake up"


def test_interrupts_are_taken_in_a_loop() -> None:
    guest = Guest(
        f"""
        {assembly.write_apic(0xF0, 0x1FF)}
        {assembly.write_apic(0x3E0, 0xB)}
        {assembly.write_apic(0x320, 0x200E1)}
        {assembly.write_apic(0x380, 40_000)}
        sti
        {assembly.call(RETRIEVE, INPUT, OUTPUT)}
        cli
        {assembly.put("rax")}
        """,
        memory={INPUT: words(64, 1, 10_000)},
    )
    run = run_machine(guest.machine())
    assert run.words(1) == [NO_DATA]
    assert run.interrupts()[0xE1] >= 4


def test_another_processor_runs_while_one_waits() -> None:
    guest = Guest(
        f"""
        {assembly.start_others(1)}
        {assembly.call(RETRIEVE, INPUT, OUTPUT)}
        {assembly.put("rax")}
        {assembly.put_word(SHARED)}
        """,
        cpus=2,
        memory={INPUT: words(64, 1, 10_000)},
    )
    machine = guest.machine()
    counter = assemble(f"again:\ninc qword ptr [{SHARED}]\njmp again", DATA)
    machine.partition.memory.write(DATA, counter)
    machine.partition.memory.write_u64(AP_MAIN, DATA)
    run = run_machine(machine)
    status, counted = run.words(2)
    assert status == NO_DATA
    assert counted > 10_000


def test_the_registers_send_and_receive() -> None:
    guest = Guest(
        f"""
        {assembly.write_msr(0x400000F3, DATA)}
        {assembly.write_msr(0x400000F4, DATA + 0x1000)}
        {assembly.write_msr(0x400000F5, DATA + 0x2000)}
        {assembly.put_byte(DATA + 0x2000)}
        {assembly.write_msr(0x400000F1, 1 | 6 << 16)}
        {assembly.read_msr(0x400000F2)}
        {assembly.put("rax")}
        {assembly.write_msr(0x400000F1, 2)}
        {assembly.read_msr(0x400000F2)}
        {assembly.put("rax")}
        {assembly.put_byte(DATA + 0x2000)}
        {assembly.read_msr(0x400000FF)}
        {assembly.put("rax")}
        """,
        memory={DATA: b"packet"},
    )
    machine = guest.machine()
    machine.debug_channel.send(b"reply")
    run = run_machine(machine)
    assert run.words(5) == [1, 1, 4 | 5 << 16, 0, 4]
    assert run.memory(DATA + 0x1000, 6) == b"reply\0"
    assert machine.debug_channel.receive() == b"packet"


def test_a_guest_that_only_waits_is_no_deadlock_until_its_time_is_over() -> None:
    machine = timed(1, 4_000_000).machine()
    result = machine.run(limit_ns=100 * MILLISECOND)
    assert result.reason is StopReason.LIMIT
    assert machine.partition.debug_waits.waiting(machine.vp(0))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_real_socket_carries_the_channel(kind: str, tmp_path: Path) -> None:
    """The guest posts a question and waits; a debugger at the socket answers it."""
    source = f"""
        {assembly.call(POST, INPUT + 0x100, OUTPUT + 0x100)}
        {assembly.put("rax")}
        {assembly.call(RETRIEVE, INPUT, OUTPUT)}
        {assembly.put("rax")}
    """
    post = struct.pack("<II", 5, 0) + b"name?"
    machine = Guest(source, memory={INPUT: words(64, 1, 4_000_000), INPUT + 0x100: post}).machine()
    transport = machine.connect_debugger("tcp:0" if kind == "tcp" else f"unix:{tmp_path / 's'}")
    answered: list[bytes] = []

    def debug() -> None:
        if kind == "tcp":
            host, _, port = transport.place.partition(":")
            peer = socket.create_connection((host, int(port)), 10)
        else:
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(transport.place)
        with peer:
            answered.append(peer.recv(100))
            peer.sendall(b"hypercall")
            peer.recv(1)

    debugger = threading.Thread(target=debug)
    debugger.start()
    try:
        run = run_machine(machine, limit_ns=10_000 * MILLISECOND)
    finally:
        transport.close()
        debugger.join(10)
    assert answered == [b"name?"]
    assert run.words(2) == [0, 0]
    assert run.memory(OUTPUT, 17) == struct.pack("<II", 9, 0) + b"hypercall"


def test_a_file_has_what_the_guest_posted_when_the_run_is_over(tmp_path: Path) -> None:
    post = struct.pack("<II", 5, 0) + b"hello"
    guest = Guest(assembly.call(POST, INPUT, OUTPUT), memory={INPUT: post})
    machine = guest.machine()
    machine.connect_debugger(f"file:{tmp_path / 'posted'}")
    run_machine(machine)
    assert (tmp_path / "posted").read_bytes() == b"hello"


def test_a_guest_that_left_its_wait_and_rests_for_good_is_dead(tmp_path: Path) -> None:
    """The timer's handler halts instead of returning: the wait it interrupted is never over."""
    source = f"""
        jmp over
    stay:
        cli
        hlt
        jmp stay
    over:
        {assembly.write_apic(0xF0, 0x1FF)}
        lea rax, [rip + stay]
        mov [{HOOKS + 8 * 0xE1}], rax
        {assembly.write_apic(0x3E0, 0xB)}
        {assembly.write_apic(0x320, 0xE1)}
        {assembly.write_apic(0x380, 40_000)}
        sti
        {assembly.call(RETRIEVE, INPUT, OUTPUT)}
    """
    machine = Guest(source, memory={INPUT: words(64, 1, 10_000)}).machine()
    transport = machine.connect_debugger(f"unix:{tmp_path / 's'}")
    assert machine.run(1000 * MILLISECOND).reason is StopReason.DEADLOCK
    transport.close()


def test_a_higher_vtl_may_run_in_a_wait_and_the_wait_goes_on() -> None:
    stamp = "rdtsc\nshl rdx, 32\nor rax, rdx"
    normal = f"""
        {stamp}
        mov rbx, rax
        {assembly.call(RETRIEVE, INPUT, OUTPUT)}
        {assembly.put("rax")}
        {stamp}
        sub rax, rbx
        {assembly.put("rax")}
    """
    secure = f"""
        {assembly.write_apic(0x3E0, 0xB)}
        {assembly.write_apic(0x320, 0xE2)}
        {assembly.write_apic(0x380, 200_000)}
    entered:
        {vtl_return()}
        {keep_registers("sti" + chr(10) + "nop" + chr(10) + "nop" + chr(10) + "cli")}
        jmp entered
    """
    guest = vtl_guest(f"{vtl_call()}\n{normal}", secure, memory={INPUT: words(64, 1, 20_000)})
    run = run_machine(guest.machine())
    status, passed = run.words(2)
    assert status == NO_DATA
    assert 2 * MILLISECOND <= passed < 2 * MILLISECOND + 50_000
    assert run.interrupts() == {0xE2: 1}
