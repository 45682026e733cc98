import pytest
from tests.guests.assembly import write_msr
from tests.guests.kit import assemble

from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.machine.result import StopReason
from hypercall.recording.moment import (
    CallMoment,
    ConsoleMoment,
    EventMoment,
    Moment,
    MomentWatch,
    TimeMoment,
    WatchedMoment,
    parse_moment,
)
from hypercall.tlfs.calls import Call

# Makes ten calls, every second one of an unknown code, and writes a digit after each.
CODE = assemble(
    f"""
    {write_msr(0x40000000, 1)}
    {write_msr(0x40000001, 0x190001)}
    xor ebx, ebx
next:
    mov ecx, 8
    test bl, 1
    jz known
    mov ecx, 0xBEEF
known:
    vmcall
    mov dx, 0x3F8
    lea eax, [rbx + 48]
    out dx, al
    mov eax, 10
    out dx, al
    inc ebx
    mov [0x180000], rbx
    cmp ebx, 10
    jb next
    xor eax, eax
    out 0xF4, eax
    """,
    0x100000,
)


@pytest.mark.parametrize(
    ("text", "moment", "again"),
    [
        ("1.5s", TimeMoment(1_500_000_000), "1500ms"),
        ("0ns", TimeMoment(0), "0ns"),
        ("call:7", CallMoment(7), "call:7"),
        ("call:HvCallPostMessage:3", CallMoment(3, 0x5C), "call:HvCallPostMessage:3"),
        ("call:post_message", CallMoment(1, 0x5C), "call:HvCallPostMessage:1"),
        ("call:0x5c:2", CallMoment(2, 0x5C), "call:HvCallPostMessage:2"),
        ("event:vtl", EventMoment("vtl"), "event:vtl:1"),
        ("event:finding:3", EventMoment("finding", 3), "event:finding:3"),
        ("console:login: ", ConsoleMoment(b"login: "), "console:login: "),
    ],
)
def test_moments_are_read_and_written(text: str, moment: Moment, again: str) -> None:
    assert parse_moment(text) == moment
    assert str(moment) == again
    assert parse_moment(again) == moment


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no moment: give a time such as 1.5s"),
        ("5", "is no moment"),
        ("-1s", "is no moment"),
        ("call:", "is no moment"),
        ("console:", "is no moment"),
        ("moment:5", "is no moment"),
        ("event:", "is no moment"),
        ("event:5", "no kind of event '5': give hypercall, "),
        ("event:vtl:0", "no event number '0'"),
        ("call:0", "no call number '0'"),
        ("call:PostMessage:", "no call number ''"),
        ("call:PostMessage:-1", "no call number '-1'"),
        ("call:" + "9" * 30, "no call number"),
        ("call:Nothing", "no call is named 'Nothing'"),
        ("console:" + "x" * 1001, "too long"),
    ],
)
def test_texts_that_mean_none(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse_moment(text)


@pytest.fixture
def machine() -> Machine:
    machine = Machine(MachineConfiguration(memory=4 << 20))
    machine.load(CODE, image_format="flat")
    return machine


def rounds(machine: Machine) -> int:
    return machine.partition.memory.read_u64(0x180000)


@pytest.mark.parametrize(
    ("moment", "done"),
    [
        (CallMoment(1), 0),
        (CallMoment(5), 4),
        (CallMoment(4, int(Call.NOTIFY_LONG_SPIN_WAIT)), 6),
        (EventMoment("hypercall", 3), 2),
        (EventMoment("console", 2), 2),
        # The block that wrote it is finished.
        (ConsoleMoment(b"3"), 4),
        (ConsoleMoment(b"4\n5\n6"), 7),
    ],
)
def test_a_run_is_paused_when_the_moment_has_come(
    machine: Machine, moment: WatchedMoment, done: int
) -> None:
    watch = MomentWatch(machine, moment)
    assert machine.run().reason is StopReason.PAUSED
    assert watch.reached
    assert rounds(machine) == done
    assert machine.run().reason is StopReason.DEBUG_EXIT


@pytest.mark.parametrize("moment", [CallMoment(11), EventMoment("vtl"), ConsoleMoment(b"10")])
def test_a_moment_that_never_comes(machine: Machine, moment: WatchedMoment) -> None:
    watch = MomentWatch(machine, moment)
    assert machine.run().reason is StopReason.DEBUG_EXIT
    assert not watch.reached


@pytest.mark.parametrize(
    "moment", [CallMoment(2), EventMoment("hypercall", 2), ConsoleMoment(b"2")]
)
def test_nobody_is_paused_by_a_watch_that_is_closed(
    machine: Machine, moment: WatchedMoment
) -> None:
    watch = MomentWatch(machine, moment)
    watch.close()
    assert machine.run().reason is StopReason.DEBUG_EXIT
    assert not watch.reached
