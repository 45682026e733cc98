"""The oracle answers single calls with result, output and effects."""

import pytest

from hypercall.abi.given_registers import GivenRegisters
from hypercall.abi.outcome import OutcomeKind
from hypercall.errors import InputError
from hypercall.oracle import OUTPUT_GPA, Oracle
from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus


def test_an_ipi_names_its_targets() -> None:
    oracle = Oracle(cpus=4)
    answer = oracle.call(Call.SEND_SYNTHETIC_CLUSTER_IPI, vector=0xFB, processor_mask=0b1010)
    assert answer.status is HvStatus.SUCCESS
    changed = [effect.arguments[0].index for effect in answer.effects]
    assert changed == [1, 3]


def test_a_flush_names_targets_and_ranges() -> None:
    oracle = Oracle(cpus=2)
    answer = oracle.call(
        "HvFlushVirtualAddressList",
        flags=2,
        processor_mask=0b10,
        elements=(0x7000_0003).to_bytes(8, "little"),
    )
    assert answer.status is HvStatus.SUCCESS
    assert answer.reps_completed == 1
    (flush,) = [effect.arguments[0] for effect in answer.effects]
    assert [vp.index for vp in flush.targets] == [1]
    assert flush.ranges == ((0x7000_0000, 4),)


def test_the_readings_differ() -> None:
    answers = {
        like: Oracle(like=like).call(Call.SEND_SYNTHETIC_CLUSTER_IPI, vector=1, processor_mask=1)
        for like in ("hyperv", "kvm")
    }
    assert answers["hyperv"].status is HvStatus.INVALID_PARAMETER
    assert answers["kvm"].status is HvStatus.INVALID_HYPERCALL_INPUT


def test_output_in_memory_is_reported_and_written() -> None:
    oracle = Oracle()
    answer = oracle.call(Call.QUERY_CAPABILITIES)
    assert answer.status is HvStatus.SUCCESS
    assert answer.output == oracle.partition.memory.read(OUTPUT_GPA, 8)
    assert answer.output != bytes(8)


def test_user_mode_gets_an_undefined_opcode() -> None:
    answer = Oracle().call_registers(0x10008, registers=GivenRegisters(cpl=3))
    assert answer.kind is OutcomeKind.UNDEFINED_OPCODE
    assert answer.result is None
    assert answer.status is None


def test_fast_output_lands_in_the_registers() -> None:
    oracle = Oracle(cpus=2)
    # One APIC id after a header of 16 bytes: input fills RDX, R8 and XMM0, output is in XMM1.
    registers = GivenRegisters(xmm=(1).to_bytes(8, "little"))
    answer = oracle.call_registers(
        1 << 32 | 1 << 16 | int(Call.GET_VP_INDEX_FROM_APIC_ID),
        (1 << 64) - 1,
        0,
        registers=registers,
    )
    assert answer.result == 1 << 32
    assert int.from_bytes(registers.xmm[16:20], "little") == 1


@pytest.mark.parametrize("call", ["HvNoSuchCall", 0x4242])
def test_an_unknown_call_is_bad_input(call: str | int) -> None:
    with pytest.raises(InputError, match="hypercall calls"):
        Oracle().call(call)


def test_an_unknown_field_is_bad_input_that_names_the_fields() -> None:
    with pytest.raises(InputError, match="processor_mask"):
        Oracle().call(Call.SEND_SYNTHETIC_CLUSTER_IPI, vectr=3)


def test_an_unknown_caller_is_bad_input() -> None:
    with pytest.raises(InputError, match="virtual processor 7"):
        Oracle().call(Call.NOTIFY_LONG_SPIN_WAIT, vp=7)
