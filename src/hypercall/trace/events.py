"""The events of a run: everything that a machine tells about itself is one of these.

Every event carries the same :class:`Position`, so that a reader can order, filter and join events
of all kinds without knowing what each kind means. Events are plain slotted records: building one
costs well below a microsecond, and a machine builds one only if somebody subscribed to its kind
(:meth:`hypercall.trace.hub.TraceHub.wants`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypercall.abi.record import CallRecord


@dataclass(slots=True)
class Position:
    """Where and when something happened.

    Attributes:
        time_ns: virtual time since the machine was made, in nanoseconds.
        vp_index: the VP index of the virtual processor that was running, not its APIC id.
        vtl: the virtual trust level that was active on it.
        rip: the guest-virtual address of the instruction that caused the event; 0 where a trace
            that was recorded elsewhere does not tell it.
        call_site: for a hypercall through the hypercall page the return address found on the
            guest's stack, that is, the instruction after the CALL that entered the page;
            ``None`` where there is no such thing or the stack could not be read.
    """

    time_ns: int
    vp_index: int
    vtl: int
    rip: int
    call_site: int | None = None

    @property
    def place(self) -> int:
        """The address that stands for the place: the call site if there is one, or RIP."""
        return self.rip if self.call_site is None else self.call_site


@dataclass(slots=True)
class HypercallEvent:
    """One attempt at a hypercall: completed, refused, faulted, or to be continued.

    Attributes:
        position: when the guest entered the hypervisor, and where.
        record: what was asked and answered, as bytes; ``hypercall.abi.decoder`` names its parts.
    """

    position: Position
    record: CallRecord


@dataclass(slots=True)
class MsrEvent:
    """A read or write of an MSR that the machine emulates.

    Attributes:
        position: when and where.
        index: the MSR's number.
        value: what was written, or what the read returned; 0 for a read that faulted.
        write: whether it was a write.
        fault: whether the guest got #GP for it.
    """

    position: Position
    index: int
    value: int
    write: bool
    fault: bool = False


@dataclass(slots=True)
class CpuidEvent:
    """A CPUID instruction: what the guest asked of the processor and the hypervisor.

    Attributes:
        position: when and where.
        leaf: EAX.
        subleaf: ECX.
        values: what it got in EAX, EBX, ECX and EDX.
    """

    position: Position
    leaf: int
    subleaf: int
    values: tuple[int, int, int, int]


@dataclass(slots=True)
class ConsoleEvent:
    """Bytes that the guest wrote to a console.

    Attributes:
        position: when and where the last of the bytes was written.
        data: the bytes, as the guest sent them.
        console: which console, for instance ``"ttyS0"``.
    """

    position: Position
    data: bytes
    console: str = "ttyS0"


@dataclass(slots=True)
class InterruptEvent:
    """An interrupt that a virtual processor took.

    Attributes:
        position: when, and the instruction that was interrupted.
        vector: the vector that was delivered; 2 for an NMI.
        kind: ``"external"``, ``"nmi"``, ``"init"`` or ``"startup"``.
    """

    position: Position
    vector: int
    kind: str = "external"


@dataclass(slots=True)
class MessageEvent:
    """A message or an event flag that the hypervisor put into a SynIC (DIGEST section 6).

    Attributes:
        position: when, and what ran: for a message of the guest its sender, in the call.
        target_vp: the VP index of the virtual processor whose SynIC it is.
        target_vtl: the VTL whose SynIC it is.
        sint: the SINT, 0 to 15.
        vector: the vector of the interrupt that tells of it; None where the SINT raises none.
        message_type: the type of the message; None for an event flag.
    """

    position: Position
    target_vp: int
    target_vtl: int
    sint: int
    vector: int | None
    message_type: int | None


@dataclass(slots=True)
class HaltEvent:
    """A virtual processor that rests, or something that wakes it.

    It rests at HLT, by the idle MSR, or in a call that waits. One that an interrupt wakes at once
    has both events at the same time.

    Attributes:
        position: when; where and in which VTL it rests, or goes on.
        halted: True when it stopped, False when something woke it.
    """

    position: Position
    halted: bool


@dataclass(slots=True)
class VtlEvent:
    """A virtual processor that changed its virtual trust level (DIGEST section 8).

    Attributes:
        position: when and where, with the VTL that was left.
        entered: the VTL that became active.
        reason: ``"call"``, ``"return"``, ``"interrupt"`` or ``"intercept"``.
    """

    position: Position
    entered: int
    reason: str


@dataclass(slots=True)
class MachineEvent:
    """Something about the machine as a whole: a processor started, a reset, a crash, a power-off.

    Attributes:
        position: when, and what ran.
        kind: one word for programs, for instance ``"power-off"``, ``"reset"``, ``"panic"``,
            ``"triple-fault"``, ``"start-processor"``.
        text: one line for people.
    """

    position: Position
    kind: str
    text: str


@dataclass(slots=True)
class FindingEvent:
    """Something that a check found: the guest broke a rule, or could do better.

    Attributes:
        position: when and where the guest did it.
        rule: the rule's name, as ``hypercall checks`` lists it.
        severity: ``"error"``, ``"warning"`` or ``"advice"``.
        text: one sentence that says what the guest did.
        code: bytes of the guest's code around the place; empty where they are not known.
        code_address: the guest-virtual address of the first of them.
        bits: 64, or 32 for other code.
    """

    position: Position
    rule: str
    severity: str
    text: str
    code: bytes = b""
    code_address: int = 0
    bits: int = 64


Event = (
    HypercallEvent
    | MsrEvent
    | CpuidEvent
    | ConsoleEvent
    | InterruptEvent
    | MessageEvent
    | HaltEvent
    | VtlEvent
    | MachineEvent
    | FindingEvent
)
"""Any event of a run."""
