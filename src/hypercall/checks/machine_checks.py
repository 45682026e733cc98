"""The checks of a live machine: they watch it while it runs, and keep what they found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from hypercall.checks.checker import Checker
from hypercall.checks.finding import Finding
from hypercall.checks.machine_facts import MachineFacts
from hypercall.checks.outputs import OutputCheck
from hypercall.checks.rule import Severity
from hypercall.checks.rules import ALL_CHECKS
from hypercall.checks.spinning import SpinCheck
from hypercall.checks.translations import AUDIT_NS, PATIENCE_NS, TranslationCheck
from hypercall.checks.trust_levels import TrustLevelCheck
from hypercall.cpu.interface import PAUSES_OF_A_SPIN
from hypercall.snapshot.memento import Memento
from hypercall.trace.events import FindingEvent, Position

if TYPE_CHECKING:
    from hypercall.cpu.unicorn.engine import Engine
    from hypercall.machine.exits import MachineExits
    from hypercall.machine.guest_machine import GuestMachine
    from hypercall.partition.virtual_processor import VirtualProcessor

_CODE_BEFORE = 32
_CODE_AFTER = 32


class MachineChecks:
    """Watches a machine.

    What it has seen and found is state of the machine: it goes back with it to a snapshot.

    Attributes:
        on_new: functions that are called with each finding when it is new; when the machine has
            gone back, a finding is new again.
    """

    not_state: ClassVar[tuple[str, ...]] = (
        *("on_new", "_machine", "_engine", "_exits", "_fresh", "_unsubscribe"),
    )

    def __init__(self, machine: GuestMachine, engine: Engine, exits: MachineExits) -> None:
        """Begin to watch.

        Args:
            machine: the machine; what it did before is not seen.
            engine: its engine.
            exits: its exits.
        """
        self._machine = machine
        self._exits = exits
        self._facts = MachineFacts(machine, engine)
        self._checker = Checker(self._facts, self._found, checks=ALL_CHECKS)
        self._spins = self._checker.check(SpinCheck)
        self._engine = engine
        self._next_audit = 0
        self._translations = self._checker.check(TranslationCheck)
        self._outputs = self._checker.check(OutputCheck)
        self._outputs.watch = self._watch
        exits.on_read = self._read
        self._levels = self._checker.check(TrustLevelCheck)
        self._finished = False
        self.on_new: list[Callable[[Finding], None]] = []
        self._unsubscribe = machine.trace.subscribe(
            self._checker.feed, *self._checker.kinds, follows=True
        )
        exits.on_spin = self._spun
        machine.processors.on_switch_vtl = self._switches_vtl
        self._fresh = Memento([self])

    def begin_anew(self) -> None:
        """Forget everything: the machine is at a moment at which nothing watched it."""
        self._fresh.restore()
        self._facts.begin()

    def end(self) -> None:
        """Watch no longer."""
        self._unsubscribe()
        exits, machine = self._exits, self._machine
        exits.on_read = exits.on_spin = exits.on_stale = None
        machine.processors.on_switch_vtl = None
        machine.between_turns = None
        for page in self._outputs.pages:
            self._watch_page(page, False)

    def watch_translations(self) -> None:
        """Look for uses of translations that the guest should have flushed."""
        if not self._translations.watching:
            self._translations.watching = True
            self._engine.start_audits(PATIENCE_NS)
            self._exits.on_stale = self._stale
            self._machine.between_turns = self._between_turns

    @property
    def findings(self) -> list[Finding]:
        """What was found so far, in the order in which it was found first."""
        return self._checker.findings

    @property
    def failures(self) -> list[Finding]:
        """The findings that are more than advice."""
        return [each for each in self.findings if each.rule.severity is not Severity.ADVICE]

    @property
    def left_out(self) -> int:
        """How many places were not taken up, for there were too many."""
        return self._checker.left_out

    def finish(self) -> list[Finding]:
        """Report what shows only at the end of a run, once; return all findings."""
        if not self._finished:
            self._finished = True
            vp = self._machine.processors.current
            rip = self._machine.registers(vp.index)["rip"]
            self._checker.finish(Position(self._machine.time_ns, vp.index, vp.active_vtl, rip))
        return self.findings

    def place(self, finding: Finding) -> str:
        """Return the guest's name for the place of a finding, or its address."""
        return self._machine.symbol(finding.address) or f"{finding.address:#x}"

    def _spun(self) -> None:
        self._spins.spun(self._exits.position(), PAUSES_OF_A_SPIN)

    def _switches_vtl(self, vp: VirtualProcessor, source: int, target: int) -> None:
        if target < source:
            return
        # Of a call the event that follows tells.
        if vp.vtls[target].apic.pending_vector() is not None:
            self._levels.interrupted(vp.index, source)
        else:
            self._levels.entered(vp.index, source)

    def _between_turns(self, now: int) -> None:
        if self._translations.watching and now >= self._next_audit:
            self._next_audit = now + AUDIT_NS
            self._engine.audit()
        for page in self._outputs.pages:
            # Only the first read is told, which need not be one of the list.
            self._watch(page, True)

    def _watch(self, page: int, on: bool) -> None:
        self._watch_page(page, on)
        self._machine.between_turns = self._between_turns

    def _watch_page(self, page: int, on: bool) -> None:
        offset = self._machine.partition.memory.ram_offset(page)
        if offset is not None:
            self._engine.watch_page(offset, on)

    def _read(self, _: int, offset: int) -> None:
        self._outputs.read(self._exits.position(), self._gpa(offset))

    def _gpa(self, offset: int) -> int:
        low = self._machine.partition.memory.size_below_4g
        return offset if offset < low else offset - low + (4 << 30)

    def _stale(self, address: int, access: int, backing: int, gpa: int | None, since: int) -> None:
        position = self._exits.position()
        self._translations.used(position, address, access, self._gpa(backing), gpa, since)

    def _found(self, finding: Finding) -> None:
        facts = self._facts
        start = finding.address - _CODE_BEFORE
        # Code at the end may be there without the code before it, which another page may hold.
        code = facts.code(start, _CODE_BEFORE + _CODE_AFTER) if start >= 0 else b""
        if len(code) <= _CODE_BEFORE:
            start, code = finding.address, facts.code(finding.address, _CODE_AFTER)
        finding.code, finding.code_address, finding.bits = code, start, facts.word_size()
        trace = self._machine.trace
        if trace.wants(FindingEvent):
            trace.emit(finding.event)
        if not trace.repeating:
            for function in self.on_new:
                function(finding)
