"""A small guest with mistakes on purpose: each one is found, and can be met again."""

import os
import signal
import struct
from dataclasses import replace

import pytest
from tests.guests.assembly import call, leave, put, write_apic
from tests.guests.kit import Guest
from tests.guests.layout import INPUT, POINTERS, RESULTS, WINDOW

from hypercall.errors import InputError
from hypercall.faults.judgement import Outcome
from hypercall.faults.points import Choice, DeliveryKind
from hypercall.faults.sweep import Progress, Row, SweepSettings, sweep
from hypercall.machine.machine import Machine
from hypercall.machine.result import RunResult
from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus
from hypercall.trace.events import HypercallEvent

LIST = struct.pack("<5Q", 0, 3, 0, WINDOW, WINDOW + 0x1000)
LEAST_NS = 2_000_000
SETTINGS = SweepSettings(limit_ns=100_000_000, least_ns=LEAST_NS)


def serial(text: str) -> str:
    return "\n".join(f"mov dx, 0x3F8\nmov al, {ord(each)}\nout dx, al" for each in text)


SOURCE = f"""
    {write_apic(0xF0, 0x1FF)}
    sti
    {serial("start;")}

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


FAILING = Choice(statuses=(HvStatus.NO_RESOURCES,))


def test_each_mistake_is_found() -> None:
    rows = swept(choice=FAILING)
    assert [(row.fault, row.outcome.value, row.detail) for row in rows] == [
        (
            "call=FlushVirtualAddressSpace,nth=1,status=NO_RESOURCES",
            "panicked",
            "triple fault",
        ),
        ("call=FlushVirtualAddressList,nth=1,status=NO_RESOURCES", "hung", "limit"),
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
    ]
    assert all(row.place is not None and row.place.startswith("0x") for row in rows)
    assert [row.number for row in rows] == [1, 2, 3, 4, 5]
    assert rows[1].virtual_ns is not None
    assert rows[1].virtual_ns >= LEAST_NS


def test_what_a_sweep_meets_can_be_met_again() -> None:
    rows = swept(choice=Choice(drops=frozenset({DeliveryKind.INTERRUPTS})))
    assert {row.outcome.value for row in rows} == NAMES
    assert any("reps=1" in row.fault for row in rows)
    assert any(row.fault == "interrupt=0x41,vp=0,nth=1,drop" for row in rows)
    for row in rows:
        machine = make()
        armed = machine.inject(row.fault)
        result = machine.run(LEAST_NS)
        assert armed.struck == 1
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
    choice = Choice(calls=frozenset({Call.FLUSH_VIRTUAL_ADDRESS_LIST}))
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
        calls=frozenset({Call.FLUSH_VIRTUAL_ADDRESS_SPACE}), statuses=(HvStatus.SUCCESS,)
    )
    rows = swept(choice=choice, check=check)
    assert [(row.outcome, row.detail, row.reason) for row in rows] == [
        (Outcome.FAILED, "ZeroDivisionError: the check fell over", None)
    ] * 2


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
        *("panicked", "hung", "corrupted", "failed", "survived")
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
