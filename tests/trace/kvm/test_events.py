from collections.abc import Iterable

import pytest
from tests.trace.kvm.recordings import Entry, ftrace

from hypercall.abi.decoder import decode_call
from hypercall.tlfs.calls import Call
from hypercall.tlfs.msrs import SyntheticMsr
from hypercall.trace.events import (
    Event,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MachineEvent,
    MsrEvent,
    Position,
)
from hypercall.trace.kvm.events import EventBuilder
from hypercall.trace.kvm.scan import Calls, TextSource
from hypercall.trace.kvm.tracepoints import words


def built(entries: Iterable[Entry]) -> list[Event]:
    source, calls = TextSource(words()), Calls(collect=True)
    source.feed(ftrace(entries, digits=9), calls)
    calls.finish()
    assert source.unreadable == 0
    builder = EventBuilder()
    return [*builder.add(calls.take(), None), *builder.end()]


def called(
    code: int, *siblings: tuple[str, dict[str, int]], result: int | None = 0, **values: int
) -> HypercallEvent:
    """Return the event of one call on virtual processor 1."""
    entries = [Entry(1000, 9, 0, "kvm_hv_hypercall", {"code": code, **values}, "CPU 1/KVM")]
    entries += [Entry(1100, 9, 0, name, fields, "CPU 1/KVM") for name, fields in siblings]
    if result is not None:
        entries.append(Entry(1500, 9, 0, "kvm_hv_hypercall_done", {"result": result}, "CPU 1/KVM"))
    (event,) = built(entries)
    assert isinstance(event, HypercallEvent)
    return event


def arguments(event: HypercallEvent) -> dict[str, str]:
    return {each.name: each.text for each in decode_call(event.record).arguments}


def test_a_fast_call_has_its_registers() -> None:
    event = called(Call.SEND_SYNTHETIC_CLUSTER_IPI, fast=1, ingpa=0xFB, outgpa=5)
    record = event.record
    assert event.position == Position(1000, 1, 0, 0)
    assert (record.vp_index, record.vtl, record.control) == (1, 0, 0x1000B)
    assert (record.entered_at, record.left_at, record.result, record.fault) == (1000, 1500, 0, None)
    assert arguments(event) == {"vector": "0xfb", "target_vtl": "own", "processor_mask": "{0,2}"}


def test_the_control_word_is_rebuilt() -> None:
    event = called(Call.FLUSH_VIRTUAL_ADDRESS_LIST_EX, var_cnt=2, rep_cnt=5, rep_idx=3)
    assert event.record.control == 0x14 | 2 << 17 | 5 << 32 | 3 << 48


def test_a_call_in_memory_shows_its_addresses() -> None:
    event = called(Call.POST_MESSAGE, ingpa=0x7000, outgpa=0)
    assert event.record.input == b""
    assert arguments(event) == {"input_gpa": "0x7000"}


def test_a_flush_has_what_its_sibling_tells() -> None:
    sibling = ("kvm_hv_flush_tlb", {"processor_mask": 6, "address_space": 0x1000, "flags": 0})
    event = called(Call.FLUSH_VIRTUAL_ADDRESS_SPACE, sibling, ingpa=0x7000)
    assert arguments(event) == {
        "address_space": "0x1000",
        "flags": "0",
        "processor_mask": "{1-2}",
    }


def test_the_ranges_of_a_list_are_not_known() -> None:
    sibling = ("kvm_hv_flush_tlb", {"processor_mask": 1, "address_space": 0x1000, "flags": 0})
    event = called(Call.FLUSH_VIRTUAL_ADDRESS_LIST, sibling, rep_cnt=7, result=7 << 32)
    assert arguments(event)["gva_ranges"] == "[and 7 more]"
    assert decode_call(event.record).reps_completed == 7


def test_a_set_without_its_banks() -> None:
    sibling = ("kvm_hv_flush_tlb_ex", {"valid_bank_mask": 3, "address_space": 0, "flags": 2})
    event = called(Call.FLUSH_VIRTUAL_ADDRESS_SPACE_EX, sibling, var_cnt=2)
    shown = arguments(event)
    assert shown["valid_banks_mask"] == "0x3"
    assert "banks" not in shown
    assert shown["truncated"] == "32 bytes"


def test_a_fast_call_with_xmm_registers_has_what_its_sibling_tells() -> None:
    sibling = ("kvm_hv_flush_tlb", {"processor_mask": 6, "address_space": 0x1000, "flags": 0})
    known = called(Call.FLUSH_VIRTUAL_ADDRESS_SPACE, sibling, fast=1, ingpa=0x1000)
    assert arguments(known)["processor_mask"] == "{1-2}"
    unknown = called(Call.FLUSH_VIRTUAL_ADDRESS_SPACE, fast=1, ingpa=0x1000)
    assert arguments(unknown) == {
        "address_space": "0x1000",
        "flags": "0",
        "truncated": "16 bytes",
    }


def test_interrupts_in_memory() -> None:
    event = called(
        Call.SEND_SYNTHETIC_CLUSTER_IPI,
        ("kvm_hv_send_ipi", {"vector": 0xF3, "processor_mask": 8}),
    )
    assert arguments(event) == {"vector": "0xf3", "target_vtl": "?", "processor_mask": "{3}"}
    event = called(
        Call.SEND_SYNTHETIC_CLUSTER_IPI_EX,
        ("kvm_hv_send_ipi_ex", {"vector": 0xF3, "format": 1, "valid_bank_mask": 0}),
    )
    assert arguments(event)["vector"] == "0xf3"
    assert arguments(event)["processors"] == "all"
    assert arguments(event)["target_vtl"] == "?"


def test_the_target_of_a_fast_interrupt_is_what_the_guest_passed() -> None:
    sibling = ("kvm_hv_send_ipi", {"vector": 0xF3, "processor_mask": 8})
    first = 0xF3 | 0x11 << 32
    event = called(Call.SEND_SYNTHETIC_CLUSTER_IPI, sibling, fast=1, ingpa=first, outgpa=8)
    assert arguments(event)["target_vtl"] == "VTL1"
    assert event.record.unknown == ()
    sibling = ("kvm_hv_send_ipi_ex", {"vector": 0xF3, "format": 1, "valid_bank_mask": 0})
    event = called(Call.SEND_SYNTHETIC_CLUSTER_IPI_EX, sibling, fast=1, ingpa=first, outgpa=1)
    assert arguments(event)["target_vtl"] == "VTL1"


def test_a_sibling_of_another_call_is_not_its_input() -> None:
    sibling = ("kvm_hv_flush_tlb", {"processor_mask": 6})
    assert called(Call.POST_MESSAGE, sibling).record.input == b""
    assert called(0xBEEF, sibling).record.input == b""


def test_an_unknown_call_and_an_unknown_outcome() -> None:
    event = called(0xBEEF, result=None, ingpa=1, outgpa=2)
    assert event.record.declaration is None
    assert (event.record.result, event.record.fault) == (None, "?")
    assert arguments(event) == {"input": "0x1", "output": "0x2"}


def of(name: str, **values: int) -> Event | None:
    events = built([Entry(5, 9, 0, name, values, "CPU 2/KVM")])
    return events[0] if events else None


WHERE = Position(5, 2, 0, 0)


def test_interrupts_and_msrs() -> None:
    assert of("kvm_inj_virq", vector=0xF3) == InterruptEvent(WHERE, 0xF3)
    assert of("kvm_msr", write=1, ecx=0x40000001, data=7) == MsrEvent(WHERE, 0x40000001, 7, True)
    assert of("kvm_msr", ecx=0x10, data=7, exception=1) == MsrEvent(WHERE, 0x10, 7, False, True)
    assert of("kvm_hv_synic_set_msr", vcpu_id=2, msr=0x40000084, data=1) == MsrEvent(
        WHERE, SyntheticMsr.EOM, 1, True
    )
    assert of("kvm_hv_stimer_set_config", vcpu_id=2, timer_index=3, config=9) == MsrEvent(
        WHERE, SyntheticMsr.STIMER3_CONFIG, 9, True
    )
    assert of("kvm_hv_stimer_set_count", vcpu_id=2, timer_index=1, count=1 << 63) == MsrEvent(
        WHERE, SyntheticMsr.STIMER1_COUNT, 1 << 63, True
    )
    assert of("kvm_hv_syndbg_set_msr", vcpu_id=2, msr=0x400000F1, data=3) == MsrEvent(
        WHERE, 0x400000F1, 3, True
    )
    assert of("kvm_hv_syndbg_get_msr", vcpu_id=2, msr=0x400000F1, data=3) == MsrEvent(
        WHERE, 0x400000F1, 3, False
    )


def test_a_write_by_the_host_is_not_the_guests() -> None:
    event = of("kvm_hv_synic_set_msr", vcpu_id=2, msr=0x40000080, data=1, host=1)
    assert event == MachineEvent(WHERE, "host-msr", "the host sets MSR 0x40000080 to 0x1")


def test_a_write_that_two_tracepoints_tell_is_one() -> None:
    events = built(
        [
            Entry(5, 9, 0, "kvm_hv_synic_set_msr", {"vcpu_id": 0, "msr": 0x40000084, "data": 1}),
            Entry(6, 9, 0, "kvm_msr", {"write": 1, "ecx": 0x40000084, "data": 1}),
            Entry(7, 9, 0, "kvm_msr", {"write": 1, "ecx": 0x40000084, "data": 1}),
        ]
    )
    assert [event.position.time_ns for event in events] == [5, 7]


@pytest.mark.parametrize(
    ("name", "values", "kind", "text"),
    [
        ("kvm_hv_notify_acked_sint", {"sint": 2}, "sint-acknowledged", "SINT 2 is acknowledged"),
        (
            "kvm_hv_synic_set_irq",
            {"sint": 2, "vector": 0xF3, "ret": 1},
            "sint-raised",
            "SINT 2 raises the vector 0xf3",
        ),
        (
            "kvm_hv_synic_set_irq",
            {"sint": 2, "vector": -1, "ret": -2},
            "sint-raised",
            "SINT 2 raises the vector -0x1, which fails with -2",
        ),
        ("kvm_hv_synic_send_eoi", {"vector": 5}, "sint-eoi", "end of the interrupt 0x05"),
        (
            "kvm_hv_stimer_start_one_shot",
            {"timer_index": 1, "time_now": 5, "count": 6},
            "timer-started",
            "timer 1 starts, at 5, for 6 of the reference time",
        ),
        (
            "kvm_hv_stimer_start_periodic",
            {"timer_index": 1, "time_now": 5, "exp_time": 6},
            "timer-started",
            "timer 1 starts, at 5, with the period's end at 6 of the reference time",
        ),
        ("kvm_hv_stimer_callback", {"timer_index": 1}, "timer-due", "timer 1 is due"),
        ("kvm_hv_stimer_cleanup", {"timer_index": 1}, "timer-stopped", "timer 1 is stopped"),
        (
            "kvm_hv_stimer_expiration",
            {"timer_index": 1, "direct": 1},
            "timer-expired",
            "timer 1 expires: its interrupt is sent",
        ),
        (
            "kvm_hv_stimer_expiration",
            {"timer_index": 1, "msg_send_result": -11},
            "timer-expired",
            "timer 1 expires: its message cannot be sent (-11)",
        ),
    ],
)
def test_what_has_no_event_of_its_own(
    name: str, values: dict[str, int], kind: str, text: str
) -> None:
    assert of(name, vcpu_id=2, **values) == MachineEvent(WHERE, kind, text)


def test_halts() -> None:
    vmx = built([Entry(5, 9, 0, "kvm_exit", {"exit_reason": 12, "isa": 1, "vcpu_id": 2})])
    svm = built([Entry(5, 9, 0, "kvm_exit", {"exit_reason": 120, "isa": 2, "vcpu_id": 2})])
    assert vmx == svm == [HaltEvent(WHERE, True)]
    assert built([Entry(5, 9, 0, "kvm_exit", {"exit_reason": 18, "isa": 1})]) == []
    assert of("kvm_vcpu_wakeup", ns=7) == HaltEvent(WHERE, False)


def test_the_place_is_that_of_the_last_exit_of_the_processor() -> None:
    events = built(
        [
            Entry(1, 9, 0, "kvm_exit", {"vcpu_id": 2, "guest_rip": 0xABC}, "t"),
            Entry(2, 9, 0, "kvm_msr", {"ecx": 1}, "t"),
            Entry(3, 9, 0, "kvm_hv_synic_set_msr", {"vcpu_id": 2, "msr": 0x40000084}, "t"),
            Entry(4, 9, 0, "kvm_hv_synic_set_irq", {"vcpu_id": 7, "vector": 9}, "t"),
            Entry(5, 9, 0, "kvm_entry", {"vcpu_id": 2}, "t"),
            Entry(6, 9, 0, "kvm_msr", {"ecx": 1}, "t"),
        ]
    )
    assert [(each.position.vp_index, each.position.rip) for each in events] == [
        (2, 0xABC),
        (2, 0xABC),
        (7, 0),
        (2, 0),
    ]


def test_threads_of_which_nothing_is_known_are_numbered_in_gaps() -> None:
    builder = EventBuilder()
    source, calls = TextSource(words()), Calls(collect=True)
    source.feed(
        ftrace(
            [
                Entry(1, 10, 0, "kvm_inj_virq", {}, "CPU 0/KVM"),
                Entry(2, 50, 0, "kvm_inj_virq", {}, "one"),
                Entry(3, 60, 0, "kvm_inj_virq", {}, "two"),
                Entry(4, 50, 0, "kvm_inj_virq", {}, "one"),
            ]
        ),
        calls,
    )
    events = list(builder.add(calls.take(), None))
    assert [each.position.vp_index for each in events] == [0, 1, 2, 1]
    assert builder.numbered == {50: 1, 60: 2}


def test_events_wait_for_calls_that_began_before_them() -> None:
    builder = EventBuilder()
    source, calls = TextSource(words()), Calls(collect=True)
    source.feed(ftrace([Entry(1000, 1, 0, "kvm_hv_hypercall", {"code": 2})]), calls)
    source.feed(ftrace([Entry(2000, 2, 0, "kvm_inj_virq", {})]), calls)
    assert list(builder.add(calls.take(), calls.frontier())) == []
    source.feed(ftrace([Entry(3000, 1, 0, "kvm_hv_hypercall_done", {})]), calls)
    events = list(builder.add(calls.take(), calls.frontier()))
    assert [event.position.time_ns for event in events] == [1000, 2000]
