"""Faults of calls as guest code meets them."""

import struct
from collections.abc import Callable

import pytest
from tests.guests.assembly import call, let_others_run, put, spin, start_others
from tests.guests.hypercalls import Caller, Calls, Row
from tests.guests.kit import Guest, run_machine
from tests.guests.layout import AP_MAIN, DATA, HYPERCALL_PAGE, INPUT, WINDOW
from tests.guests.test_flushes import CHANGE, LOOK, OLD, PAGES
from tests.guests.test_register_calls import R, names, read
from tests.guests.vtl import vtl_call, vtl_guest, vtl_return

from hypercall.errors import InputError
from hypercall.machine.machine import Machine
from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus
from hypercall.trace.events import Event, HypercallEvent, MachineEvent

FLUSH = Row(0x10002, input=0, output=3)
LIST = tuple(range(WINDOW, WINDOW + 8 * 4096, 4096))
FLUSH_LIST = Row(8 << 32 | 3, (0, 3, 0, *LIST))
PARAMETER, RESOURCES = HvStatus.INVALID_PARAMETER, HvStatus.NO_RESOURCES


def injected(*faults: str) -> Callable[[Machine], None]:
    def prepare(machine: Machine) -> None:
        for fault in faults:
            machine.inject(fault)

    return prepare


def make(*rows: Row, faults: tuple[str, ...], mode: str = "64", budget: int | None = None) -> Calls:
    return Caller(mode, prepare=injected(*faults)).make(*rows, rep_budget=budget)


def struck(calls: Calls) -> list[int]:
    return [armed.struck for armed in calls.run.machine.faults.armed]


@pytest.mark.parametrize("mode", ["64", "32"])
def test_the_guest_sees_the_status(mode: str) -> None:
    calls = make(
        FLUSH, FLUSH, FLUSH, faults=("call=FlushVirtualAddressSpace,nth=2,status=5",), mode=mode
    )
    assert [answer.result for answer in calls.answers] == [0, PARAMETER, 0]
    assert struck(calls) == [1]


def test_the_call_is_not_carried_out() -> None:
    """SUCCESS is a lie too: the translation is stale."""
    for status, looks in (("SUCCESS", [OLD, OLD, OLD]), ("TIMEOUT", [OLD, OLD, OLD])):
        guest = Guest(f"{LOOK}\n{CHANGE}\n{LOOK}\n{call(0x10002, 0, 3)}\n{LOOK}", memory=PAGES)
        machine = guest.machine()
        machine.inject(f"call=FlushVirtualAddressSpace,status={status}")
        assert run_machine(machine).words(3) == looks


def test_a_call_that_is_refused_anyway_is_no_occurrence() -> None:
    """Reserved bits, alignment, memory: the calling convention comes first."""
    calls = make(
        Row(0x2 | 1 << 27, (0, 3, 0)),
        Row(0x2, input=INPUT + 4),
        Row(0x2, input=1 << 39),
        Row(0x2, (0, 3, 0), input=INPUT + 0x100),
        faults=("call=FlushVirtualAddressSpace,nth=1,status=NO_RESOURCES",),
    )
    assert [answer.status for answer in calls.answers] == [3, 4, 3, RESOURCES]


@pytest.mark.parametrize("mode", ["64", "32"])
@pytest.mark.parametrize(("fault", "status"), [("", 0), (",status=NO_RESOURCES", RESOURCES)])
@pytest.mark.parametrize("budget", [2, 3, 5, 512])
def test_a_call_completes_only_some_reps(fault: str, status: int, budget: int, mode: str) -> None:
    calls = make(
        *(FLUSH_LIST, Row(4 << 32 | 3, (0, 3, 0, *LIST[:4]), INPUT + 0x200)),
        faults=(f"call=FlushVirtualAddressList,reps=5{fault}",),
        mode=mode,
        budget=budget,
    )
    # The second list has too few elements for it.
    assert [answer.result for answer in calls.answers] == [5 << 32 | status, 4 << 32]
    assert struck(calls) == [1]


@pytest.mark.parametrize("reps", [0, 1, 2])
def test_the_completed_reps_are_done_and_no_others(reps: int) -> None:
    calls = make(read(R.RBX, R.RSI, R.VP_INDEX), faults=(f"call=GetVpRegisters,reps={reps}",))
    assert calls.only.result == reps << 32
    values = [0xB1, 0, 0xB3, 0, 0, 0]
    assert calls.output(6) == values[: 2 * reps] + [0] * (6 - 2 * reps)


def test_a_guest_that_goes_on_by_itself_gets_the_rest() -> None:
    words = (-1, 0xFFFFFFFE, *names(R.RBX, R.RSI, R.VP_INDEX))
    calls = make(
        Row(3 << 32 | 0x50, words),
        Row(1 << 48 | 3 << 32 | 0x50),
        faults=("call=GetVpRegisters,reps=1",),
    )
    assert [answer.result for answer in calls.answers] == [1 << 32, 3 << 32]
    assert calls.output(4) == [0xB1, 0, 0xB3, 0]
    assert struck(calls) == [1]


def test_a_continued_call_is_one_call() -> None:
    calls = make(
        *(FLUSH_LIST, FLUSH_LIST, FLUSH_LIST),
        faults=("call=FlushVirtualAddressList,nth=3,status=TIMEOUT",),
        budget=2,
    )
    assert [answer.status for answer in calls.answers] == [0, 0, HvStatus.TIMEOUT]


def test_success_without_doing_anything_covers_every_entry_of_a_call() -> None:
    counted: list[object] = []

    def prepare(machine: Machine) -> None:
        @machine.handle(Call.FLUSH_VIRTUAL_ADDRESS_LIST)
        def flush(*arguments: object) -> HvStatus:
            counted.append(arguments)
            return HvStatus.SUCCESS

        machine.inject("call=FlushVirtualAddressList,nth=1,status=SUCCESS")

    calls = Caller(prepare=prepare).make(FLUSH_LIST, FLUSH_LIST, rep_budget=4)
    assert [answer.result for answer in calls.answers] == [8 << 32, 8 << 32]
    assert len(counted) == 2
    assert struck(calls) == [1]


def test_a_call_that_waits_is_one_call() -> None:
    """RETRIEVE_DEBUG_DATA with a wait is issued again until it is over."""
    source = f"{call(0x6A, INPUT, DATA)}\n{put('rax')}\n" * 2
    guest = Guest(source, memory={INPUT: struct.pack("<IIQ", 8, 1, 10_000)})
    machine = guest.machine()
    machine.inject("call=RetrieveDebugData,nth=2,status=NO_RESOURCES")
    attempts: list[HypercallEvent] = []
    machine.on(Call.RETRIEVE_DEBUG_DATA)(attempts.append)
    assert run_machine(machine).words(2) == [HvStatus.NO_DATA, RESOURCES]
    assert len(attempts) > 2


def test_a_call_takes_time() -> None:
    source = f"""
        rdtsc
        mov r12, rax
        {call(0x10002, 0, 3)}
        rdtsc
        sub rax, r12
        {put("rax")}
    """
    guest = Guest(source * 2)
    machine = guest.machine()
    machine.inject("call=FlushVirtualAddressSpace,nth=2,time=30us")
    events: list[HypercallEvent] = []
    machine.on(Call.FLUSH_VIRTUAL_ADDRESS_SPACE)(events.append)
    first, second = run_machine(machine).words(2)
    assert first < 100
    assert 30_000 < second < 30_100
    assert [event.record.left_at - event.record.entered_at for event in events] == [0, 30_000]


def test_a_call_that_takes_time_can_fail_too() -> None:
    calls = make(FLUSH, faults=("call,time=1ms,status=TIMEOUT",))
    assert calls.only.result == HvStatus.TIMEOUT
    assert calls.run.result.virtual_ns > 1_000_000


def test_others_get_what_became_due_while_a_call_took_its_time() -> None:
    """The turn ends with the call, and the timer of the other processor is not held up."""
    from tests.guests.test_time import AUTO_ENABLE, HOOK, VECTOR, after, direct

    guest = Guest(
        f"""
        mov qword ptr [{AP_MAIN}], application
        {HOOK}
        {start_others(1)}
        {let_others_run("settle", 2000)}
        {call(0x10002, 0, 3)}
        {spin("on", 10)}
        ret
        application:
        {direct(AUTO_ENABLE)}
        {after(10_000)}
        ret
        """,
        cpus=2,
    )
    machine = guest.machine()
    machine.inject("call,time=10ms")
    assert run_machine(machine).interrupts(1) == {VECTOR: 1}


def test_only_from_a_site() -> None:
    """The place is the one that traces name, the instruction behind the call."""
    through_page = f"{call(0x10002, 0, 3)}\n{put('rax')}\n"
    inline = f"mov ecx, 0x10002\nxor edx, edx\nmov r8d, 3\nvmcall\n{put('rax')}\n"
    guest = Guest(through_page * 2 + inline * 2)
    machine = guest.machine()
    places: list[int] = []

    @machine.on(Call.FLUSH_VIRTUAL_ADDRESS_SPACE)
    def note(event: HypercallEvent) -> None:
        places.append(event.position.call_site or event.position.rip)

    run_machine(machine)
    assert len(set(places)) == 4
    for number, place in enumerate(places):
        machine = guest.machine()
        machine.inject(f"call,site={place:#x},status=TIMEOUT")
        found = run_machine(machine).words(4)
        assert found == [HvStatus.TIMEOUT if each == number else 0 for each in range(4)]


def test_by_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(f"{call(0x10002, 0, 3)}\n{put('rax')}")
    for text, status in (("flush", 5), ("flush+0x20", 5), ("flush+0x21", 0), ("flu", 0)):
        machine = guest.machine()
        monkeypatch.setattr(machine, "symbol", lambda address: "flush+0x20")
        machine.inject(f"call,site={text},status=INVALID_PARAMETER")
        assert run_machine(machine).words(1) == [status]


def test_only_of_one_processor() -> None:
    guest = Guest(
        f"""
        mov qword ptr [{AP_MAIN}], application
        {start_others(1)}
        {call(0x10002, 0, 3)}
        {put("rax")}
        {let_others_run("settle", 20000)}
        ret
        application:
        {call(0x10002, 0, 3)}
        {put("rax")}
        ret
        """,
        cpus=2,
        configuration={"shuffle_vp_index": 1},
    )
    machine = guest.machine()
    machine.inject("call,vp=0,status=TIMEOUT")
    run = run_machine(machine)
    # VP index 0 is the processor of APIC id 1 here.
    assert (run.words(1, 0), run.words(1, 1)) == ([0], [HvStatus.TIMEOUT])


def test_only_of_one_trust_level() -> None:
    probe = f"{call(0x10002, 0, 3)}\n{put('rax')}"
    machine = vtl_guest(f"{probe}\n{vtl_call()}\n{probe}", f"{probe}\n{vtl_return()}").machine()
    machine.inject("call=FlushVirtualAddressSpace,vtl=1,status=TIMEOUT")
    run = run_machine(machine)
    assert sorted(run.words(3)) == [0, 0, HvStatus.TIMEOUT]


def test_any_call_is_no_trust_level_switch() -> None:
    machine = vtl_guest(f"{vtl_call()}\n{put('rax')}", vtl_return()).machine()
    machine.inject("call,after=1s,status=TIMEOUT")
    run_machine(machine)


def test_the_first_fault_that_was_armed_strikes() -> None:
    calls = make(
        FLUSH,
        FLUSH,
        faults=("call,nth=1,status=TIMEOUT", "call,status=NO_RESOURCES"),
    )
    assert [answer.status for answer in calls.answers] == [HvStatus.TIMEOUT, RESOURCES]
    assert [armed.seen for armed in calls.run.machine.faults.armed] == [2, 2]


def test_a_fault_is_in_the_trace_before_its_call() -> None:
    machine = Guest(f"{call(0x10002, 0, 3)}").machine()
    machine.inject("call,status=TIMEOUT")
    events: list[object] = []
    machine.trace.subscribe(events.append, MachineEvent, HypercallEvent)
    run_machine(machine)
    fault, made = events[:2]
    assert isinstance(fault, MachineEvent)
    assert isinstance(made, HypercallEvent)
    assert fault.kind == "injected"
    assert fault.text == "HvCallFlushVirtualAddressSpace answered TIMEOUT (call,status=TIMEOUT)"
    assert fault.position.rip == made.position.rip == HYPERCALL_PAGE
    assert made.record.result == HvStatus.TIMEOUT
    assert made.record.injected


@pytest.mark.parametrize(
    ("faults", "marks"),
    [
        ((), [False, False]),
        (("call=FlushVirtualAddressSpace,nth=1,status=5",), [True, False]),
        (("call=FlushVirtualAddressList,nth=1,reps=3",), [False, True]),
        (("call=FlushVirtualAddressList,nth=1,status=SUCCESS",), [False, True]),
        # It is late, but its own.
        (("call,time=1ms",), [False, False]),
        (("cpuid=+REMOTE_TLB_FLUSH",), [True, True]),
    ],
)
def test_the_record_of_a_call_tells_who_answered(
    faults: tuple[str, ...], marks: list[bool]
) -> None:
    found: list[bool] = []

    def prepare(machine: Machine) -> None:
        injected(*faults)(machine)
        machine.trace.subscribe(note, HypercallEvent)

    def note(event: Event) -> None:
        assert isinstance(event, HypercallEvent)
        found.append(event.record.injected)

    Caller("64", prepare=prepare).make(FLUSH, FLUSH_LIST)
    assert found == marks


def test_time_of_the_host_cannot_be_made_to_pass() -> None:
    machine = Guest("nop", configuration={"time": "host"}).machine()
    with pytest.raises(InputError, match="leave out --time host"):
        machine.inject("call,time=1ms")
