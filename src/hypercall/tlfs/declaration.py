"""What is declared of a call: everything that the dispatcher, decoder and reference derive."""

from dataclasses import dataclass, field
from enum import Enum, auto

from hypercall.tlfs.layout import EMPTY, FieldKind, Structure
from hypercall.tlfs.privileges import (
    ExtendedCapability,
    NestedFeature,
    Privilege,
    Recommendation,
)
from hypercall.tlfs.status import HvStatus

MAX_REGISTER_BYTES = 112
"""RDX, R8 and XMM0 to XMM5."""

_NO_PRIVILEGE = Privilege(0)
_NO_RECOMMENDATION = Recommendation(0)
_NO_CAPABILITY = ExtendedCapability(0)
_NO_NESTED_FEATURE = NestedFeature(0)


class CallClass(Enum):
    """How a call works through its parameters."""

    SIMPLE = "simple"
    REP = "rep"
    VTL_SWITCH = "VTL switch"


class FastForm(Enum):
    """Whether the register form is allowed; whether it needs XMM follows from the sizes."""

    NO = auto()
    YES = auto()


class Family(Enum):
    """The calls in groups, as the modules of `hypercall.tlfs.calls` have them."""

    ADDRESS_SPACES = "address spaces"
    PROCESSORS = "processors"
    INTERRUPTS = "interrupts"
    VIRTUAL_TRUST_LEVELS = "virtual trust levels"
    MESSAGES_AND_EVENTS = "messages and events"
    DEBUGGING = "debugging"
    NESTED = "nested"
    EXTENDED = "extended"


@dataclass(frozen=True, slots=True)
class StatusCondition:
    """A status that a call may return, beside the common ones (2, 3 and 4).

    Attributes:
        status: the status.
        when: the condition.
        source: who says so; "inferred" when nobody does.
    """

    status: HvStatus
    when: str
    source: str


@dataclass(frozen=True, slots=True)
class VariableHeader:
    """What the variable-sized header holds, in units of 8 bytes.

    Attributes:
        name: name of the whole.
        kind: what it means.
        maximum: the most units that have a meaning.
    """

    name: str
    kind: FieldKind
    maximum: int


@dataclass(frozen=True, slots=True)
class VariableData:
    """Bytes after the header or the fixed output whose number stands in a field.

    Attributes:
        name: name of the data.
        count_field: the field with the number of bytes.
        maximum: the most bytes.
        limit_field: for output, the input field with the most bytes that the caller takes.
    """

    name: str
    count_field: str
    maximum: int
    limit_field: str = ""


@dataclass(frozen=True, slots=True)
class CallDeclaration:
    """One call of the interface.

    Attributes:
        code: call code.
        name: the TLFS's name, for example ``HvCallPostMessage``.
        family: its group.
        call_class: simple, rep or VTL switch.
        section: where the TLFS describes it.
        summary: one sentence of what it does.
        header: fixed input.
        variable_header: the variable-sized header, if the call takes one.
        element: input element of a rep call.
        output: fixed output of a simple call.
        output_element: output element of a rep call.
        fast: whether the register form is allowed.
        variable_input: bytes after the header, counted in it.
        variable_output: bytes after the output, counted in it.
        privilege: partition privileges that are needed, all of them.
        recommendation: the CPUID bits that recommend the call; a gate only where a reading
            says that recommendations are enforced.
        capability: the extended capabilities, one of which announces the call.
        nested_feature: the nested features, one of which announces the call.
        statuses: what it may return beside 2, 3 and 4.
        known: how much the public record says, for thin calls; else empty.
        aliases: other names that people use for it.
        in_reference_table: it is one of the 32 calls of the reference table, and not one beside
            them.
    """

    code: int
    name: str
    family: Family
    call_class: CallClass
    section: str
    summary: str
    header: Structure = EMPTY
    variable_header: VariableHeader | None = None
    element: Structure | None = None
    output: Structure | None = None
    output_element: Structure | None = None
    fast: FastForm = FastForm.YES
    variable_input: VariableData | None = None
    variable_output: VariableData | None = None
    privilege: Privilege = _NO_PRIVILEGE
    recommendation: Recommendation = _NO_RECOMMENDATION
    capability: ExtendedCapability = _NO_CAPABILITY
    nested_feature: NestedFeature = _NO_NESTED_FEATURE
    statuses: tuple[StatusCondition, ...] = ()
    known: str = ""
    aliases: tuple[str, ...] = field(default=())
    in_reference_table: bool = True

    @property
    def is_rep(self) -> bool:
        """Whether it is a rep call."""
        return self.call_class is CallClass.REP

    def input_size(self, variable_units: int = 0, reps: int = 0) -> int:
        """Return the bytes of the whole input list, not rounded.

        Args:
            variable_units: units of 8 bytes of variable header.
            reps: number of elements.
        """
        element = self.element.size if self.element else 0
        return self.header.size + 8 * variable_units + reps * element

    def output_size(self, reps: int = 0) -> int:
        """Return the bytes of the whole output list, not rounded."""
        if self.output_element:
            return reps * self.output_element.size
        return self.output.size if self.output else 0

    @property
    def max_reps_in_page(self) -> int:
        """The most elements that one page holds without a variable header; 0 if not a rep call."""
        room = []
        if self.element:
            room.append((4096 - self.header.size) // self.element.size)
        if self.output_element:
            room.append(4096 // self.output_element.size)
        return min(room, default=0)
