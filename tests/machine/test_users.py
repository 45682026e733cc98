from tests.guests.assembly import call, put
from tests.guests.kit import Guest, run_machine

from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus
from hypercall.trace.events import ConsoleEvent, HypercallEvent

SPIN = f"{call(0x10008, 1)}\n{put('rax')}\n"


def test_those_who_came_later_are_gone() -> None:
    machine = Guest(SPIN).machine()
    early: list[object] = []
    late: list[object] = []
    machine.on(Call.NOTIFY_LONG_SPIN_WAIT)(early.append)
    machine.trace.subscribe(early.append, HypercallEvent)
    go_back = machine.remember_users()
    machine.on(Call.NOTIFY_LONG_SPIN_WAIT)(late.append)
    machine.trace.subscribe(late.append, HypercallEvent, ConsoleEvent)
    machine.console.output.append(late.append)
    machine.host_poll = lambda seconds: False
    machine.state_holders.append(late)
    machine.between_turns = late.append
    machine.input_source = lambda: bool(late)
    machine.console.on_input = late.append
    machine.debug_channel.on_exchange = lambda sent, taken: late.append(sent)
    machine.on_host_wait = late.append

    @machine.handle(Call.NOTIFY_LONG_SPIN_WAIT)
    def refuse(vp: object, spin_count: int) -> HvStatus:
        return HvStatus.ACCESS_DENIED

    go_back()
    assert machine.host_poll is None
    assert machine.state_holders == []
    assert machine.between_turns is machine.input_source is machine.on_host_wait is None
    assert machine.console.on_input is machine.debug_channel.on_exchange is None
    assert late.append not in machine.console.output
    assert run_machine(machine).words(1) == [HvStatus.SUCCESS]
    assert len(early) == 2
    assert late == []


def test_it_can_be_gone_back_to_again() -> None:
    machine = Guest(SPIN).machine()
    seen: list[object] = []
    machine.on(Call.NOTIFY_LONG_SPIN_WAIT)(seen.append)
    go_back = machine.remember_users()
    go_back()
    machine.on(Call.NOTIFY_LONG_SPIN_WAIT)(seen.append)
    go_back()
    run_machine(machine)
    assert len(seen) == 1
