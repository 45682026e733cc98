"""Faults of calls: they stand before the handlers of the calls that they concern.

There they are behind all checks of the calling convention, so that what a guest gets is what the
hypervisor's own answer would have been: the result is written in the same way, elements before the
one that failed are really completed, and a call that is refused anyway is refused as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from hypercall.abi.caller import CallingProcessor
from hypercall.abi.plan import Plan
from hypercall.abi.reply import RETRY, Answer, Handler, RepReply
from hypercall.durations import duration_text
from hypercall.faults.armed import ArmedFault, FaultHost
from hypercall.faults.fault import CallFault
from hypercall.tlfs.status import HvStatus


@dataclass(frozen=True, slots=True)
class CallAttempt:
    """A call that is about to be carried out for the first time.

    Attributes:
        plan: what its control word means.
        vp_index: the VP index of the caller.
        vtl: the VTL that it runs in.
        place: the guest-virtual address that it is made from, as traces name it.
    """

    plan: Plan
    vp_index: int
    vtl: int
    place: int


@dataclass(slots=True)
class _Pending:
    """The call that a processor is in the middle of: it may come back.

    Attributes:
        control: its control word, whose start index moves.
        code: its call code.
        waits: its handler wants it to be issued again.
        armed: the fault that it has still to meet.
    """

    control: int
    code: int
    waits: bool = False
    armed: ArmedFault | None = None


class CallFaults:
    """The call faults of one machine.

    Args:
        host: the machine.
    """

    # Who watches stays when the machine goes back to a snapshot.
    not_state: ClassVar[tuple[str, ...]] = ("observers",)

    def __init__(self, host: FaultHost) -> None:
        self._host = host
        self.armed: list[tuple[CallFault, ArmedFault]] = []
        self.observers: list[Callable[[CallAttempt], None]] = []
        # Statuses that calls get because CPUID lied about them, with the fault.
        self.refusals: dict[int, tuple[HvStatus, ArmedFault]] = {}
        self._pending: dict[tuple[int, int], _Pending] = {}

    @property
    def wanted(self) -> bool:
        """Whether any call is to be looked at."""
        return bool(self.armed or self.observers or self.refusals)

    def handler(self, plan: Plan) -> Handler:
        """Return the handler for a plan: its own, if no fault can concern it."""
        code = plan.call.code
        refusal = self.refusals.get(code)
        if refusal is not None:
            return self._refusing(plan, *refusal)
        concerned = [(fault, armed) for fault, armed in self.armed if fault.code in (None, code)]
        concerned = [
            (fault, armed)
            for fault, armed in concerned
            if fault.reps is None or (plan.is_rep and plan.rep_count > fault.reps)
        ]
        if not concerned and not self.observers:
            return plan.handler
        own = plan.handler

        def answer(vp: CallingProcessor, *arguments: object) -> Answer:
            pending = self._enter(plan, vp, concerned)
            if pending.armed is None:
                reply = own(vp, *arguments)
            else:
                fault = pending.armed.fault
                assert isinstance(fault, CallFault)
                reply = self._faulty(plan, fault, pending, own, vp, arguments)
            pending.waits = reply is RETRY
            return reply

        return answer

    def _refusing(self, plan: Plan, status: HvStatus, armed: ArmedFault) -> Handler:
        name = plan.call.name

        def refuse(*_: object) -> Answer:
            armed.strike(f"{name} answered {status.name}")
            self._host.mark_answer()
            return status

        return refuse

    def _enter(
        self,
        plan: Plan,
        vp: CallingProcessor,
        concerned: list[tuple[CallFault, ArmedFault]],
    ) -> _Pending:
        """Find out whether an attempt is a new call, and if so, which fault it meets."""
        key = vp.index, vp.active_vtl
        pending = self._pending.get(key)
        code = plan.call.code
        if pending is not None and pending.code == code:
            if plan.rep_start and not pending.waits:
                pending.control = plan.control
                return pending
            if pending.waits and pending.control == plan.control:
                return pending
        pending = self._pending[key] = _Pending(plan.control, code)
        if plan.rep_start:
            return pending
        if self.observers:
            attempt = CallAttempt(plan, *key, self._host.place())
            for observer in self.observers:
                observer(attempt)
        for fault, armed in concerned:
            fits = fault.vp in (None, vp.index) and fault.vtl in (None, vp.active_vtl)
            if fits and self._from(fault) and armed.chooses() and pending.armed is None:
                pending.armed = armed
        if pending.armed is not None:
            self._pass_time(plan, pending)
        return pending

    def _from(self, fault: CallFault) -> bool:
        if fault.site is None:
            return True
        place = self._host.place()
        return fault.site.covers(place, self._host.symbol(place))

    def _pass_time(self, plan: Plan, pending: _Pending) -> None:
        armed = pending.armed
        assert armed is not None
        fault = armed.fault
        assert isinstance(fault, CallFault)
        if not fault.time_ns:
            return
        self._host.pass_time(fault.time_ns)
        if fault.status is None and fault.reps is None:
            armed.strike(f"{plan.call.name} took {duration_text(fault.time_ns)}")
            pending.armed = None

    def _faulty(
        self,
        plan: Plan,
        fault: CallFault,
        pending: _Pending,
        own: Handler,
        vp: CallingProcessor,
        arguments: tuple[object, ...],
    ) -> Answer:
        """Answer a call, or a further attempt at it, as a fault says."""
        armed = pending.armed
        assert armed is not None
        status = fault.status or HvStatus.SUCCESS
        if fault.reps is None:
            if not plan.rep_start:
                armed.strike(f"{plan.call.name} answered {status.name}")
            self._host.mark_answer()
            # A long list comes in several entries, and all of it is to be left undone.
            if status or not plan.is_rep:
                pending.armed = None
            return status
        elements = arguments[-1]
        assert isinstance(elements, memoryview)
        left = fault.reps - plan.rep_start
        size = plan.element_size
        if left * size >= len(elements):
            return own(vp, *arguments)
        output = b""
        if left > 0:
            answer = own(vp, *arguments[:-1], elements[: left * size])
            if answer is RETRY:
                return answer
            if isinstance(answer, RepReply):
                if answer.status or answer.completed < left:
                    return answer
                output = answer.output
            elif answer is not HvStatus.SUCCESS:
                return answer
        pending.armed = None
        self._host.mark_answer()
        armed.strike(
            f"{plan.call.name} answered {status.name} with {fault.reps} of {plan.rep_count} reps"
        )
        return RepReply(max(left, 0), status, output, ends=True)
