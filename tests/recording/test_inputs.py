import pytest
from tests.guests.assembly import call, leave, put
from tests.guests.kit import Guest

from hypercall.errors import InputError
from hypercall.machine.machine import Machine
from hypercall.partition.debug_channel import ConnectionAddresses
from hypercall.recording.inputs import Input, InputKind, InputPlayer, InputRecorder
from hypercall.trace.events import Event

SECOND = 1_000_000_000

# Reads bytes from the serial port until a 0 comes, and writes each one back, with a call for each.
ECHO = f"""
next:
    mov dx, 0x3FD
    in al, dx
    test al, 1
    jz next
    mov dx, 0x3F8
    in al, dx
    movzx ebx, al
    {put("rbx")}
    {call(8)}
    test ebx, ebx
    jnz next
    {leave()}
"""


def echo() -> Machine:
    return Guest(ECHO).machine()


def observe(machine: Machine) -> list[str]:
    events: list[str] = []
    machine.trace.subscribe(lambda event: events.append(repr(event)))
    return events


def test_what_was_typed_comes_again_at_the_same_moments() -> None:
    machine = echo()
    events = observe(machine)
    recorder = InputRecorder(machine)
    polls = 0

    def poll(seconds: float) -> bool:
        nonlocal polls
        polls += 1
        if polls in (2, 3):
            machine.console.feed(b"ab" if polls == 2 else b"\0")
            return True
        return False

    machine.host_poll = poll
    machine.run(SECOND)
    assert [(each.kind, each.data) for each in recorder.inputs] == [
        (InputKind.CONSOLE, b"ab"),
        (InputKind.CONSOLE, b"\0"),
    ]
    assert 0 < recorder.inputs[0].time_ns < recorder.inputs[1].time_ns
    again = echo()
    seen = observe(again)
    player = InputPlayer(again, recorder.inputs)
    assert player.left == 2
    again.run(SECOND)
    assert player.left == 0
    assert seen == events


def test_what_a_callback_types_comes_again() -> None:
    machine = echo()
    events = observe(machine)
    recorder = InputRecorder(machine)
    left = [b"\0", b"c", b"b"]
    machine.console.feed(b"a")

    def answer(event: Event) -> None:
        if left:
            machine.console.feed(left.pop())

    machine.trace.subscribe(answer)
    machine.run(SECOND)
    assert left == []
    again = echo()
    seen = observe(again)
    InputPlayer(again, recorder.inputs)
    again.run(SECOND)
    assert seen == events


def test_a_snapshot_holds_how_far_the_inputs_are() -> None:
    machine = echo()
    InputPlayer(
        machine,
        [
            Input(0, 0, InputKind.CONSOLE, b"ab"),
            Input(100_000, 100_000, InputKind.CONSOLE, b"\0"),
        ],
    )
    events = observe(machine)
    machine.run(50_000)
    del events[:]
    snapshot = machine.snapshot()
    machine.run(SECOND)
    first = list(events)
    machine.restore(snapshot)
    del events[:]
    machine.run(SECOND)
    assert events == first


def test_exchanges_with_a_debugger_come_again() -> None:
    machine = echo()
    recorder = InputRecorder(machine)
    channel = machine.debug_channel
    channel.post(b"from the guest")
    channel.connect(ConnectionAddresses(1, 2, 3, 4))
    channel.send(b"to the guest")
    channel.receive(4)
    again = echo()
    again.debug_channel.post(b"from the guest")
    InputPlayer(again, recorder.inputs).give()
    assert again.debug_channel.addresses == ConnectionAddresses(1, 2, 3, 4)
    assert again.debug_channel.retrieve(100) == b"to the guest"
    assert again.debug_channel.receive() == b" the guest"


def test_time_that_passed_on_the_host_passes_again() -> None:
    machine = echo()
    waits = [Input(0, time, InputKind.WAIT, data) for time, data in ((0, b"5000"), (9000, b"1"))]
    InputPlayer(machine, waits)
    assert machine.input_source is not None
    assert machine.input_source()
    assert machine.time_ns == 5000
    assert not machine.input_source()


def test_json_and_back() -> None:
    given = Input(5, 6, InputKind.DEBUG_SENT, b"\xff\0")
    assert Input.from_json(given.to_json()) == given


@pytest.mark.parametrize(
    "described",
    [
        None,
        [],
        [1, 2, "console"],
        [1, 2, "other", ""],
        ["1", 2, "console", ""],
        [1, 2, "console", "!"],
        [True, 2, "console", 5],
        {},
    ],
)
def test_damaged_inputs(described: object) -> None:
    with pytest.raises(InputError, match="damaged"):
        Input.from_json(described)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (InputKind.WAIT, b"-5"),
        (InputKind.WAIT, b"9" * 30),
        (InputKind.DEBUG_TAKEN, b"x"),
        (InputKind.DEBUG_CONNECTED, b"[1]x"),
        (InputKind.DEBUG_CONNECTED, b'["a", 1, 2, 3]'),
        (InputKind.DEBUG_CONNECTED, b"[1, 2, 3, 4, 5]"),
    ],
)
def test_data_that_mean_nothing(kind: InputKind, data: bytes) -> None:
    player = InputPlayer(echo(), [Input(0, 0, kind, data)])
    with pytest.raises(InputError, match="damaged"):
        player.give()
