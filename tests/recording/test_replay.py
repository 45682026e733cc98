import pytest
from tests.guests.assembly import write_msr
from tests.guests.kit import assemble

from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.machine.result import StopReason
from hypercall.recording.inputs import Input, InputKind
from hypercall.recording.moment import CallMoment, ConsoleMoment, TimeMoment
from hypercall.recording.recording import End, Guest, Recording
from hypercall.recording.replay import InterruptedReplayError, Replay
from hypercall.tlfs.calls import Call
from hypercall.trace.events import HypercallEvent

# Waits for a key, then makes 60 calls, two of each three of an unknown code, with pauses of half
# a thousandth of a second between them.
CODE = assemble(
    f"""
    {write_msr(0x40000000, 1)}
    {write_msr(0x40000001, 0x190001)}
    mov dx, 0x3F8
    mov al, 'r'
    out dx, al
    mov al, 'e'
    out dx, al
    mov al, 'a'
    out dx, al
    mov al, 'd'
    out dx, al
    mov al, 'y'
    out dx, al
    mov al, 10
    out dx, al
    mov dx, 0x3FD
key:
    in al, dx
    test al, 1
    jz key
    xor ebx, ebx
next:
    inc ebx
    mov ecx, 8
    mov eax, ebx
    xor edx, edx
    mov esi, 3
    div esi
    test edx, edx
    jz known
    mov ecx, 0xBEEF
known:
    mov [0x180000], rbx
    vmcall
    mov edi, 100000
wait:
    sub edi, 1
    jnz wait
    cmp ebx, 60
    jb next
    xor eax, eax
    out 0xF4, eax
    """,
    0x100000,
)


def recording(end: End | None = None) -> Recording:
    return Recording(
        MachineConfiguration(memory=4 << 20),
        Guest(CODE, image_format="flat"),
        inputs=[Input(0, 0, InputKind.CONSOLE, b"k")],
        end=end,
    )


@pytest.fixture(scope="module")
def replay() -> Replay:
    return Replay(recording(), spacing_ns=4_000_000)


def number(replay: Replay) -> int:
    return replay.machine.partition.memory.read_u64(0x180000)


def test_calls_in_any_order(replay: Replay) -> None:
    for wanted in (40, 3, 59, 60, 1, 41):
        assert replay.go_to_call(wanted)
        assert (replay.calls, number(replay)) == (wanted, wanted)


def test_calls_of_one_kind(replay: Replay) -> None:
    for wanted in (2, 20, 1):
        assert replay.go_to_call(wanted, Call.NOTIFY_LONG_SPIN_WAIT)
        assert number(replay) == 3 * wanted
    assert not replay.go_to_call(21, Call.NOTIFY_LONG_SPIN_WAIT)
    assert replay.ended


def test_moments_of_every_kind(replay: Replay) -> None:
    assert replay.go_to(CallMoment(12))
    assert number(replay) == 12
    assert replay.go_to(CallMoment(2, int(Call.NOTIFY_LONG_SPIN_WAIT)))
    assert number(replay) == 6
    assert replay.go_to(TimeMoment(2_000_000))
    assert 2_000_000 <= replay.time_ns < 2_000_100
    assert replay.go_to(ConsoleMoment(b"ready"))
    assert number(replay) == 0
    assert not replay.go_to(ConsoleMoment(b"never"))
    assert replay.ended
    assert not replay.go_to(TimeMoment(1 << 60))


def test_who_prepares_sees_all_and_goes_back_too() -> None:
    seen: list[int] = []

    def prepare(machine: Machine) -> None:
        machine.state_holders.append(seen)
        machine.trace.subscribe(lambda event: seen.append(len(seen)), HypercallEvent)

    replay = Replay(recording(), prepare=prepare)
    replay.go_to_call(5)
    replay.go_to_call(3)
    assert seen == [0, 1, 2]


def test_steps_back(replay: Replay) -> None:
    assert replay.go_to_call(50)
    time = replay.time_ns
    for wanted in (49, 48, 47):
        assert replay.step_back()
        assert number(replay) == wanted
    assert replay.step_back(40)
    assert number(replay) == 7
    assert not replay.step_back(40)
    assert (replay.calls, replay.time_ns) == (0, 0)
    assert replay.go_to_call(50)
    assert replay.time_ns == time


def test_times_in_any_order(replay: Replay) -> None:
    seen = {}
    for time in (15_000_000, 2_500_000, 12_500_000, 0, 6_000_001):
        replay.go_to_time(time)
        assert time <= replay.time_ns < time + 100
        seen[time] = (replay.calls, replay.time_ns, bytes(replay.machine.partition.memory.ram))
    for time, state in seen.items():
        replay.go_to_time(time)
        assert (
            replay.calls,
            replay.time_ns,
            bytes(replay.machine.partition.memory.ram),
        ) == state


def test_the_end_is_always_the_same(replay: Replay) -> None:
    end = replay.go_to_end()
    assert (end.reason, replay.calls) == (StopReason.DEBUG_EXIT, 60)
    replay.go_to_time(9_000_000)
    assert not replay.ended
    assert replay.go_to_end() == end
    assert not replay.go_to_call(61)


def test_a_run_that_was_stopped_ends_there() -> None:
    replay = Replay(recording(End(StopReason.INTERRUPTED, 12_000_000, 0, {})))
    end = replay.go_to_end()
    assert (end.reason, end.virtual_ns) == (StopReason.LIMIT, replay.time_ns)
    assert 12_000_000 <= replay.time_ns < 12_000_100


def test_places_that_there_are_not(replay: Replay) -> None:
    with pytest.raises(InputError, match="time -1"):
        replay.go_to_time(-1)
    with pytest.raises(InputError, match="call 0"):
        replay.go_to_call(0)


def test_it_is_interrupted_and_goes_on(replay: Replay) -> None:
    replay.go_to_call(10)
    replay.machine.interrupt()
    with pytest.raises(InterruptedReplayError, match=r"interrupted at 0\.00"):
        replay.go_to_call(40)
    assert not replay.ended
    assert replay.go_to_call(40)
    assert number(replay) == 40
