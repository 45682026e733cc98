"""HV_INITIAL_VP_CONTEXT for x64: the registers with which a processor or a VTL starts.

Source: TLFS ``datatypes/hv_initial_vp_context``; TLFS 6.0b pages 172-174.
"""

from dataclasses import dataclass, field
from struct import Struct
from typing import Self

from hypercall.tlfs.layout import Buffer, Field, FieldKind

INITIAL_CONTEXT_SIZE = 224
INITIAL_CONTEXT_OFFSET = 16
"""Where the context stands in the input of the two calls that take one."""

_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldtr")
_TABLES = ("idtr", "gdtr")
_REGISTERS = ("efer", "cr0", "cr3", "cr4", "pat")


def _fields() -> tuple[Field, ...]:
    fields = []
    offset = INITIAL_CONTEXT_OFFSET
    for name in ("rip", "rsp", "rflags"):
        fields.append(Field(name, offset, 8, FieldKind.HEX))
        offset += 8
    for name in _SEGMENTS:
        fields.append(Field(name, offset, 16, FieldKind.SEGMENT))
        offset += 16
    for name in _TABLES:
        fields.append(Field(name, offset, 16, FieldKind.TABLE))
        offset += 16
    for name in _REGISTERS:
        fields.append(Field(name, offset, 8, FieldKind.HEX))
        offset += 8
    return tuple(fields)


INITIAL_CONTEXT_FIELDS = _fields()
"""The context's fields at their offsets in the input of the two calls that take one."""

_SEGMENT = Struct("<QIHH")
_TABLE = Struct("<6xHQ")


@dataclass(frozen=True, slots=True)
class SegmentRegister:
    """HV_X64_SEGMENT_REGISTER.

    Attributes:
        base: linear base.
        limit: in bytes, granularity applied.
        selector: selector.
        attributes: bits 3:0 type, 4 S, 6:5 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G.
    """

    base: int = 0
    limit: int = 0
    selector: int = 0
    attributes: int = 0

    @classmethod
    def parse(cls, data: Buffer) -> Self:
        """Read 16 bytes."""
        return cls(*_SEGMENT.unpack(data))

    def pack(self) -> bytes:
        """Return the 16 bytes."""
        return _SEGMENT.pack(self.base, self.limit, self.selector, self.attributes)


@dataclass(frozen=True, slots=True)
class TableRegister:
    """HV_X64_TABLE_REGISTER: limit and base of IDTR or GDTR."""

    limit: int = 0
    base: int = 0

    @classmethod
    def parse(cls, data: Buffer) -> Self:
        """Read 16 bytes."""
        return cls(*_TABLE.unpack(data))

    def pack(self) -> bytes:
        """Return the 16 bytes."""
        return _TABLE.pack(self.limit, self.base)


@dataclass(frozen=True, slots=True)
class InitialVpContext:
    """The registers with which a processor or a VTL starts; the field order is the layout's."""

    rip: int = 0
    rsp: int = 0
    rflags: int = 2
    cs: SegmentRegister = field(default_factory=SegmentRegister)
    ds: SegmentRegister = field(default_factory=SegmentRegister)
    es: SegmentRegister = field(default_factory=SegmentRegister)
    fs: SegmentRegister = field(default_factory=SegmentRegister)
    gs: SegmentRegister = field(default_factory=SegmentRegister)
    ss: SegmentRegister = field(default_factory=SegmentRegister)
    tr: SegmentRegister = field(default_factory=SegmentRegister)
    ldtr: SegmentRegister = field(default_factory=SegmentRegister)
    idtr: TableRegister = field(default_factory=TableRegister)
    gdtr: TableRegister = field(default_factory=TableRegister)
    efer: int = 0
    cr0: int = 0
    cr3: int = 0
    cr4: int = 0
    pat: int = 0

    @classmethod
    def from_fields(cls, *values: int | bytes) -> Self:
        """Build the context from the header fields that a handler gets, in their order.

        Args:
            *values: rip, rsp, rflags, eight segments and two tables of 16 bytes, and five
                registers.

        Raises:
            TypeError: for another number of values.
        """
        parsed: list[object] = list(values)
        first_table = 3 + len(_SEGMENTS)
        for index in range(3, first_table):
            parsed[index] = SegmentRegister(*_SEGMENT.unpack(values[index]))  # type: ignore[arg-type]
        for index in range(first_table, first_table + len(_TABLES)):
            parsed[index] = TableRegister(*_TABLE.unpack(values[index]))  # type: ignore[arg-type]
        return cls(*parsed)  # type: ignore[arg-type]

    @classmethod
    def parse(cls, data: Buffer) -> Self:
        """Read the 224 bytes of a context.

        Raises:
            struct.error: if the buffer is shorter.
        """
        return cls.from_fields(*_CONTEXT.unpack_from(data))

    def pack(self) -> bytes:
        """Return the 224 bytes."""
        values: list[int | bytes] = []
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            values.append(value if isinstance(value, int) else value.pack())
        return _CONTEXT.pack(*values)


_CONTEXT = Struct("<3Q" + "16s" * (len(_SEGMENTS) + len(_TABLES)) + "5Q")
