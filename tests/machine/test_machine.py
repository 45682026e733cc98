import hashlib
from collections.abc import Callable

import pytest
from tests.guests.assembly import call, leave, let_others_run, put, start_others, write_msr
from tests.guests.kit import Guest
from tests.guests.layout import AP_MAIN, DATA, SHARED, WINDOW
from tests.guests.paging import USER_PAGE, window

from hypercall.errors import GuestMemoryError, InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.machine.result import RunResult, StopReason
from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus
from hypercall.trace.events import Event, HypercallEvent, MachineEvent
from hypercall.trace.hub import ALL_KINDS

LOOP = bytes.fromhex("ebfe")
SECOND = 1_000_000_000


def machine_with(text: str, cpus: int = 1, seed: int = 0) -> Machine:
    return Guest(text, cpus, True, {"seed": seed}).machine()


def flat(code: bytes) -> Machine:
    machine = Machine(MachineConfiguration(memory=2 << 20))
    machine.load(code, image_format="flat")
    return machine


class TestEnds:
    """One guest for each reason."""

    def test_debug_exit(self) -> None:
        result = flat(bytes.fromhex("b807000000e7f4f4")).run()
        assert (result.reason, result.exit_code) == (StopReason.DEBUG_EXIT, 7)

    def test_limit(self) -> None:
        result = flat(LOOP).run(1_000_000)
        assert result.reason is StopReason.LIMIT
        assert 1_000_000 <= result.virtual_ns < 1_000_100

    def test_deadlock(self) -> None:
        assert flat(bytes.fromhex("faf4")).run().reason is StopReason.DEADLOCK

    def test_triple_fault(self) -> None:
        assert flat(bytes.fromhex("0f0b")).run().reason is StopReason.TRIPLE_FAULT

    def test_power_off(self) -> None:
        # SLP_TYP 5 and SLP_EN in the control register of the ACPI power management block.
        text = "mov dx, 0x604\nmov ax, 0x3400\nout dx, ax\nhlt"
        assert machine_with(text).run(SECOND).reason is StopReason.POWER_OFF

    @pytest.mark.parametrize(
        "text",
        ["mov al, 6\nmov dx, 0xCF9\nout dx, al\nhlt", write_msr(0x40000003, 1) + "\nhlt"],
        ids=["port", "msr"],
    )
    def test_reset(self, text: str) -> None:
        assert machine_with(text).run(SECOND).reason is StopReason.RESET

    def test_crash(self) -> None:
        parameters = "\n".join(write_msr(0x40000100 + n, n + 1) for n in range(5))
        result = machine_with(f"{parameters}\n{write_msr(0x40000105, 1 << 63)}\nhlt").run(SECOND)
        assert result.reason is StopReason.PANIC
        assert "0x1, 0x2, 0x3, 0x4, 0x5" in result.detail

    def test_interrupted(self) -> None:
        machine = flat(LOOP)
        machine.interrupt()
        assert machine.run(SECOND).reason is StopReason.INTERRUPTED

    def test_until(self) -> None:
        machine = machine_with(f"again:\ninc qword ptr [{SHARED}]\njmp again")
        memory = machine.partition.memory
        result = machine.run(SECOND, until=lambda: memory.read_u64(SHARED) > 10)
        assert result.reason is StopReason.UNTIL
        assert result.virtual_ns < 50_000_000

    def test_the_reason_is_an_event(self) -> None:
        machine = flat(LOOP)
        seen: list[tuple[str, str]] = []

        def note(event: Event) -> None:
            assert isinstance(event, MachineEvent)
            seen.append((event.kind, event.text))

        machine.trace.subscribe(note, MachineEvent)
        machine.run(1000)
        assert seen == [("limit", "the limit of virtual time stopped the guest")]


class TestRuns:
    def test_nothing_loaded(self) -> None:
        with pytest.raises(InputError, match="load"):
            Machine(MachineConfiguration(memory=2 << 20)).run()

    def test_a_run_goes_on(self) -> None:
        machine = machine_with(f"again:\ninc qword ptr [{SHARED}]\njmp again")
        counts = []
        for limit in (1_000_000, 2_000_000, 3_000_000):
            assert machine.run(limit).reason is StopReason.LIMIT
            counts.append(machine.partition.memory.read_u64(SHARED))
        assert 0 < counts[0] < counts[1] < counts[2]

    def test_cut_into_pieces_it_is_the_same_run(self) -> None:
        text = f"mov ecx, 100000\nagain:\nadd [{SHARED}], rcx\nsub ecx, 1\njnz again"
        whole, pieces = machine_with(text), machine_with(text)
        expected = whole.run(SECOND)
        for limit in range(10_000, 2_000_000, 10_000):
            result = pieces.run(limit)
            if result.reason is not StopReason.LIMIT:
                break
        assert result.reason is expected.reason is StopReason.DEBUG_EXIT
        assert result.virtual_ns == expected.virtual_ns
        assert pieces.partition.memory.read_u64(SHARED) == whole.partition.memory.read_u64(SHARED)

    def test_counts(self) -> None:
        result = machine_with(f"{call(0xBEEF)}\n{call(0xBEEF)}\ncpuid").run(SECOND)
        assert result.exits["hypercalls"] == 2
        assert result.exits["cpuid"] == 2
        assert result.executed > 0


RACE = f"""
    mov qword ptr [{AP_MAIN}], racer
    {start_others(3)}
racer:
    mov r12d, 30000
running:
    mov eax, 1
    lock xadd [{SHARED}], rax
    and eax, 0xFFFF
    lea rbx, [rax * 8 + {DATA}]
    mov [rbx], r15
    sub r12d, 1
    jnz running
    {let_others_run("settle", 200)}
    ret
"""


class TestDeterminism:
    def run(self, seed: int) -> tuple[RunResult, bytes, list[str]]:
        machine = machine_with(RACE, 4, seed)
        events: list[str] = []
        machine.trace.subscribe(lambda event: events.append(repr(event)))
        result = machine.run(SECOND)
        assert result.reason is StopReason.DEBUG_EXIT
        digest = hashlib.sha256(machine.partition.memory.ram).digest()
        return result, digest, events

    def test_the_same_seed_twice(self) -> None:
        first, second = self.run(7), self.run(7)
        assert first[0].virtual_ns == second[0].virtual_ns
        assert first[0].exits == second[0].exits
        assert first[1] == second[1]
        assert first[2] == second[2]

    def test_two_seeds_differ(self) -> None:
        assert self.run(7)[1] != self.run(8)[1]

    @pytest.mark.parametrize("step", [7_001, 50_000, 333_333])
    def test_pieces_of_time_are_the_same_run(self, step: int) -> None:
        whole = self.run(7)
        machine = machine_with(RACE, 4, 7)
        events: list[str] = []
        machine.trace.subscribe(
            lambda event: events.append(repr(event)), *(set(ALL_KINDS) - {MachineEvent})
        )
        limit = step
        while (result := machine.run(limit)).reason is StopReason.LIMIT:
            limit += step
        assert limit > 3 * step
        assert result.exits == whole[0].exits
        assert result.virtual_ns == whole[0].virtual_ns
        assert hashlib.sha256(machine.partition.memory.ram).digest() == whole[1]
        assert events == [event for event in whole[2] if "MachineEvent" not in event]

    def test_pauses_at_events_do_not_change_the_run(self) -> None:
        whole = self.run(7)
        machine = machine_with(RACE, 4, 7)
        events: list[str] = []

        def pause(event: Event) -> None:
            events.append(repr(event))
            machine.pause()

        machine.trace.subscribe(pause)
        pauses = 0
        while (result := machine.run(SECOND)).reason is StopReason.PAUSED:
            pauses += 1
        assert pauses > 3
        assert result.virtual_ns == whole[0].virtual_ns
        assert hashlib.sha256(machine.partition.memory.ram).digest() == whole[1]
        assert events == whole[2]


class TestObserving:
    def test_on_is_called_for_its_call_alone(self) -> None:
        machine = machine_with(f"{call(0x10002, 0, 3)}\n{call(0x10008, 9)}\n{call(0x10008, 10)}")
        seen: list[HypercallEvent] = []

        @machine.on(Call.NOTIFY_LONG_SPIN_WAIT)
        def note(event: HypercallEvent) -> None:
            seen.append(event)

        machine.run(SECOND)
        assert [event.record.input_register for event in seen] == [9, 10]
        assert all(event.record.result == 0 for event in seen)

    def test_the_call_site_is_where_the_page_was_called(self) -> None:
        machine = machine_with(
            f"{call(0xBEEF)}\nsite:\nlea rax, [rip + site]\n{put('rax')}\nmov ecx, 0xBEEF\nvmcall"
        )
        sites: list[int | None] = []
        machine.trace.subscribe(
            lambda event: sites.append(event.position.call_site), HypercallEvent
        )
        machine.run(SECOND)
        # The second call did not come through the page.
        assert sites == [machine.partition.memory.read_u64(0x1E0000), None]

    def test_what_an_observer_raises_comes_out_of_the_run(self) -> None:
        machine = machine_with(call(0x10008, 1))

        @machine.on(Call.NOTIFY_LONG_SPIN_WAIT)
        def fail(event: HypercallEvent) -> None:
            raise LookupError("on purpose")

        with pytest.raises(LookupError, match="on purpose"):
            machine.run(SECOND)


class TestLooking:
    def test_virtual_memory_by_the_guests_tables(self) -> None:
        pages = window(DATA + 0x3000 | USER_PAGE, DATA | USER_PAGE)
        content = {DATA + 0x3FFC: b"abcd", DATA: b"efgh"}
        machine = Guest("ret", memory=pages | content).machine()
        bootstrap = machine.partition.bootstrap
        assert machine.read_virtual(bootstrap, WINDOW + 0xFFC, 8) == b"abcdefgh"

    def test_an_address_that_is_not_mapped(self) -> None:
        machine = Guest("ret", memory=window(0)).machine()
        with pytest.raises(GuestMemoryError):
            machine.read_virtual(machine.partition.bootstrap, WINDOW, 1)

    def test_the_time(self) -> None:
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


def test_a_pause_at_a_call_comes_before_the_next_block() -> None:
    machine = machine_with(
        f"mov byte ptr [{DATA}], 1\n{call(8)}\nmov byte ptr [{DATA}], 2\n{leave()}"
    )

    @machine.on(Call.NOTIFY_LONG_SPIN_WAIT)
    def called(event: HypercallEvent) -> None:
        machine.pause()

    assert machine.run(SECOND).reason is StopReason.PAUSED
    assert machine.partition.memory.read(DATA, 1) == b"\1"
    assert machine.run(SECOND).reason is StopReason.DEBUG_EXIT
    assert machine.partition.memory.read(DATA, 1) == b"\2"


def test_host_time() -> None:
    machine = Machine(MachineConfiguration(memory=2 << 20, time="host"))
    machine.load(LOOP, image_format="flat")
    result = machine.run(20_000_000)
    assert result.reason is StopReason.LIMIT
    assert 0.01 < result.host_seconds < 2


def test_a_host_poll_keeps_a_resting_guest_alive() -> None:
    machine = flat(bytes.fromhex("faf4"))
    asked: list[float] = []

    def poll(seconds: float) -> bool:
        asked.append(seconds)
        if seconds > 1:
            machine.interrupt()
        return False

    machine.host_poll = poll
    assert machine.run().reason is StopReason.INTERRUPTED
    assert asked[0] == 0.0
    assert asked[-1] == float("inf")


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
