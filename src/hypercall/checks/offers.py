"""What the hypervisor offers against what a guest does: interface, recommendations, privileges."""

from __future__ import annotations

from hypercall.checks.check import Check
from hypercall.checks.facts import Facts
from hypercall.checks.finding import Findings
from hypercall.checks.rule import Need, Rule, Severity, Source
from hypercall.tlfs.calls import Call
from hypercall.tlfs.control import CODE_MASK
from hypercall.tlfs.cpuid import NEVER_NOTIFY_LONG_SPIN
from hypercall.tlfs.declaration import CallDeclaration
from hypercall.tlfs.msrs import MSR_DECLARATIONS, SyntheticMsr
from hypercall.tlfs.privileges import Privilege, Recommendation
from hypercall.tlfs.status import HvStatus
from hypercall.trace.events import Event, HypercallEvent, MsrEvent, Position

DISABLED_INTERFACE = Rule(
    "disabled-interface",
    Severity.ERROR,
    Source.EVENTS,
    "A call was made before the hypercall page was enabled, or after it was disabled.",
    "Without guest OS id and hypercall page there is no interface: the guest gets #UD, or on other"
    " hosts an error that is not an HV_STATUS.",
    "hypercall-interface, Establishing the Hypercall Interface",
    needs=(Need.INTERFACE,),
)
UNPRIVILEGED_CALLER = Rule(
    "unprivileged-caller",
    Severity.ERROR,
    Source.MACHINE,
    "A call was made by code that does not run at privilege level 0.",
    "Only the kernel may make calls; everybody else gets #UD.",
    "hypercall-interface, Legal Hypercall Environments",
)
MISSING_PRIVILEGE = Rule(
    "missing-privilege",
    Severity.WARNING,
    Source.EVENTS,
    "A call or a synthetic MSR was used that the partition has no privilege for.",
    "CPUID leaf 0x40000003 says beforehand what a partition may do; the call is refused, and the"
    " access of the MSR ends in #GP.",
    "feature-discovery, Hypervisor Feature Identification; datatypes/hv_partition_privilege_mask",
    needs=(Need.RESULTS, Need.PRIVILEGES),
)
UNKNOWN_CALL = Rule(
    "unknown-call",
    Severity.WARNING,
    Source.EVENTS,
    "A call code was used that this hypervisor does not have or has not announced.",
    "Calls are found out by CPUID and HvExtCallQueryCapabilities, not by trying.",
    "hypercall-interface, Hypercall Status Codes; feature-discovery",
    needs=(Need.RESULTS,),
)
UNRECOMMENDED = Rule(
    "unrecommended-call",
    Severity.WARNING,
    Source.EVENTS,
    "A call was made that CPUID does not recommend.",
    "What is not recommended may be slower than the processor's own way, and some hosts refuse it.",
    "feature-discovery, Implementation Recommendations (leaf 0x40000004)",
    needs=(Need.RECOMMENDATIONS,),
)
UNUSED_RECOMMENDATION = Rule(
    "unused-recommendation",
    Severity.ADVICE,
    Source.EVENTS,
    "CPUID recommends a call or MSR, the guest had use for it, and did it another way.",
    "The hypervisor's way saves exits, and does not wait for processors that are not running.",
    "feature-discovery, Implementation Recommendations (leaf 0x40000004)",
    needs=(Need.RECOMMENDATIONS, Need.MSRS, Need.DEVICE_WRITES),
)

_ICRS = frozenset({int(SyntheticMsr.ICR), 0x830})
_APIC_MSRS = frozenset({SyntheticMsr.EOI, SyntheticMsr.ICR, SyntheticMsr.TPR})
_DELIVERY = 0x700
_SELF_SHORTHAND = 0x40000
_SHORTHAND = 0xC0000
_MANY_INTERRUPTS = 16
_MANY_DEVICE_WRITES = 4096


class OfferCheck(Check):
    """Compares calls and MSR accesses with what the partition has been told that it may use."""

    rules = (
        DISABLED_INTERFACE,
        UNPRIVILEGED_CALLER,
        MISSING_PRIVILEGE,
        UNKNOWN_CALL,
        UNRECOMMENDED,
    )
    kinds = (HypercallEvent, MsrEvent)

    def __init__(self, facts: Facts, findings: Findings) -> None:
        super().__init__(facts, findings)
        # What was last written to the two MSRs by VTL, as far as it was seen.
        self._os_ids: dict[int, int] = {}
        self._pages: dict[int, int] = {}
        self._was_enabled: set[int] = set()

    def see(self, event: Event) -> None:
        """Look at a call or an access to an MSR."""
        if isinstance(event, HypercallEvent):
            self._see_call(event)
        elif isinstance(event, MsrEvent):
            self._see_msr(event)

    def _see_call(self, event: HypercallEvent) -> None:
        record, position = event.record, event.position
        declaration = record.declaration
        code = record.control & CODE_MASK
        name = declaration.name if declaration else f"The call {code:#06x}"
        vtl = position.vtl
        if self._enabled(vtl) is False:
            if self.facts.calls_prove_os_id and self._os_ids.get(vtl) == 0:
                # What was written was another guest's, or has been replaced from outside.
                del self._os_ids[vtl]
                self._pages.pop(vtl, None)
                return
            when = (
                "after the hypercall page was disabled"
                if vtl in self._was_enabled
                else ("before the hypercall page was enabled")
            )
            self.findings.add(DISABLED_INTERFACE, position, f"{name} was made {when}.", code)
            return
        self._was_enabled.add(vtl)
        if record.fault == "#UD":
            level = self.facts.caller_privilege()
            if level:
                text = f"{name} was made at privilege level {level}."
                self.findings.add(UNPRIVILEGED_CALLER, position, text, code)
                return
        if record.injected:
            # What a fault answers is no mistake of the guest's.
            return
        status = None if record.result is None or record.continued else record.result & 0xFFFF
        if status == HvStatus.ACCESS_DENIED:
            needed = declaration.privilege if declaration else Privilege(0)
            held = self.facts.privileges
            lacking = needed if held is None else Privilege(int(needed) & ~held)
            text = f"{name} was refused with ACCESS_DENIED"
            text += f"; it needs {Privilege.text(lacking)}." if lacking else "."
            self.findings.add(MISSING_PRIVILEGE, position, text, code)
            return
        if status == HvStatus.INVALID_HYPERCALL_CODE:
            text = f"{name} is not offered to this partition."
            self.findings.add(UNKNOWN_CALL, position, text, code)
            return
        if declaration is not None:
            self._see_recommendation(declaration, position)

    def _see_recommendation(self, declaration: CallDeclaration, position: Position) -> None:
        given = self.facts.recommendations
        if given is None:
            return
        lacking = int(declaration.recommendation) & ~given
        if lacking:
            self.findings.add(
                UNRECOMMENDED,
                position,
                f"{declaration.name} was made without the recommendation"
                f" {Recommendation.text(lacking)}.",
                declaration.code,
            )
        elif declaration.code == Call.NOTIFY_LONG_SPIN_WAIT and (
            self.facts.spin_retry_count in (0, NEVER_NOTIFY_LONG_SPIN)
        ):
            self.findings.add(
                UNRECOMMENDED,
                position,
                f"{declaration.name} was made although CPUID says never to notify.",
                declaration.code,
            )

    def _see_msr(self, event: MsrEvent) -> None:
        index, position = event.index, event.position
        if event.fault:
            declaration = MSR_DECLARATIONS.get(index)
            held = self.facts.privileges
            if declaration is None or held is None:
                return
            lacking = Privilege(int(declaration.privilege) & ~held)
            if lacking:
                access = "write" if event.write else "read"
                self.findings.add(
                    MISSING_PRIVILEGE,
                    position,
                    f"The {access} of {declaration.msr.name} ended in #GP; it needs"
                    f" {Privilege.text(lacking)}.",
                )
        elif event.write and index == SyntheticMsr.GUEST_OS_ID:
            self._os_ids[position.vtl] = event.value
            self._note(position.vtl)
        elif event.write and index == SyntheticMsr.HYPERCALL:
            self._pages[position.vtl] = event.value
            self._note(position.vtl)

    def _note(self, vtl: int) -> None:
        if self._enabled(vtl):
            self._was_enabled.add(vtl)

    def _enabled(self, vtl: int) -> bool | None:
        known = self.facts.hypercalls_enabled(vtl)
        if known is not None:
            return known
        os_id, page = self._os_ids.get(vtl), self._pages.get(vtl)
        if os_id == 0:
            return False
        if page is None:
            return None
        return bool(page & 1)


class RecommendationCheck(Check):
    """Finds out at the end what was recommended, would have been of use, and was not used."""

    rules = (UNUSED_RECOMMENDATION,)
    kinds = (HypercallEvent, MsrEvent)

    def __init__(self, facts: Facts, findings: Findings) -> None:
        super().__init__(facts, findings)
        self._sent = 0
        self._first_sent: Position | None = None
        self._calls = False
        self._interrupting_calls = False
        self._apic_msrs = False

    def see(self, event: Event) -> None:
        """Note what is used."""
        if isinstance(event, HypercallEvent):
            code = event.record.control & CODE_MASK
            self._calls = True
            self._interrupting_calls |= code in (
                Call.SEND_SYNTHETIC_CLUSTER_IPI,
                Call.SEND_SYNTHETIC_CLUSTER_IPI_EX,
            )
        elif isinstance(event, MsrEvent):
            self._apic_msrs |= event.index in _APIC_MSRS
            if event.write and event.index in _ICRS and not event.value & _DELIVERY:
                if event.value & _SHORTHAND == _SELF_SHORTHAND:
                    return
                self._sent += 1
                if self._first_sent is None:
                    self._first_sent = event.position

    def finish(self, end: Position) -> None:
        """Report what was not used."""
        given = Recommendation(self.facts.recommendations or 0)
        if (
            given & Recommendation.SYNTHETIC_CLUSTER_IPI
            and not self._interrupting_calls
            and (self._calls or self.facts.is_complete)
            and self._sent >= _MANY_INTERRUPTS
        ):
            assert self._first_sent is not None
            self.findings.add(
                UNUSED_RECOMMENDATION,
                self._first_sent,
                f"{self._sent} interrupts were sent to other processors by the interrupt command"
                " register, and none by HvCallSendSyntheticClusterIpi.",
            )
        writes = self.facts.device_writes()
        if (
            given & Recommendation.MSRS_FOR_APIC_ACCESS
            and not self._apic_msrs
            and writes is not None
            and writes >= _MANY_DEVICE_WRITES
        ):
            self.findings.add(
                UNUSED_RECOMMENDATION,
                end,
                f"Device memory, where the local APIC is, was written {writes} times, and none of"
                " the MSRs EOI, ICR and TPR was used.",
            )
