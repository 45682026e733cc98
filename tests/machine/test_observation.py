import pytest
from tests.guests.assembly import call, put
from tests.machine.small_guests import LOOP, SECOND, flat, machine_with

from hypercall.tlfs.calls import Call
from hypercall.trace.events import Event, HypercallEvent, MachineEvent


def test_on_is_called_for_its_call_alone() -> None:
    machine = machine_with(f"{call(0x10002, 0, 3)}\n{call(0x10008, 9)}\n{call(0x10008, 10)}")
    seen: list[HypercallEvent] = []

    @machine.on(Call.NOTIFY_LONG_SPIN_WAIT)
    def note(event: HypercallEvent) -> None:
        seen.append(event)

    machine.run(SECOND)
    assert [event.record.input_register for event in seen] == [9, 10]
    assert all(event.record.result == 0 for event in seen)


def test_the_call_site_is_where_the_page_was_called() -> None:
    machine = machine_with(
        f"{call(0xBEEF)}\nsite:\nlea rax, [rip + site]\n{put('rax')}\nmov ecx, 0xBEEF\nvmcall"
    )
    sites: list[int | None] = []
    machine.trace.subscribe(lambda event: sites.append(event.position.call_site), HypercallEvent)
    machine.run(SECOND)
    # The second call did not come through the page.
    assert sites == [machine.partition.memory.read_u64(0x1E0000), None]


def test_what_an_observer_raises_comes_out_of_the_run() -> None:
    machine = machine_with(call(0x10008, 1))

    @machine.on(Call.NOTIFY_LONG_SPIN_WAIT)
    def fail(event: HypercallEvent) -> None:
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        machine.run(SECOND)


def test_the_reason_is_an_event() -> None:
    machine = flat(LOOP)
    seen: list[tuple[str, str]] = []

    def note(event: Event) -> None:
        assert isinstance(event, MachineEvent)
        seen.append((event.kind, event.text))

    machine.trace.subscribe(note, MachineEvent)
    machine.run(1000)
    assert seen == [("limit", "the limit of virtual time stopped the guest")]
