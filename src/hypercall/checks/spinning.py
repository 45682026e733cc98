"""Waiting for another processor in a loop, and telling the hypervisor so."""

from __future__ import annotations

from dataclasses import dataclass

from hypercall.checks.check import Check
from hypercall.checks.facts import Facts
from hypercall.checks.finding import Findings
from hypercall.checks.rule import Rule, Severity, Source
from hypercall.tlfs.calls import Call
from hypercall.tlfs.cpuid import NEVER_NOTIFY_LONG_SPIN
from hypercall.tlfs.msrs import SyntheticMsr
from hypercall.trace.events import (
    Event,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MsrEvent,
    Position,
)

EAGER_NOTIFY = Rule(
    "spin-notify-too-often",
    Severity.ADVICE,
    Source.MACHINE,
    "A processor notified of a long spin wait three times and more without as many attempts in"
    " between as CPUID asks for.",
    "A notification costs more than the attempts that it takes the place of.",
    "hypercalls/HvCallNotifyLongSpinWait; feature-discovery (leaf 0x40000004, EBX)",
)
SILENT_SPIN = Rule(
    "spin-without-notify",
    Severity.ADVICE,
    Source.MACHINE,
    "A processor spun with PAUSE longer than CPUID asks for, and never notified.",
    "The processor that it waits for may not be running; the notification lets it run.",
    "hypercalls/HvCallNotifyLongSpinWait; feature-discovery (leaf 0x40000004, EBX)",
)

_ENOUGH = 3
_LOOP_BYTES = 64


@dataclass(slots=True)
class _Spin:
    rip: int = 0
    pauses: int = 0


class SpinCheck(Check):
    """Follows PAUSE and HvCallNotifyLongSpinWait where CPUID has a count for them.

    An attempt takes no less than a nanosecond of virtual time, which counts bytes of code.
    """

    rules = (EAGER_NOTIFY, SILENT_SPIN)
    kinds = (HypercallEvent, MsrEvent, HaltEvent, InterruptEvent)

    def __init__(self, facts: Facts, findings: Findings) -> None:
        super().__init__(facts, findings)
        count = facts.spin_retry_count
        self._count = 0 if count in (None, NEVER_NOTIFY_LONG_SPIN) else count or 0
        self._last: dict[int, int] = {}
        self._early: dict[int, int] = {}
        self._spins: dict[int, _Spin] = {}
        self._notifies = False

    def see(self, event: Event) -> None:
        """Note what ends a spin, and look at notifications."""
        if not self._count:
            return
        position = event.position
        self._spins.pop(position.vp_index, None)
        if isinstance(event, MsrEvent) and event.index == SyntheticMsr.GUEST_IDLE:
            # It waits by resting.
            self._notifies = True
        if not isinstance(event, HypercallEvent):
            return
        if event.record.control & 0xFFFF != Call.NOTIFY_LONG_SPIN_WAIT:
            return
        self._notifies = True
        vp, now = position.vp_index, position.time_ns
        last = self._last.get(vp)
        self._last[vp] = now
        if last is None or now - last >= self._count:
            self._early[vp] = 0
            return
        self._early[vp] += 1
        if self._early[vp] >= _ENOUGH - 1:
            self.findings.add(
                EAGER_NOTIFY,
                position,
                f"HvCallNotifyLongSpinWait was called again after {now - last} ns; CPUID asks for"
                f" {self._count} attempts.",
            )

    def spun(self, position: Position, pauses: int) -> None:
        """Take note that a processor executed PAUSE.

        Args:
            position: when and where.
            pauses: how often since the last time that this was said of it.
        """
        if not self._count or self._notifies:
            return
        spin = self._spins.setdefault(position.vp_index, _Spin(position.rip))
        if abs(position.rip - spin.rip) > _LOOP_BYTES:
            spin.rip, spin.pauses = position.rip, 0
        spin.pauses += pauses
        if spin.pauses > self._count:
            self.findings.add(
                SILENT_SPIN,
                position,
                f"A loop executed PAUSE {spin.pauses} times without a notification; CPUID asks for"
                f" one after {self._count}.",
            )
            spin.pauses = 0
