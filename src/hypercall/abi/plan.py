"""What a control word means for a partition, worked out once and kept.

The checks that depend on nothing but the control word, the partition and the caller's word size
are done here: code, privilege, reserved bits, rep counts, and whether the register form can be.
"""

from collections.abc import Callable, Mapping

from hypercall.abi.caller import (
    CallConfiguration,
    CallerRegisters,
    CallingProcessor,
    CallPartition,
)
from hypercall.abi.outcome import COMPLETED, UNDEFINED_OPCODE, Outcome
from hypercall.abi.reply import Handler
from hypercall.tlfs.calls import Call, CallTable
from hypercall.tlfs.control import (
    FAST,
    NESTED,
    REP_COUNT_SHIFT,
    REP_MASK,
    REP_START_SHIFT,
    RESERVED_MASK,
    VARIABLE_HEADER_MASK,
    VARIABLE_HEADER_SHIFT,
)
from hypercall.tlfs.cpuid import NEVER_NOTIFY_LONG_SPIN
from hypercall.tlfs.declaration import (
    MAX_REGISTER_BYTES,
    CallClass,
    CallDeclaration,
    Family,
    FastForm,
)
from hypercall.tlfs.privileges import Feature, Privilege
from hypercall.tlfs.readings import (
    Enforcement,
    FastXmmGate,
    IpiTargetVtl,
    ReadingSet,
    ReservedControlBits,
    ReservedFields,
)
from hypercall.tlfs.status import HvStatus

_PAIR = 16
_PAIRS = MAX_REGISTER_BYTES // _PAIR

_XMM_CALLS = frozenset(
    {
        Call.FLUSH_VIRTUAL_ADDRESS_SPACE,
        Call.FLUSH_VIRTUAL_ADDRESS_LIST,
        Call.FLUSH_VIRTUAL_ADDRESS_SPACE_EX,
        Call.FLUSH_VIRTUAL_ADDRESS_LIST_EX,
        Call.SEND_SYNTHETIC_CLUSTER_IPI_EX,
    }
)
"""The calls that KVM knows to use XMM registers, and whose register form Xen does not have."""

DEBUG_CONNECTION_SIZE = 24
"""What QEMU's HvResetDebugSession writes: addresses, ports and MAC addresses of both ends."""

_VSM_PRIVILEGES = (
    Privilege.ACCESS_VSM | Privilege.ACCESS_VP_REGISTERS | Privilege.START_VIRTUAL_PROCESSOR
)
"""The privileges whose lack makes the code an unknown one in a fork of KVM."""

_FLUSH_LISTS = frozenset({Call.FLUSH_VIRTUAL_ADDRESS_LIST, Call.FLUSH_VIRTUAL_ADDRESS_LIST_EX})
_IPIS = frozenset({Call.SEND_SYNTHETIC_CLUSTER_IPI, Call.SEND_SYNTHETIC_CLUSTER_IPI_EX})
_IPI_UPPER_HALF = 0xFFFF_FFFF << 32


Run = Callable[[CallingProcessor, int, int, CallerRegisters], Outcome]


class Plan:
    """How to carry out the calls with one control word.

    Attributes:
        control: the control word.
        declaration: the call, or None for an unknown code.
        refusal: the outcome of every such call, or None when it can be carried out.
        handler: the call's handler; of no use with a refusal.
        fast: whether parameters are in registers.
        variable_size: bytes of the variable header.
        header_end: bytes of header and variable header; elements start there.
        element_size: bytes of an input element, or 0.
        rep_count: elements in all; 0 for a simple call.
        rep_start: the first element not yet processed.
        input_size: bytes of the whole input list.
        output_size: bytes of the whole output list.
        output_element_size: bytes of an output element, or 0.
        output_pair: the register pair where fast output starts.
        reserved_mask: bits of the header, as one little-endian integer, that must be zero.
        reserved_outcome: what answers them otherwise.
        is_rep: whether the call is a rep call.
        is_vtl_switch: whether it is a VTL call or return.
        run: ``run(vp, input, output, registers)`` carries such a call out; the dispatcher sets it.
    """

    __slots__ = (
        "control",
        "declaration",
        "element_size",
        "fast",
        "handler",
        "header_end",
        "input_size",
        "is_rep",
        "is_vtl_switch",
        "output_element_size",
        "output_pair",
        "output_size",
        "refusal",
        "rep_count",
        "rep_start",
        "reserved_mask",
        "reserved_outcome",
        "run",
        "variable_size",
    )

    def __init__(self, control: int) -> None:
        self.control = control
        self.declaration: CallDeclaration | None = None
        self.refusal: Outcome | None = None
        self.handler: Handler = _no_handler
        self.fast = bool(control & FAST)
        self.variable_size = (control >> VARIABLE_HEADER_SHIFT & VARIABLE_HEADER_MASK) * 8
        self.rep_count = control >> REP_COUNT_SHIFT & REP_MASK
        self.rep_start = control >> REP_START_SHIFT & REP_MASK
        self.header_end = 0
        self.element_size = 0
        self.input_size = 0
        self.output_size = 0
        self.output_element_size = 0
        self.output_pair = 0
        self.reserved_mask = 0
        self.reserved_outcome = COMPLETED[HvStatus.INVALID_PARAMETER]
        self.is_rep = False
        self.is_vtl_switch = False
        self.run: Run = _not_run

    @property
    def call(self) -> CallDeclaration:
        """The declaration of a call that is not refused."""
        assert self.declaration is not None
        return self.declaration


def make_plan(
    control: int,
    long_mode: bool,
    partition: CallPartition,
    declarations: CallTable,
    handlers: Mapping[int, Handler],
) -> Plan:
    """Work out what a control word means.

    Args:
        control: 64 bits.
        long_mode: whether the caller runs 64-bit code.
        partition: the partition it runs in.
        declarations: the calls that there are.
        handlers: those that are implemented.
    """
    plan = Plan(control)
    code = control & 0xFFFF
    declaration = declarations.by_code.get(code)
    plan.declaration = declaration
    handler = handlers.get(code)
    readings = partition.readings
    if declaration is not None and declaration.call_class is CallClass.VTL_SWITCH:
        # A VTL switch never has a status: all that speaks against it is #UD (TLFS ``vsm``).
        plan.is_vtl_switch = True
        if handler is not None:
            plan.handler = handler
        if control != code or not int(partition.privileges) & Privilege.ACCESS_VSM:
            plan.refusal = UNDEFINED_OPCODE
        return plan
    if declaration is None or handler is None or not _announced(declaration, partition):
        plan.refusal = COMPLETED[_unknown_code(control, readings)]
        return plan
    plan.handler = handler
    refusal = _privilege_refusal(declaration, partition)
    if refusal is None:
        refusal = _control_refusal(plan, declaration, readings)
    if refusal is not None:
        plan.refusal = COMPLETED[refusal]
        return plan
    _measure(plan, declaration, readings)
    if plan.fast:
        plan.refusal = _fast_refusal(plan, declaration, long_mode, partition)
    _set_reserved_rule(plan, declaration, readings)
    return plan


def _no_handler(*_: object) -> HvStatus:
    return HvStatus.INVALID_HYPERCALL_CODE


def _not_run(*_: object) -> Outcome:
    return UNDEFINED_OPCODE


def _announced(declaration: CallDeclaration, partition: CallPartition) -> bool:
    """Return whether the partition knows of the call; else its code is an unknown one."""
    configuration = partition.configuration
    unknown = HvStatus.INVALID_HYPERCALL_CODE
    if declaration.family is Family.DEBUGGING:
        supported = bool(int(configuration.features) & Feature.GUEST_DEBUGGING)
        return supported or partition.readings.debugging_unsupported is not unknown
    if declaration.nested_feature:
        supported = bool(int(configuration.nested_features or 0) & declaration.nested_feature)
        return supported or partition.readings.nested_unsupported is not unknown
    if declaration.capability:
        return bool(int(configuration.extended_capabilities) & declaration.capability)
    return True


def _unknown_code(control: int, readings: ReadingSet) -> HvStatus:
    if readings.reserved_control_bits is ReservedControlBits.REFUSE_FIRST and (
        control & RESERVED_MASK
    ):
        return HvStatus.INVALID_HYPERCALL_INPUT
    return HvStatus.INVALID_HYPERCALL_CODE


def _privilege_refusal(declaration: CallDeclaration, partition: CallPartition) -> HvStatus | None:
    if int(partition.privileges) & declaration.privilege != declaration.privilege:
        if declaration.family is Family.EXTENDED:
            return partition.readings.missing_extended_privilege
        if declaration.privilege & _VSM_PRIVILEGES:
            return partition.readings.missing_vsm_privilege
        return HvStatus.ACCESS_DENIED
    if partition.readings.recommendations is Enforcement.GATE and not _recommended(
        declaration, partition.configuration
    ):
        return HvStatus.ACCESS_DENIED
    return None


def _recommended(declaration: CallDeclaration, configuration: CallConfiguration) -> bool:
    if declaration.code == Call.NOTIFY_LONG_SPIN_WAIT:
        return configuration.spin_retry_count not in (0, NEVER_NOTIFY_LONG_SPIN)
    wanted = declaration.recommendation
    return int(configuration.recommendations) & wanted == wanted


def _control_refusal(
    plan: Plan, declaration: CallDeclaration, readings: ReadingSet
) -> HvStatus | None:
    control = plan.control
    if control & RESERVED_MASK and readings.reserved_control_bits is not ReservedControlBits.IGNORE:
        return HvStatus.INVALID_HYPERCALL_INPUT
    if control & NESTED and readings.nested_bit is not None:
        return readings.nested_bit
    if readings.rep_rules:
        if plan.variable_size and declaration.variable_header is None:
            return HvStatus.INVALID_HYPERCALL_INPUT
        if declaration.is_rep:
            if plan.rep_start >= plan.rep_count:
                return HvStatus.INVALID_HYPERCALL_INPUT
        elif plan.rep_count or plan.rep_start:
            return HvStatus.INVALID_HYPERCALL_INPUT
    if plan.rep_start and declaration.code in _FLUSH_LISTS:
        return readings.flush_list_rep_start
    return None


def _measure(plan: Plan, declaration: CallDeclaration, readings: ReadingSet) -> None:
    if declaration.variable_header is None:
        plan.variable_size = 0
    plan.is_rep = declaration.is_rep
    if not plan.is_rep:
        plan.rep_count = plan.rep_start = 0
    # Only where a reading does not check the rep rules can it be beyond; then nothing is left.
    plan.rep_start = min(plan.rep_start, plan.rep_count)
    plan.header_end = declaration.header.size + plan.variable_size
    plan.element_size = declaration.element.size if declaration.element else 0
    plan.input_size = plan.header_end + plan.rep_count * plan.element_size
    plan.output_size = declaration.output_size(plan.rep_count)
    element = declaration.output_element
    plan.output_element_size = element.size if element else 0
    if (
        declaration.code == Call.RESET_DEBUG_SESSION
        and readings.debug_reset_gives_connection
        and not plan.fast
    ):
        plan.output_size = DEBUG_CONNECTION_SIZE
    plan.output_pair = (plan.input_size + _PAIR - 1) // _PAIR


def _fast_refusal(
    plan: Plan, declaration: CallDeclaration, long_mode: bool, partition: CallPartition
) -> Outcome | None:
    readings = partition.readings
    features = int(partition.configuration.features)
    code = declaration.code
    refusal: HvStatus | None = None
    if declaration.family is Family.EXTENDED:
        refusal = readings.fast_extended
    if code in _XMM_CALLS:
        refusal = readings.fast_xmm_calls
    if code == Call.POST_MESSAGE:
        refusal = readings.fast_post_message
    if refusal is None and declaration.fast is FastForm.NO:
        refusal = readings.fast_unsupported
    output_pairs = (plan.output_size + _PAIR - 1) // _PAIR
    if refusal is None and plan.output_pair + output_pairs > _PAIRS:
        refusal = HvStatus.INVALID_HYPERCALL_INPUT
    if refusal is None and plan.input_size > _PAIR and not (long_mode or readings.fast_xmm_32_bit):
        refusal = HvStatus.INVALID_HYPERCALL_INPUT
    if refusal is not None:
        return COMPLETED[refusal]
    needs_xmm = plan.input_size > _PAIR or (
        readings.fast_xmm_gate is FastXmmGate.WHEN_CALL_KNOWS_XMM and code in _XMM_CALLS
    )
    if needs_xmm and not features & Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT:
        return UNDEFINED_OPCODE
    offered = long_mode and features & Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_OUTPUT
    if plan.output_size and not offered:
        status = readings.fast_output_refused
        return UNDEFINED_OPCODE if status is None else COMPLETED[status]
    return None


def _set_reserved_rule(plan: Plan, declaration: CallDeclaration, readings: ReadingSet) -> None:
    if declaration.code in _IPIS and readings.ipi_target_vtl is not IpiTargetVtl.HONOURED:
        if readings.ipi_target_vtl is IpiTargetVtl.REFUSED:
            plan.reserved_mask = _IPI_UPPER_HALF
        elif plan.fast and declaration.code == Call.SEND_SYNTHETIC_CLUSTER_IPI:
            plan.reserved_mask = _IPI_UPPER_HALF
            plan.reserved_outcome = COMPLETED[HvStatus.INVALID_HYPERCALL_INPUT]
    elif readings.reserved_fields is ReservedFields.REFUSE:
        plan.reserved_mask = declaration.header.reserved_mask
