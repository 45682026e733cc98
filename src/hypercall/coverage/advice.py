"""What a better guest would do, each with what was seen that says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hypercall.coverage.coverage import Coverage, call_name, needs
from hypercall.coverage.marks import Mark
from hypercall.tlfs.calls import Call
from hypercall.tlfs.cpuid import FEATURES_LEAF, RECOMMENDATIONS_LEAF
from hypercall.tlfs.msrs import SyntheticMsr, msr_name
from hypercall.tlfs.privileges import Feature, Privilege, Recommendation

_MANY = 16


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that a better guest would do.

    Attributes:
        about: the name of the enlightenment, MSR or call.
        text: a sentence or two: what was seen, and what to do.
    """

    about: str
    text: str


def advice_on(coverage: Coverage) -> list[Advice]:
    """Return what a better guest would do, the most useful first; empty where nothing is known."""
    if not (coverage.calls or coverage.msrs or coverage.leaves):
        return []
    return [
        *_refused(coverage),
        *_unread(coverage),
        *_unused(coverage),
        *_without_offer(coverage),
        *_poor_use(coverage),
    ]


def _refused(coverage: Coverage) -> Iterator[Advice]:
    for index, uses in sorted(coverage.msrs.items()):
        if uses.refused:
            needed = needs(index)
            reason = f"it needs {needed}" if needed else "no such MSR is known"
            yield Advice(
                msr_name(index),
                f"{_times(uses.refused)} an access to this MSR raised #GP: {reason}. Look at CPUID"
                " before using it.",
            )
    for code, uses in sorted(coverage.calls.items()):
        if uses.refused and uses.refused == uses.count:
            yield Advice(
                call_name(code),
                ("The only call was" if uses.count == 1 else f"All {uses.count:,} calls were")
                + " refused; a trace has the status and the fields.",
            )


def _unread(coverage: Coverage) -> Iterator[Advice]:
    if not coverage.calls and not coverage.msrs:
        return
    for leaf, what in (
        (FEATURES_LEAF, "privileges and features"),
        (RECOMMENDATIONS_LEAF, "recommendations"),
    ):
        if not coverage.read(leaf):
            yield Advice(
                f"CPUID {leaf:#x}",
                f"The guest uses the interface without reading the leaf of {what}: what it uses may"
                " not be there on another host.",
            )


def _offered_and_unused(coverage: Coverage, bit: Privilege | Feature | Recommendation) -> bool:
    row = coverage.row(str(bit.name))
    return row.offered is True and not row.used


def _unused(coverage: Coverage) -> Iterator[Advice]:
    msrs = coverage.msrs
    several = coverage.cpus > 1
    reads = msrs.get(SyntheticMsr.TIME_REF_COUNT)
    count = 0 if reads is None else reads.count - reads.refused
    tsc_page = SyntheticMsr.REFERENCE_TSC in coverage.pages
    if coverage.row("ACCESS_PARTITION_REFERENCE_TSC").offered and not tsc_page:
        seen = f"; it read TIME_REF_COUNT {count:,} times, each of them an exit" if count else ""
        yield Advice(
            "ACCESS_PARTITION_REFERENCE_TSC",
            f"The guest never enables the reference TSC page{seen}. The page tells the same time"
            " without an exit.",
        )
    simple = (
        (
            several,
            Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH,
            "The hypervisor recommends calls for flushes of other processors, and the guest made"
            " none in this run: one that interrupts them instead waits for those that do not run.",
        ),
        (
            several,
            Recommendation.SYNTHETIC_CLUSTER_IPI,
            "The hypervisor recommends a call for interrupts between processors, and the guest"
            " made none in this run: one that writes its APIC does so once for each receiver.",
        ),
        (
            True,
            Recommendation.MSRS_FOR_APIC_ACCESS,
            "The hypervisor recommends MSRs for EOI, ICR and TPR, and the guest uses none of them:"
            " each access to the APIC's page costs more.",
        ),
        (
            True,
            Privilege.ACCESS_SYNTHETIC_TIMER_REGS,
            "The guest uses no synthetic timer: they need no calibration and can be set by one"
            " access.",
        ),
        (
            True,
            Privilege.ACCESS_FREQUENCY_REGS,
            "The guest reads neither TSC_FREQUENCY nor APIC_FREQUENCY: it must measure what these"
            " tell exactly.",
        ),
        (
            True,
            Privilege.ACCESS_VP_INDEX,
            "The guest never reads VP_INDEX: it cannot name processors in calls unless it takes"
            " APIC ids for VP indexes, which need not be equal.",
        ),
    )
    for relevant, bit, text in simple:
        if relevant and _offered_and_unused(coverage, bit):
            yield Advice(str(bit.name), text)
    if Mark.MESSAGE_TIMER in coverage.marks and _offered_and_unused(
        coverage, Feature.DIRECT_SYNTHETIC_TIMERS
    ):
        yield Advice(
            "DIRECT_SYNTHETIC_TIMERS",
            "The synthetic timers send messages, though direct mode is offered: an interrupt alone"
            " saves the message slot and the write of EOM.",
        )


def _without_offer(coverage: Coverage) -> Iterator[Advice]:
    for row in coverage.rows():
        if row.offered is False and row.used and row.enlightenment.word.value != "privilege":
            what = ", ".join(f"{name} {count:,} times" for name, count in row.by[:3])
            yield Advice(
                row.enlightenment.name,
                f"This {row.enlightenment.word.value} is not offered, and the guest uses it"
                f" ({what}). Another host may refuse.",
            )


def _poor_use(coverage: Coverage) -> Iterator[Advice]:
    marks = coverage.marks
    slow = marks.get(Mark.SLOW_FORM)
    xmm = coverage.row("XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT").offered
    if slow is not None and slow.count >= _MANY and xmm:
        yield Advice(
            "XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT",
            f"{slow.count:,} calls give input in memory that would fit into registers: the fast"
            " form needs no input page.",
        )
    automatic = marks.get(Mark.SINT_WITH_AUTO_EOI)
    if automatic is not None and coverage.row("DEPRECATE_AUTO_EOI").offered:
        yield Advice(
            "DEPRECATE_AUTO_EOI",
            f"{_times(automatic.count)} a SINT is set up with AutoEOI, which the hypervisor advises"
            " against: it keeps it from using the APIC of the hardware.",
        )
    spins = coverage.calls.get(Call.NOTIFY_LONG_SPIN_WAIT)
    if spins is not None and coverage.cpus == 1:
        yield Advice(
            call_name(Call.NOTIFY_LONG_SPIN_WAIT),
            "The guest notifies spin waits though it has one processor only.",
        )


def _times(count: int) -> str:
    return "Once" if count == 1 else f"{count:,} times"
