"""Faults of deliveries and buffers as guest code meets them."""

import pytest
from tests.guests.assembly import (
    call,
    let_others_run,
    put,
    put_word,
    spin,
    start_others,
    write_apic,
    write_msr,
)
from tests.guests.hypercalls import Caller
from tests.guests.kit import Guest, GuestRun, run_machine
from tests.guests.layout import INPUT, MESSAGES, SHARED
from tests.guests.test_debug_calls import post_row
from tests.guests.test_message_calls import (
    CREATE_MESSAGES,
    EMPTY_SLOT,
    END_OF_MESSAGE,
    MEMORY,
    MESSAGE,
    POST,
    SINT,
    SLOT,
    VECTOR,
    device,
    enable_synic,
)
from tests.guests.test_time import AUTO_ENABLE, ENABLE, HOOK, PERIODIC, REST, after, direct
from tests.guests.test_time import VECTOR as TIMER_VECTOR

from hypercall.machine.machine import Machine
from hypercall.partition.ports import MessagePort
from hypercall.tlfs.status import HvStatus
from hypercall.trace.events import MachineEvent

SEND = call(0x1000B, 0x41, 0b11)
FULL = HvStatus.INSUFFICIENT_BUFFERS


def run(source: str, *faults: str, cpus: int = 1, **settings: object) -> GuestRun:
    machine = Guest(source, cpus=cpus, **settings).machine()  # type: ignore[arg-type]
    for fault in faults:
        machine.inject(fault)
    return run_machine(machine)


def struck(found: GuestRun) -> list[int]:
    return [armed.struck for armed in found.machine.faults.armed]


class TestInterrupts:
    source = f"""
        {start_others(1)}
        sti
        {SEND}
        {put("rax")}
        {let_others_run("first", 5000)}
        {SEND}
        {put("rax")}
        {let_others_run("second", 5000)}
    """

    def test_without_a_fault_all_arrive(self) -> None:
        found = run(self.source, cpus=2)
        assert [found.interrupts(slot) for slot in (0, 1)] == [{0x41: 2}, {0x41: 2}]

    @pytest.mark.parametrize(
        ("fault", "own", "other"),
        [
            ("interrupt=0x41,nth=1,drop", 1, 2),
            ("interrupt=0x41,vp=1,drop", 2, 0),
            ("interrupt,vp=1,nth=2,drop", 2, 1),
            ("interrupt=0x42,drop", 2, 2),
            ("interrupt,vtl=1,drop", 2, 2),
            ("interrupt,drop", 0, 0),
        ],
    )
    def test_a_lost_one(self, fault: str, own: int, other: int) -> None:
        found = run(self.source, fault, cpus=2)
        taken = [found.interrupts(slot).get(0x41, 0) for slot in (0, 1)]
        assert taken == [own, other]
        # Who sends it hears nothing of that.
        assert found.words(2) == [0, 0]
        assert struck(found) == [4 - own - other]

    def test_a_late_one(self) -> None:
        source = f"""
            {HOOK.replace(str(TIMER_VECTOR), str(0x41))}
            sti
            {SEND}
            {put_word(SHARED)}
            {spin("wait", 10_000)}
            {put_word(SHARED)}
        """
        found = run(source, "interrupt=0x41,delay=20us")
        assert found.words(2) == [0, 1]
        assert found.interrupts() == {0x41: 1}

    def test_a_request_that_merges_is_no_occurrence(self) -> None:
        source = f"{write_apic(0xF0, 0x1FF)}\ncli\n{SEND}\n{SEND}\n{SEND}\nsti\nnop\nnop"
        found = run(source, "interrupt=0x41,nth=2,drop")
        assert found.interrupts() == {0x41: 1}
        assert [armed.seen for armed in found.machine.faults.armed] == [1]

    def test_a_level_interrupt_comes_once_it_is_late(self) -> None:
        """A delayed request keeps its trigger mode, and so its end reaches the I/O APIC."""
        machine = Guest(f"{write_apic(0xF0, 0x1FF)}\nsti\n{spin('wait', 10_000)}").machine()
        machine.inject("interrupt=0x55,nth=1,delay=10us")
        io_apic = machine.partition.io_apic
        assert io_apic is not None
        io_apic.entries[9] = 0x8055
        machine.partition.timers.schedule(5_000, lambda: io_apic.set_line(9, True))
        machine.partition.timers.schedule(20_000, lambda: io_apic.set_line(9, False))
        found = run_machine(machine)
        assert found.interrupts().get(0x55, 0) >= 1
        assert not io_apic.entries[9] & 1 << 14


class TestTimers:
    def test_a_lost_expiration(self) -> None:
        source = f"{HOOK}\n{direct(AUTO_ENABLE)}\n{after(1000)}\nsti\n{spin('wait', 50_000)}"
        assert run(source).interrupts() == {TIMER_VECTOR: 1}
        found = run(source, "timer,drop")
        assert found.interrupts() == {}
        assert struck(found) == [1]
        assert run(source, "timer=1,drop").interrupts() == {TIMER_VECTOR: 1}

    def test_a_periodic_timer_goes_on(self) -> None:
        source = f"{HOOK}\n{write_msr(0x400000B1, 2000)}\n{direct(ENABLE | PERIODIC)}\nsti\n"
        source += spin("wait", 200_000)
        everything = run(source).interrupts()[TIMER_VECTOR]
        found = run(source, "timer=0,nth=2,drop")
        assert found.interrupts() == {TIMER_VECTOR: everything - 1}

    def test_a_late_expiration(self) -> None:
        source = f"{HOOK}\n{direct(AUTO_ENABLE)}\n{after(5000)}\n{REST}\n{put('r13')}"
        found = run(source, "timer,delay=2ms")
        late = found.memory_words(SHARED + 8, 1)[0] - found.words(1)[0]
        assert 20_000 <= late <= 20_020

    def test_a_timer_whose_message_was_lost_expires_again(self) -> None:
        sint = 5
        slot = MESSAGES + 256 * sint
        again = [
            f"""
            mov dword ptr [{slot}], 0
            {after(1000)}
            {spin(f"wait_{number}", 50_000)}
            {put_word(slot)}
            """
            for number in range(3)
        ]
        configure = write_msr(0x400000B0, AUTO_ENABLE | sint << 16)
        source = "\n".join([enable_synic(sint), configure, *again])
        found = run(source, "message=TIMER_EXPIRED,sint=5,nth=2,drop")
        assert [word & 0xFFFF_FFFF for word in found.words(3)] == [0x80000010, 0, 0x80000010]


class TestMessages:
    source = f"""
        {enable_synic()}
        {device(CREATE_MESSAGES)}
        sti
        {POST}
        {put("rax")}
        {put_word(SLOT)}
        {EMPTY_SLOT}
        {END_OF_MESSAGE}
        {POST}
        {put("rax")}
        {put_word(SLOT)}
    """
    header = 8 << 32 | MESSAGE[1] & 0xFFFF_FFFF

    def test_a_lost_one_gives_its_buffer_back(self) -> None:
        found = run(self.source, f"message=0x12345678,sint={SINT},nth=1,drop", memory=MEMORY)
        assert found.words(4) == [0, 0, 0, self.header]
        assert found.interrupts() == {VECTOR: 1}
        port = found.machine.partition.ports.connections[0x10].port
        assert isinstance(port, MessagePort)
        assert port.free_buffers == 16

    @pytest.mark.parametrize("fault", ["message=0x1,drop", "message,sint=4,drop"])
    def test_another_one(self, fault: str) -> None:
        found = run(self.source, fault, memory=MEMORY)
        assert found.words(4) == [0, self.header, 0, self.header]

    def test_a_late_one(self) -> None:
        source = f"""
            {enable_synic()}
            {device(CREATE_MESSAGES)}
            {POST}
            {put_word(SLOT)}
            {spin("wait", 10_000)}
            {put_word(SLOT)}
        """
        found = run(source, "message,delay=20us", memory=MEMORY)
        assert found.words(2) == [0, self.header]


class TestBuffers:
    def posts(self, machine: Machine, count: int) -> list[int]:
        return run_machine(machine).words(count)

    @pytest.mark.parametrize("size", [0, 1, 3])
    def test_the_message_buffers_of_a_port(self, size: int) -> None:
        """One message lies in the slot; so many more wait."""
        source = f"{enable_synic()}\n{device(CREATE_MESSAGES)}\n" + f"{POST}\n{put('rax')}\n" * 6
        found = run(source, f"buffer=messages,size={size}", memory=MEMORY)
        accepted = min(size + 1, 6) if size else 0
        assert found.words(6) == [0] * accepted + [FULL] * (6 - accepted)
        assert struck(found) == [6 - accepted]

    def test_the_messages_that_wait_outside(self) -> None:
        guest = Guest(f"{POST}\n{put('rax')}\n" * 4, memory=MEMORY)
        machine = guest.machine()
        ports = machine.partition.ports
        port = ports.create_host_message_port()
        ports.connect(0x10, port)
        fault = machine.inject("buffer=host-messages,size=2")
        assert run_machine(machine).words(4) == [0, 0, FULL, FULL]
        assert len(port.waiting) == fault.struck == 2

    def test_buffers_of_another_kind_are_left_alone(self) -> None:
        machine = Guest(f"{POST}\n{put('rax')}\n", memory=MEMORY).machine()
        ports = machine.partition.ports
        ports.connect(0x10, ports.create_host_message_port())
        faults = [machine.inject(f"buffer={kind},size=0") for kind in ("messages", "debug")]
        assert run_machine(machine).words(1) == [0]
        assert [fault.struck for fault in faults] == [0, 0]

    def test_a_receiver_with_no_buffer_gets_nothing(self) -> None:
        machine = Guest(f"{POST}\n{put('rax')}\n", memory=MEMORY).machine()
        ports = machine.partition.ports
        received: list[object] = []
        ports.connect(0x10, ports.create_host_message_port(received.append))
        machine.inject("buffer=host-messages,size=0")
        assert run_machine(machine).words(1) == [FULL]
        assert received == []

    def test_the_debug_channel(self) -> None:
        def prepare(machine: Machine) -> None:
            machine.inject("buffer=debug,size=100")
            machine.inject("buffer=debug,size=8")

        calls = Caller(prepare=prepare).make(
            post_row(b"12345"), post_row(b"6789", INPUT + 0x100), post_row(b"678", INPUT + 0x200)
        )
        assert [answer.status for answer in calls.answers] == [0, FULL, 0]
        assert struck(calls.run) == [0, 1]
        channel = calls.run.machine.debug_channel
        assert channel.receive() == b"12345678"
        assert channel.send(b"123456789") == 8
        calls.run.machine.faults.disarm_all()
        assert channel.room == (1 << 16) - 8


def test_deliveries_are_in_the_trace() -> None:
    machine = Guest(f"{write_apic(0xF0, 0x1FF)}\nsti\n{SEND}\n{spin('wait', 10_000)}").machine()
    machine.inject("interrupt,nth=1,delay=1us")
    texts: list[str] = []
    machine.trace.subscribe(
        lambda event: texts.append(event.text) if isinstance(event, MachineEvent) else None
    )
    run_machine(machine)
    assert texts[0] == ("interrupt 0x41 of VP 0 was delayed by 1us (interrupt,nth=1,delay=1us)")
