"""Arming and disarming, and that a run is repeatable with faults and the same without."""

import random
from pathlib import Path

import pytest
from tests.faults.conftest import FakeHost
from tests.guests.assembly import call, let_others_run, put, start_others
from tests.guests.kit import Guest, run_machine

from hypercall.errors import InputError
from hypercall.faults.calls import CallAttempt
from hypercall.faults.deliveries import Delivery
from hypercall.faults.fault import CallFault, InterruptFault
from hypercall.faults.injector import Faults
from hypercall.machine.machine import Machine
from hypercall.tlfs.calls import Call
from hypercall.tlfs.privileges import Recommendation
from hypercall.tlfs.status import HvStatus
from hypercall.trace.hub import ALL_KINDS
from hypercall.trace.jsonl import JsonLinesWriter

FLUSH = f"{call(0x10002, 0, 3)}\n{put('rax')}\n"
TALK = f"""
    {start_others(1)}
    sti
    mov r12d, 60
talk:
    {call(0x1000B, 0x41, 0b11)}
    {call(0x10002, 0, 3)}
    {let_others_run("listen", 30)}
    sub r12d, 1
    jnz talk
"""
BUSY = ("call,p=0.3,status=TIMEOUT", "interrupt,p=0.3,drop", "interrupt,p=0.2,delay=3us")


def trace_of(seed: int, *faults: str, arm_and_disarm: bool = False) -> str:
    machine = Guest(TALK, cpus=2, configuration={"seed": seed}).machine()
    lines: list[str] = []
    JsonLinesWriter(lines.append, machine.symbol).attach(machine.trace, *ALL_KINDS)
    if arm_and_disarm:
        for fault in (*BUSY, "cpuid=-REMOTE_TLB_FLUSH", "buffer=debug,size=1"):
            with machine.inject(fault):
                pass
    for fault in faults:
        machine.inject(fault)
    run_machine(machine)
    return "".join(lines)


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    first = trace_of(3, *BUSY)
    assert first.count('"kind":"injected"') > 20
    assert trace_of(3, *BUSY) == first
    assert trace_of(4, *BUSY) != first


def test_the_seed_and_the_text_decide_and_nothing_else() -> None:
    random.seed(1)
    first = trace_of(3, *BUSY)
    random.seed(2)
    assert trace_of(3, *BUSY) == first


def test_without_faults_nothing_changes() -> None:
    plain = trace_of(3)
    assert trace_of(3, arm_and_disarm=True) == plain
    # Faults that fit nothing do not change the run either.
    assert trace_of(3, "call,after=1000s,status=5", "interrupt=0x99,drop", "timer,drop") == plain


def test_nothing_is_in_the_way_without_faults() -> None:
    machine = Machine()
    assert machine.partition.injection is None
    with machine.inject("interrupt,drop"), machine.inject("call,status=5"):
        assert machine.partition.injection is not None
    assert machine.partition.injection is None
    assert machine.faults.armed == []


def test_calls_that_no_fault_concerns_keep_their_handlers(host: FakeHost) -> None:
    faults = Faults(host)
    armed = faults.inject("call=PostMessage,status=5")
    assert host.interposed is not None
    armed.disarm()
    armed.disarm()
    assert host.interposed is None


def test_a_fault_as_a_context_manager() -> None:
    """Armed and disarmed while the guest runs, between two calls."""
    machine = Guest(FLUSH * 3).machine()
    seen = []
    machine.on(Call.FLUSH_VIRTUAL_ADDRESS_SPACE)(lambda event: machine.pause())
    machine.run()
    with machine.faults.inject(CallFault(status=HvStatus.TIMEOUT)) as fault:
        machine.run()
        seen.append(fault.struck)
    machine.run()
    assert run_machine(machine).words(3) == [0, HvStatus.TIMEOUT, 0]
    assert seen == [1]


def test_observers_are_told_of_what_could_be_struck() -> None:
    machine = Guest(TALK, cpus=2).machine()
    calls: list[CallAttempt] = []
    deliveries: list[Delivery] = []
    end = machine.faults.observe(calls.append, deliveries.append)
    run_machine(machine)
    assert len(calls) == 120
    assert {(each.plan.call.code, each.vp_index, each.vtl) for each in calls} == {
        (2, 0, 0),
        (0xB, 0, 0),
    }
    assert {(each.kind, each.number, each.vp_index) for each in deliveries} >= {
        ("interrupt", 0x41, 0),
        ("interrupt", 0x41, 1),
    }
    end()
    assert machine.partition.injection is None


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("call,vp=4,status=5", "there is no virtual processor 4: give an index below 1"),
        ("interrupt,vp=1,drop", "there is no virtual processor 1"),
        ("timer,vtl=3,drop", "there is no virtual trust level 3: give one below 3"),
    ],
)
def test_what_the_machine_does_not_have(host: FakeHost, fault: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Faults(host).inject(fault)


def test_equal_faults_draw_numbers_of_their_own(host: FakeHost) -> None:
    faults = Faults(host)
    first, second = (faults.inject(InterruptFault()) for _ in range(2))
    assert first.fault == second.fault
    texts = ["interrupt,p=0.5,drop"] * 2
    one, other = (faults.inject(text) for text in texts)
    assert [one.chooses() for _ in range(64)] != [other.chooses() for _ in range(64)]


def trace_from(machine: Machine) -> str:
    lines: list[str] = []
    end = JsonLinesWriter(lines.append, machine.symbol).attach(machine.trace, *ALL_KINDS)
    run_machine(machine)
    end()
    return "".join(lines)


def test_a_snapshot_has_the_faults_with_their_counts_and_numbers() -> None:
    machine = Guest(TALK, cpus=2).machine()
    armed = [machine.inject(fault) for fault in (*BUSY, "timer,drop", "interrupt=0x99,drop")]
    machine.run(60_000)
    before = [(each.seen, each.struck) for each in armed]
    assert before[0][1] > 0
    snapshot = machine.snapshot()
    first = trace_from(machine)
    assert first.count('"kind":"injected"') > 10
    after = [(each.seen, each.struck) for each in armed]
    machine.restore(snapshot)
    assert [(each.seen, each.struck) for each in armed] == before
    assert trace_from(machine) == first
    assert [(each.seen, each.struck) for each in armed] == after
    snapshot.close()


def test_a_snapshot_in_a_file_has_them_too(tmp_path: Path) -> None:
    everything = (*BUSY, "timer,drop", "cpuid=-REMOTE_TLB_FLUSH", "buffer=debug,size=5")
    machine = Guest(TALK, cpus=2).machine()
    armed = [machine.inject(fault) for fault in everything]
    machine.run(60_000)
    snapshot = machine.snapshot()
    snapshot.save(tmp_path / "snapshot")
    snapshot.close()
    other = Machine.from_snapshot(tmp_path / "snapshot")
    assert [str(each) for each in other.faults.armed] == [str(each) for each in armed]
    assert trace_from(other) == trace_from(machine)
    assert [(each.seen, each.struck) for each in other.faults.armed] == [
        (each.seen, each.struck) for each in armed
    ]
    leaf = other.partition.hypervisor_leaves[0x40000004][0]
    assert not leaf & Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH
    assert not other.debug_channel.post(b"123456")
    assert other.faults.armed[-1].struck == 1
    other.faults.disarm_all()
    truth = other.configuration.partition_configuration()
    assert other.partition.configuration == truth


def test_a_snapshot_arms_and_disarms_as_it_was() -> None:
    machine = Guest(FLUSH * 2 + TALK, cpus=2).machine()
    early = machine.inject("call=FlushVirtualAddressSpace,status=TIMEOUT")
    hidden = machine.inject("cpuid=-REMOTE_TLB_FLUSH")
    snapshot = machine.snapshot()
    early.disarm()
    hidden.disarm()
    late = machine.inject("call=SendSyntheticClusterIpi,status=NO_RESOURCES")
    machine.inject("interrupt,drop")
    assert run_machine(machine).words(2) == [0, 0]
    assert late.struck > 0
    machine.restore(snapshot)
    assert machine.faults.armed == [early, hidden]
    assert machine.partition.injection is None
    run = run_machine(machine)
    assert run.words(2) == [HvStatus.TIMEOUT] * 2
    assert run.interrupts(0)[0x41] > 0
    # One that the snapshot has taken away may still be at the end of its block.
    late.disarm()
    early.disarm()
    assert machine.faults.armed == [hidden]
    snapshot.close()
