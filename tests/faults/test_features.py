"""Lies of CPUID as guest code meets them."""

import pytest
from tests.guests.assembly import call, catch, put, put_word
from tests.guests.hypercalls import Caller, Row
from tests.guests.kit import Guest, run_machine
from tests.guests.layout import FAULT

from hypercall.errors import InputError
from hypercall.faults.fault import CpuidFault
from hypercall.faults.features import Lies, refused_calls, with_bit
from hypercall.faults.grammar import parse_fault
from hypercall.machine.machine import Machine
from hypercall.partition.configuration import PartitionConfiguration
from hypercall.tlfs.privileges import NestedFeature, Privilege, Recommendation

FLUSH = call(0x10002, 0, 3)
FLUSH_BIT = int(Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH)


def leaf(number: int) -> str:
    return f"mov eax, {number}\nxor ecx, ecx\ncpuid\n{put('rax', 'rbx', 'rdx')}"


def lying(source: str, *faults: str, **configuration: object) -> list[int]:
    machine = Guest(source, configuration=configuration).machine()
    for fault in faults:
        machine.inject(fault)
    return run_machine(machine).words(8)


def test_a_privilege_that_is_shown_and_refused() -> None:
    source = f"{leaf(0x40000003)}\nmov ecx, 0x40000002\n" + catch("behind", "rdmsr")
    source += f"\n{put_word(FAULT)}"
    bit = int(Privilege.ACCESS_VP_INDEX)
    honest, lie = lying(source), lying(source, "cpuid=+ACCESS_VP_INDEX")
    assert honest[0] == lie[0]
    assert lie[0] & bit
    assert (honest[3], lie[3]) == ((1 << 64) - 1, 13)


def test_a_privilege_of_a_call_that_is_shown_and_refused() -> None:
    for fault, status in ((), 5), (("cpuid=+POST_MESSAGES",), 6):
        found = lying(f"{leaf(0x40000003)}\n{call(0x5C, 0x210000)}\n{put('rax')}", *fault)
        assert found[1] & int(Privilege.POST_MESSAGES) >> 32
        assert found[3] == status


def test_one_that_is_hidden_and_granted() -> None:
    source = f"{leaf(0x40000003)}\nmov ecx, 0x40000002\nrdmsr\n{put('rax')}"
    found = lying(source, "cpuid=-ACCESS_VP_INDEX")
    assert not found[0] & int(Privilege.ACCESS_VP_INDEX)
    assert found[3] == 0


@pytest.mark.parametrize("like", ["hyperv", "kvm"])
def test_a_recommendation_that_is_shown_and_refused(like: str) -> None:
    source = f"{leaf(0x40000004)}\n{FLUSH}\n{put('rax')}"
    found = lying(source, "cpuid=+REMOTE_TLB_FLUSH", like=like)
    assert found[0] & FLUSH_BIT
    assert found[3] == 6
    assert lying(source, like=like)[3] == 0


def test_a_recommendation_that_is_hidden_and_granted() -> None:
    found = lying(f"{leaf(0x40000004)}\n{FLUSH}\n{put('rax')}", "cpuid=-REMOTE_TLB_FLUSH")
    assert not found[0] & FLUSH_BIT
    assert found[3] == 0


def test_a_feature_that_is_shown_and_refused() -> None:
    """Without it a call with input in XMM registers raises #UD."""

    def prepare(machine: Machine) -> None:
        machine.inject("cpuid=+XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT")

    row = Row(0x1_0001_0003, input=0, output=3, xmm=(0, 0x400000))
    assert Caller().make(row).only.vector is None
    assert Caller(prepare=prepare).make(row).only.vector == 6


def test_the_register_of_privileges_tells_the_same_lie() -> None:
    machine = Machine()
    true = machine.partition.hypervisor_leaves
    with machine.inject("cpuid=-ACCESS_VP_INDEX"):
        shown = machine.partition.hypervisor_leaves
        assert shown[0x40000003][0] == true[0x40000003][0] & ~int(Privilege.ACCESS_VP_INDEX)
    assert machine.partition.hypervisor_leaves == true


def test_reads_are_counted_and_the_truth_comes_back() -> None:
    machine = Guest(f"{leaf(0x40000004)}\n{leaf(0x40000004)}\n{leaf(0x40000003)}").machine()
    fault = machine.inject("cpuid=-REMOTE_TLB_FLUSH")
    other = machine.inject("cpuid=+CREATE_PORT")
    run_machine(machine)
    assert (fault.struck, other.struck) == (2, 1)
    truth = machine.configuration.partition_configuration()
    fault.disarm()
    other.disarm()
    assert machine.partition.configuration == truth


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("cpuid=-CREATE_PORT", "the partition has no CREATE_PORT to hide"),
        ("cpuid=+RELAXED_TIMING", "no call depends on RELAXED_TIMING"),
    ],
)
def test_what_would_be_no_lie(fault: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Machine().inject(fault)


def test_words_that_are_not_there() -> None:
    configuration = PartitionConfiguration()
    nested = NestedFeature.DIRECT_VIRTUAL_FLUSH
    assert with_bit(configuration, "nested_features", nested, False) is configuration
    assert with_bit(configuration, "nested_features", nested, True).nested_features == nested


def test_refused_calls() -> None:
    fault = parse_fault("cpuid=+SYNTHETIC_CLUSTER_IPI")
    assert isinstance(fault, CpuidFault)
    assert refused_calls(fault) == [0xB, 0x15]
    assert Lies(PartitionConfiguration(), []).shown == PartitionConfiguration()
