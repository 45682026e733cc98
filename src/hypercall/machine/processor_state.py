"""What each virtual processor does at the moment, for whoever asks why a guest does not go on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from hypercall.cpu.interface import MODE_CPL, MODE_LONG
from hypercall.errors import GuestMemoryError
from hypercall.partition.run_state import RunState

if TYPE_CHECKING:
    from hypercall.machine.guest_machine import GuestMachine
    from hypercall.partition.virtual_processor import VirtualProcessor

_RSP = 4
_WORD = 8
_SCANNED_WORDS = 512
_MOST_RETURN_ADDRESSES = 8
_LONGEST_CALL = 7


class Activity(Enum):
    """What a virtual processor does, in words."""

    RUNNING = "running"
    HALTED = "halted"
    IDLE = "idle"
    WAITING = "waiting in a call"
    NOT_STARTED = "waiting for start-up"


@dataclass(frozen=True, slots=True)
class ProcessorState:
    """What a virtual processor does, in the VTL that it is in.

    Attributes:
        vp_index: its VP index.
        vtl: the virtual trust level.
        activity: what it does; ``IDLE`` is a rest by the idle MSR, whatever RFLAGS.IF is.
        rip: the linear address of its next instruction.
        user: whether that is user code.
        interrupts_enabled: whether RFLAGS.IF is set, and no instruction before holds them off.
        requested: the vectors that its local APIC holds for it, in descending order.
        in_service: the vectors that it has taken and not ended.
        deadline_ns: when the first of its own timers expires, in nanoseconds of virtual time; None
            if none runs.
        return_addresses: what looks like return addresses on its stack, the innermost first. It is
            found by looking for words behind a CALL, so some may be left from earlier.
    """

    vp_index: int
    vtl: int
    activity: Activity
    rip: int
    user: bool
    interrupts_enabled: bool
    requested: tuple[int, ...]
    in_service: tuple[int, ...]
    deadline_ns: int | None
    return_addresses: tuple[int, ...]


def activity(machine: GuestMachine, vp: VirtualProcessor) -> Activity:
    """Return what a virtual processor does."""
    processors = machine.processors
    if vp.run_state is not RunState.RUNNING:
        return Activity.NOT_STARTED
    if vp not in processors.halted:
        return Activity.RUNNING
    if processors.suspended(vp):
        return Activity.WAITING
    return Activity.IDLE if processors.idles(vp) else Activity.HALTED


def processor_states(machine: GuestMachine) -> list[ProcessorState]:
    """Return what each virtual processor of a machine does, by VP index."""
    return [_state(machine, vp) for _, vp in sorted(machine.partition.by_index.items())]


def _state(machine: GuestMachine, vp: VirtualProcessor) -> ProcessorState:
    engine = machine.engine
    context = machine.processors.context(vp)
    mode = engine.get_mode(context)
    doing = activity(machine, vp)
    apic = vp.current.apic
    user = mode & MODE_CPL == MODE_CPL
    looks = doing is not Activity.NOT_STARTED and not user and mode & MODE_LONG
    return ProcessorState(
        vp_index=vp.index,
        vtl=vp.active_vtl,
        activity=doing,
        rip=machine.debugging.linear_pc(vp),
        user=user,
        interrupts_enabled=engine.interrupts_enabled(context),
        requested=_vectors(apic.irr),
        in_service=_vectors(apic.in_service()),
        deadline_ns=_deadline(vp),
        return_addresses=tuple(_return_addresses(machine, vp)) if looks else (),
    )


def _vectors(bits: int) -> tuple[int, ...]:
    return tuple(vector for vector in range(255, -1, -1) if bits >> vector & 1)


def _deadline(vp: VirtualProcessor) -> int | None:
    deadlines = []
    for state in vp.vtls.values():
        deadlines.append(state.apic.timer.deadline_ns)
        deadlines += [timer.deadline_ns for timer in state.timers]
    return min((deadline for deadline in deadlines if deadline is not None), default=None)


def _return_addresses(machine: GuestMachine, vp: VirtualProcessor) -> list[int]:
    engine = machine.engine
    context = machine.processors.context(vp)
    stack = engine.get_general(context, _RSP)
    half = engine.get_rip(context) >> 63
    found: list[int] = []
    try:
        for position in range(_SCANNED_WORDS):
            word = machine.read_virtual(vp, stack + position * _WORD, _WORD)
            address = int.from_bytes(word, "little")
            if (
                address >> 63 == half
                and address >= _LONGEST_CALL
                and _is_after_call(machine, vp, address)
            ):
                found.append(address)
                if len(found) == _MOST_RETURN_ADDRESSES:
                    break
    except GuestMemoryError:
        # The stack ends.
        pass
    return found


def _is_after_call(machine: GuestMachine, vp: VirtualProcessor, address: int) -> bool:
    try:
        code = machine.read_virtual(vp, address - _LONGEST_CALL, _LONGEST_CALL)
    except GuestMemoryError:
        return False
    if code[-5] == 0xE8:
        return True
    # FF /2, by its length: registers and plain memory, a displacement of 8 bits, of 32 bits.
    return any(
        code[-length] == 0xFF and _calls(code[1 - length], length) for length in (2, 3, 4, 6, 7)
    )


def _calls(modrm: int, length: int) -> bool:
    """Whether a ModRM byte after 0xFF makes a near CALL of a length in bytes."""
    mod, operation, rm = modrm >> 6, modrm >> 3 & 7, modrm & 7
    if operation != 2:
        return False
    sib = mod != 3 and rm == 4
    displacement = {0: 4 if rm == 5 else 0, 1: 1, 2: 4, 3: 0}[mod]
    return length == 2 + sib + displacement
