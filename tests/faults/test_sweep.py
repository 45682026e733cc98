"""A small guest with mistakes on purpose: each one is found, and can be met again."""

import os
import re
import signal
import struct
from dataclasses import replace

import pytest
from tests.guests.assembly import call, leave, put, write_apic
from tests.guests.kit import Guest
from tests.guests.layout import DATA, INPUT, POINTERS, RESULTS, WINDOW
from tests.guests.vtl import vtl_call, vtl_guest, vtl_return

from hypercall.errors import InputError
from hypercall.faults.judgement import Outcome
from hypercall.faults.points import Choice, PointKind
from hypercall.faults.sweep import Progress, Row, Sweep, SweepSettings, sweep
from hypercall.machine.machine import Machine
from hypercall.machine.result import RunResult
from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus
from hypercall.trace.events import HypercallEvent

LIST = struct.pack("<5Q", 0, 3, 0, WINDOW, WINDOW + 0x1000)
LEAST_NS = 2_000_000
SETTINGS = SweepSettings(limit_ns=100_000_000, least_ns=LEAST_NS, watch=False)
CALLS = frozenset({PointKind.CALLS})


def serial(text: str) -> str:
    return "\n".join(f"mov dx, 0x3F8\nmov al, {ord(each)}\nout dx, al" for each in text)


SOURCE = f"""
    {write_apic(0xF0, 0x1FF)}
    sti
    {serial("start;")}

    # Who sees that it should not flush by calls does not.
    push rbx
    mov eax, 0x40000004
    cpuid
    pop rbx
    test al, 4
    jz flushed

    # A failed flush is taken for impossible.
    {call(0x10002, 0, 3)}
    test ax, ax
    jz flushed
    cli
    mov qword ptr [{POINTERS}], 0
    lidt [{POINTERS}]
    ud2
flushed:
    # A failed list is tried again for ever, and one done in part is not noticed.
    {call(2 << 32 | 3, INPUT)}
    {put("rax")}
    test ax, ax
    jz listed
again:
    jmp again
listed:
    # Who cannot send an interrupt leaves with an error.
    {call(0x1000B, 0x41, 1)}
    test ax, ax
    jz sent
    {leave(9)}
sent:
    # What follows a failed spin notification is skipped.
    {call(0x10008, 1)}
    test ax, ax
    jnz unsaid
    {serial("done")}
unsaid:
    # The last one does not matter.
    {call(0x10002, 0, 3)}
"""
NAMES = {"panicked", "hung", "corrupted", "survived"}


def make() -> Machine:
    machine = Guest(SOURCE, memory={INPUT: LIST}).machine()
    # This host lets a guest tell of spinning.
    machine.partition.change(
        machine.partition.configuration.replace(spin_retry_count=100),
        machine.partition.configuration,
    )
    return machine


def swept(**settings: object) -> list[Row]:
    return sweep(make, replace(SETTINGS, **settings))  # type: ignore[arg-type]


FAILING = Choice(CALLS, statuses=(HvStatus.NO_RESOURCES,))


def test_each_mistake_is_found() -> None:
    rows = swept(choice=FAILING)
    details = [re.sub("0x[0-9a-f]+$", "ADDRESS", row.detail) for row in rows]
    assert [
        (row.fault, row.outcome.value, detail) for row, detail in zip(rows, details, strict=True)
    ] == [
        (
            "call=FlushVirtualAddressSpace,nth=1,status=NO_RESOURCES",
            "panicked",
            "triple fault",
        ),
        (
            "call=FlushVirtualAddressList,nth=1,status=NO_RESOURCES",
            "hung",
            "limit; VP 0 runs in ADDRESS",
        ),
        (
            "call=SendSyntheticClusterIpi,nth=1,status=NO_RESOURCES",
            "corrupted",
            "debug exit with the value 9",
        ),
        (
            "call=NotifyLongSpinWait,nth=1,status=NO_RESOURCES",
            "corrupted",
            "the console lacks 'start;done'",
        ),
        ("call=FlushVirtualAddressSpace,nth=2,status=NO_RESOURCES", "survived", ""),
        ("call=FlushVirtualAddressSpace,status=NO_RESOURCES", "panicked", "triple fault"),
    ]
    assert all(row.place is not None and row.place.startswith("0x") for row in rows[:-1])
    assert rows[-1].place is None
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.struck for row in rows] == [1] * 6
    times = [row.at_ns for row in rows[:-1]]
    assert times == sorted(times, key=lambda each: each or 0)
    assert rows[-1].at_ns == rows[0].at_ns
    assert rows[1].virtual_ns is not None
    assert rows[1].virtual_ns >= LEAST_NS
    assert {row.limit_ns for row in rows} == {LEAST_NS}


def test_what_a_sweep_meets_can_be_met_again() -> None:
    # It comes late before the guest's end, and is awaited there.
    rows = swept(choice=Choice(delay_ns=20_000, each=2))
    assert {row.outcome.value for row in rows} == NAMES
    faults = {row.fault for row in rows}
    assert {
        "call=FlushVirtualAddressList,nth=1,reps=1",
        "call=FlushVirtualAddressList,nth=1,reps=0",
        "call=FlushVirtualAddressList,nth=1,time=20us",
        "call=FlushVirtualAddressSpace,status=ACCESS_DENIED",
        "interrupt=0x41,vp=0,nth=1,drop",
        "interrupt=0x41,vp=0,nth=1,delay=20us",
        "cpuid=-HYPERCALL_FOR_REMOTE_TLB_FLUSH",
        "cpuid=+SYNTHETIC_CLUSTER_IPI",
    } <= faults
    for row in rows:
        machine = make()
        armed = machine.inject(row.fault)
        result = machine.run(LEAST_NS)
        assert armed.struck == row.struck
        assert row.struck or row.fault.startswith("cpuid")
        assert (result.reason.name, result.exit_code, result.virtual_ns) == (
            row.reason,
            row.exit_code,
            row.virtual_ns,
        )


def test_the_order_of_the_runs_does_not_matter() -> None:
    one, three = (swept(choice=FAILING, jobs=jobs) for jobs in (1, 3))
    assert one == three


def test_rows_come_in_order_and_progress_is_told() -> None:
    shown: list[Row] = []
    told: list[Progress] = []
    settings = replace(SETTINGS, choice=FAILING, jobs=3)
    rows = sweep(make, settings, on_row=shown.append, on_progress=told.append)
    assert shown == rows
    assert told[0].points == 0
    assert told[-1].points == len(rows)


def test_some_calls_and_statuses() -> None:
    rows = swept(
        choice=Choice(
            CALLS,
            calls=frozenset({Call.FLUSH_VIRTUAL_ADDRESS_LIST}),
            statuses=(HvStatus.SUCCESS, HvStatus.TIMEOUT),
        )
    )
    assert [(row.fault.split("=")[-1], row.outcome.value) for row in rows] == [
        ("SUCCESS", "survived"),
        ("TIMEOUT", "hung"),
    ]


def completed(machine: Machine, result: RunResult) -> str | None:
    """The guest's own data: how many reps it has seen completed."""
    reps = struct.unpack("<Q", machine.partition.memory.read(RESULTS, 8))[0] >> 32
    return None if reps == 2 else f"only {reps} reps were completed"


def test_a_check_of_the_guests_data_finds_what_the_guest_does_not() -> None:
    choice = Choice(CALLS, frozenset({Call.FLUSH_VIRTUAL_ADDRESS_LIST}))
    without, with_check = (swept(choice=choice, check=check)[-1] for check in (None, completed))
    assert without.fault == "call=FlushVirtualAddressList,nth=1,reps=1"
    assert without.outcome is Outcome.SURVIVED
    assert with_check.outcome is Outcome.CORRUPTED
    assert with_check.detail == "only 1 reps were completed"


def test_a_run_that_fails_is_a_row() -> None:
    parent = os.getpid()

    def check(machine: Machine, result: RunResult) -> str | None:
        if os.getpid() == parent:
            return None
        if machine.partition.memory.read(RESULTS, 1) == b"\0":
            raise ZeroDivisionError("the check\nfell over")
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    choice = Choice(
        CALLS, frozenset({Call.FLUSH_VIRTUAL_ADDRESS_SPACE}), statuses=(HvStatus.SUCCESS,)
    )
    rows = swept(choice=choice, check=check)
    assert [(row.outcome, row.detail, row.reason) for row in rows] == [
        (Outcome.FAILED, "ZeroDivisionError: the check fell over", None)
    ] * 3


def test_a_process_that_dies_in_the_middle_of_the_guest_is_a_row() -> None:
    parent = os.getpid()

    def dying() -> Machine:
        machine = make()

        @machine.on(Call.NOTIFY_LONG_SPIN_WAIT)
        def die(event: HypercallEvent) -> None:
            if os.getpid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)

        return machine

    rows = sweep(dying, replace(SETTINGS, choice=FAILING))
    assert [row.outcome.value for row in rows] == [
        *("panicked", "hung", "corrupted", "failed", "survived", "panicked")
    ]
    assert rows[3].detail == "the process was ended by SIGKILL"


def test_an_exception_in_the_middle_of_the_guest_is_a_row() -> None:
    parent = os.getpid()

    def failing() -> Machine:
        machine = make()

        @machine.on(Call.NOTIFY_LONG_SPIN_WAIT)
        def fail(event: HypercallEvent) -> None:
            if os.getpid() != parent:
                raise ZeroDivisionError("the observer fell over")

        return machine

    rows = sweep(failing, replace(SETTINGS, choice=FAILING))
    assert rows[3].detail == "ZeroDivisionError: the observer fell over"


def test_a_machine_that_is_not_the_same_each_time() -> None:
    made = []

    def changing() -> Machine:
        made.append(True)
        return make() if len(made) == 1 else Guest("nop").machine()

    rows = sweep(changing, replace(SETTINGS, choice=FAILING))
    assert {row.outcome for row in rows} == {Outcome.FAILED}
    assert "the point did not come again" in rows[0].detail


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("again: jmp again", "does not end well"),
        ("nop", "the guest makes no hypercalls"),
        (leave(1), "debug exit with the value 1"),
    ],
)
def test_a_guest_that_cannot_be_swept(source: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        sweep(Guest(source).machine, SweepSettings(limit_ns=1_000_000))


def test_a_check_that_complains_without_faults() -> None:
    with pytest.raises(InputError, match="even without faults the check complains: always"):
        swept(check=lambda machine, result: "always")


def test_what_the_checks_find_is_a_complaint() -> None:
    guest = Guest(f"{call(0x10002, 0, 3)}\nmov rax, 5\n{call(0x10002, 0, 3)}\ntest ax, ax")
    settings = replace(SETTINGS, choice=replace(FAILING, calls=frozenset({2})))
    found = [
        [(row.fault.split(",")[1], row.outcome.value, row.struck) for row in rows]
        for rows in (
            sweep(guest.machine, replace(settings, watch=watch)) for watch in (True, False)
        )
    ]
    assert found == [
        [
            *(("nth=1", "complained", 1), ("nth=2", "survived", 1)),
            ("status=NO_RESOURCES", "complained", 2),
        ],
        [
            *(("nth=1", "survived", 1), ("nth=2", "survived", 1)),
            ("status=NO_RESOURCES", "survived", 2),
        ],
    ]


def test_buffers_are_full_from_the_start() -> None:
    source = f"{call(0x69, INPUT, DATA)}\ntest ax, ax\njz posted\n{leave(9)}\nposted:"
    guest = Guest(source, memory={INPUT: struct.pack("<II", 5, 0) + b"hello"})
    rows = sweep(guest.machine, replace(SETTINGS, choice=Choice(frozenset({PointKind.BUFFERS}))))
    assert [(row.fault, row.outcome.value, row.at_ns) for row in rows] == [
        ("buffer=debug,size=0", "corrupted", None)
    ]


def test_it_can_be_stopped_and_gone_on_with() -> None:
    whole = swept(choice=FAILING)
    begun: list[Row] = []
    first = Sweep(make, replace(SETTINGS, choice=FAILING, jobs=1), on_row=lambda row: note(row))

    def note(row: Row) -> None:
        begun.append(row)
        if len(begun) == 2:
            first.stop()

    assert first.run() == begun
    assert (first.stopped, first.count) == (True, len(whole))
    assert 2 <= len(begun) < len(whole)
    assert all(row in whole for row in begun)
    known = {row.fault: row for row in begun}
    rest: list[Row] = []
    settings = replace(SETTINGS, choice=FAILING, known=known)
    assert sweep(make, settings, on_row=rest.append) == whole
    assert rest == [row for row in whole if row not in begun]
    assert sweep(make, replace(settings, known={row.fault: row for row in whole})) == whole


def test_it_can_be_stopped_before_it_knows_the_points() -> None:
    stopping = Sweep(make, SETTINGS)
    stopping.stop()
    assert stopping.run() == []
    assert stopping.count == 0


def test_a_guest_with_two_trust_levels_on_two_processors() -> None:
    def flush(failed: int) -> str:
        passed = f"passed_{failed}"
        return f"{call(0x10002, 0, 3)}\ntest ax, ax\njz {passed}\n{leave(failed)}\n{passed}:"

    def make() -> Machine:
        return vtl_guest(
            f"{flush(7)}\n{vtl_call()}\n{flush(8)}", f"{flush(9)}\n{vtl_return()}", cpus=2
        ).machine()

    choice = replace(FAILING, calls=frozenset({Call.FLUSH_VIRTUAL_ADDRESS_SPACE}))
    rows = sweep(make, replace(SETTINGS, choice=choice))
    assert [(row.fault.split(",")[1], row.exit_code) for row in rows] == [
        *(("nth=1", 7), ("nth=2", 9), ("nth=3", 8), ("status=NO_RESOURCES", 7))
    ]
    for row in sweep(make, replace(SETTINGS, choice=Choice(each=2, most=8))):
        machine = make()
        armed = machine.inject(row.fault)
        result = machine.run(LEAST_NS)
        assert (armed.struck, result.reason.name, result.exit_code, result.virtual_ns) == (
            row.struck,
            row.reason,
            row.exit_code,
            row.virtual_ns,
        )
