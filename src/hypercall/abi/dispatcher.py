"""The calling convention: reads a call's parameters, calls its handler, writes its output.

Order of checks: the caller's mode (#UD), the interface enabled (#UD), VTL call and return, code,
privilege, control word, register form, alignment and page crossing, accessibility, reserved
fields, and then the handler's own. The first ones, up to the register form, depend on the control
word alone and are kept in plans (`hypercall.abi.plan`).

Sources: TLFS ``hypercall-interface``; where it is silent, the partition's readings decide.
"""

from collections.abc import Callable, Mapping
from functools import partial
from struct import Struct

from hypercall.abi.caller import CallerRegisters, CallingProcessor, CallPartition
from hypercall.abi.outcome import (
    FAST_VTL_RETURN,
    SUSPEND,
    UNDEFINED_OPCODE,
    VTL_CALL,
    VTL_RETURN,
    Outcome,
    OutcomeKind,
)
from hypercall.abi.parameters import Parameters, Refused
from hypercall.abi.plan import Plan, Run, make_plan
from hypercall.abi.record import CallRecord
from hypercall.abi.reply import RETRY, Handler, Reply, RepReply
from hypercall.abi.two_registers import PLAIN_OUTCOMES, in_two_registers, simple_outcome
from hypercall.tlfs.calls import Call, CallTable
from hypercall.tlfs.control import REP_COUNT_SHIFT, REP_START_FIELD, REP_START_SHIFT
from hypercall.tlfs.status import HvStatus

DEFAULT_REP_BUDGET = 512
"""Elements that one entry processes at most; a full page of them for most calls."""

_MAX_PLANS = 4096
"""Guests use a few dozen control words; one that tries them all must not fill the host."""

_PAIR = 16
_LOW = 0xFFFF_FFFF
_LONG = 0xFFFF_FFFF_FFFF_FFFF
_TWO_REGISTERS = Struct("<QQ")
_VTL_CALL_CODE = int(Call.VTL_CALL)
_FAULTS = {
    OutcomeKind.UNDEFINED_OPCODE: "#UD",
    OutcomeKind.VTL_CALL: "VTL call",
    OutcomeKind.VTL_RETURN: "VTL return",
}


def _no_time() -> int:
    return 0


class Dispatcher:
    """Dispatches the hypercalls of one partition.

    Attributes:
        observer: called with the record of every attempt; None builds no records.
        rep_budget: how many elements of a rep call one entry processes at most.
        answered_by_fault: set by an interposed handler that answers as the hypervisor would not.
    """

    def __init__(
        self,
        partition: CallPartition,
        declarations: CallTable,
        handlers: Mapping[int, Handler],
        *,
        now: Callable[[], int] = _no_time,
        rep_budget: int = DEFAULT_REP_BUDGET,
    ) -> None:
        """Make a dispatcher.

        Args:
            partition: whose calls they are. Its configuration and readings must not change; call
                `forget_plans` if they do.
            declarations: the calls that there are.
            handlers: by call code, those that are implemented.
            now: the time in ns for the records.
            rep_budget: elements of a rep call for one entry, at least 1.
        """
        self.observer: Callable[[CallRecord], None] | None = None
        self.rep_budget = rep_budget
        self.answered_by_fault = False
        self._interpose: Callable[[Plan], Handler] | None = None
        self._partition = partition
        self._declarations = declarations
        self._handlers = handlers
        self._now = now
        self._enabled = partition.hypercalls_enabled
        self._plans_64: dict[int, Plan] = {}
        self._plans_32: dict[int, Plan] = {}

    def forget_plans(self) -> None:
        """Forget what control words mean, after the partition's configuration changed."""
        self._plans_64.clear()
        self._plans_32.clear()

    def interpose(self, choose: Callable[[Plan], Handler] | None) -> None:
        """Let other handlers serve calls; a call that is refused before has none to replace.

        Args:
            choose: returns the handler for a plan, which may be the plan's own; None leaves each
                call its own.
        """
        self._interpose = choose
        self.forget_plans()

    def dispatch(
        self,
        vp: CallingProcessor,
        control: int,
        input: int,
        output: int,
        registers: CallerRegisters,
    ) -> Outcome:
        """Carry out one attempt at a hypercall.

        Args:
            vp: the caller.
            control: RCX, or EDX:EAX of a 32-bit caller.
            input: RDX, or EBX:ECX.
            output: R8, or EDI:ESI.
            registers: the caller's mode and other registers.

        Returns:
            What became of it. Nothing that a guest can pass raises an exception.
        """
        if self.observer is not None:
            return self._observe(vp, control, input, output, registers)
        if registers.cpl or not registers.protected_mode or not self._enabled(vp.active_vtl):
            return self._refuse_state(vp, control, registers)
        plan = (self._plans_64 if registers.long_mode else self._plans_32).get(control)
        if plan is None:
            plan = self._make_plan(control, registers.long_mode)
        return plan.run(vp, input, output, registers)

    def _refuse_state(
        self, vp: CallingProcessor, control: int, registers: CallerRegisters
    ) -> Outcome:
        """Answer a caller in a mode that makes no calls, or without an enabled hypercall page."""
        readings = self._partition.readings
        if registers.cpl:
            return UNDEFINED_OPCODE
        if not self._enabled(vp.active_vtl):
            answer = readings.disabled_interface
            if answer is None:
                return UNDEFINED_OPCODE
            if registers.long_mode:
                return Outcome(OutcomeKind.COMPLETE, answer & _LONG)
            # Only EAX is written.
            return Outcome(OutcomeKind.COMPLETE, control & ~_LOW | answer & _LOW)
        if readings.real_mode_caller:
            return UNDEFINED_OPCODE
        # The result goes to EDX:EAX, which hold the control word and so stay as they are.
        return Outcome(OutcomeKind.COMPLETE, control)

    def _make_plan(self, control: int, long_mode: bool) -> Plan:
        plan = make_plan(control, long_mode, self._partition, self._declarations, self._handlers)
        if self._interpose is not None and plan.refusal is None and not plan.is_vtl_switch:
            plan.handler = self._interpose(plan)
        plan.run = self._choose_run(plan)
        plans = self._plans_64 if long_mode else self._plans_32
        if len(plans) >= _MAX_PLANS:
            plans.clear()
        plans[control] = plan
        return plan

    def _choose_run(self, plan: Plan) -> Run:
        """Return the shortest way of carrying out a plan."""
        refusal = plan.refusal
        if refusal is not None:
            return lambda _vp, _input, _output, _registers: refusal
        if plan.is_vtl_switch:
            return partial(_switch_vtl, plan)
        if (
            plan.fast
            and plan.input_size <= _PAIR
            and not (plan.is_rep or plan.output_size)
            and plan.call.variable_header is None
        ):
            return in_two_registers(plan)
        return partial(self._execute, None, plan)

    def _observe(
        self,
        vp: CallingProcessor,
        control: int,
        input: int,
        output: int,
        registers: CallerRegisters,
    ) -> Outcome:
        """Carry out an attempt in the general way, and tell the observer about it."""
        long_mode = registers.long_mode
        plan = (self._plans_64 if long_mode else self._plans_32).get(control)
        if plan is None:
            plan = self._make_plan(control, long_mode)
        record = CallRecord(
            vp.index, vp.active_vtl, plan.declaration, control, plan.fast, input, output
        )
        record.entered_at = self._now()
        if plan.fast:
            record.input = _TWO_REGISTERS.pack(input, output)
        if registers.cpl or not registers.protected_mode or not self._enabled(vp.active_vtl):
            outcome = self._refuse_state(vp, control, registers)
        elif plan.refusal is not None or plan.is_vtl_switch:
            outcome = plan.run(vp, input, output, registers)
        else:
            self.answered_by_fault = False
            outcome = self._execute(record, plan, vp, input, output, registers)
            record.injected = self.answered_by_fault
        record.left_at = self._now()
        if outcome.kind is OutcomeKind.COMPLETE:
            record.result = outcome.value
        else:
            record.fault = _FAULTS.get(outcome.kind)
            record.continued = record.fault is None
        if self.observer is not None:
            self.observer(record)
        return outcome

    def _execute(
        self,
        record: CallRecord | None,
        plan: Plan,
        vp: CallingProcessor,
        input: int,
        output: int,
        registers: CallerRegisters,
    ) -> Outcome:
        """Carry out a call in the way that fits every one that has a handler."""
        parameters = Parameters(self._partition, plan, vp, input, output, registers, record)
        try:
            data = parameters.read_input()
            arguments = parameters.arguments(vp, data)
            parameters.check_output()
        except Refused as refused:
            return refused.outcome
        if plan.is_rep:
            return self._complete_rep(parameters, arguments, data)
        answer = plan.handler(*arguments)
        outcome = PLAIN_OUTCOMES.get(answer)
        if outcome is not None:
            return outcome
        if isinstance(answer, Reply) and answer.output:
            parameters.write(data, 0, answer.output.ljust(plan.output_size, b"\0"))
        return simple_outcome(answer)

    def _complete_rep(
        self, parameters: Parameters, arguments: tuple[object, ...], data: bytes
    ) -> Outcome:
        """Hand the next elements to the handler and make the outcome of what it completed."""
        plan = parameters.plan
        start = plan.rep_start
        count = min(plan.rep_count - start, self.rep_budget)
        first = plan.header_end + start * plan.element_size
        elements = memoryview(data)[first : first + count * plan.element_size]
        arguments += (elements,)
        answer = plan.handler(*arguments)
        if answer is RETRY:
            return SUSPEND
        ends = False
        if isinstance(answer, RepReply):
            completed, status = min(answer.completed, count), answer.status
            ends = answer.ends
            if answer.output:
                size = plan.output_element_size
                parameters.write(data, start * size, answer.output[: completed * size])
        elif isinstance(answer, HvStatus):
            completed, status = 0 if answer else count, answer
        else:
            raise TypeError(f"a rep call cannot be answered with {answer!r}")
        done = start + completed
        if status or ends or done >= plan.rep_count:
            return Outcome(OutcomeKind.COMPLETE, status | done << REP_COUNT_SHIFT)
        if not completed:
            return SUSPEND
        control = plan.control & ~REP_START_FIELD | done << REP_START_SHIFT
        return Outcome(OutcomeKind.CONTINUE, control)


def _switch_vtl(
    plan: Plan, vp: CallingProcessor, _input: int, _output: int, registers: CallerRegisters
) -> Outcome:
    """Decide a VTL call or return whose control word is right (TLFS ``vsm``).

    The handler takes the control input, and any status but SUCCESS means #UD.
    """
    value = registers.rax
    if plan.handler(vp, value):
        return UNDEFINED_OPCODE
    if plan.control == _VTL_CALL_CODE:
        return VTL_CALL
    return FAST_VTL_RETURN if value else VTL_RETURN


__all__ = ["DEFAULT_REP_BUDGET", "CallRecord", "Dispatcher"]
