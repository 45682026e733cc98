"""Structures of the interface: fields with offsets, compiled once to ``struct.Struct`` codecs."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from struct import Struct
from typing import Any, Protocol

from hypercall.tlfs.flags import FlagWord

Buffer = bytes | bytearray | memoryview

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class FieldKind(Enum):
    """What a field means: how a person wants to read its value."""

    INTEGER = auto()
    HEX = auto()
    BYTES = auto()
    FLAGS = auto()
    ENUMERATION = auto()
    ADDRESS_SPACE = auto()
    GPA = auto()
    GPA_PAGE = auto()
    GVA_PAGE = auto()
    GPA_RANGE = auto()
    GVA_RANGE = auto()
    PARTITION_ID = auto()
    VP_INDEX = auto()
    APIC_ID = auto()
    VP_MASK = auto()
    VP_SET_FORMAT = auto()
    VP_SET_BANKS_MASK = auto()
    VP_SET_BANKS = auto()
    HV_VTL = auto()
    HV_INPUT_VTL = auto()
    CONNECTION_ID = auto()
    MESSAGE_TYPE = auto()
    REGISTER_NAME = auto()
    REGISTER_VALUE = auto()
    SEGMENT = auto()
    TABLE = auto()
    DURATION = auto()
    ZEROED_RANGES = auto()


class ReservedRule(Enum):
    """What a reserved field demands of the caller."""

    MUST_BE_ZERO = auto()
    """RsvdZ: anything but zero is refused with INVALID_PARAMETER."""
    IGNORED = auto()
    """Padding: read by nobody."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure.

    Attributes:
        name: the TLFS's name in Python case.
        offset: bytes from the start of the structure.
        size: bytes; 1, 2, 4 and 8 are little-endian unsigned integers, others are bytes.
        kind: what the value means.
        values: the flag word or enumeration of kinds FLAGS and ENUMERATION.
        reserved: set for a field that carries no value.
        note: a remark for the reference, such as a range.
    """

    name: str
    offset: int
    size: int
    kind: FieldKind = FieldKind.INTEGER
    values: type[FlagWord] | type[IntEnum] | None = None
    reserved: ReservedRule | None = None
    note: str = ""

    @property
    def is_integer(self) -> bool:
        """Whether the field is unpacked as an integer rather than as bytes."""
        return self.size in _CODES and self.kind is not FieldKind.BYTES


class _Unpack(Protocol):
    def __call__(self, buffer: Buffer, offset: int = 0, /) -> tuple[Any, ...]: ...


class Structure:
    """A structure of fields at fixed offsets.

    Attributes:
        name: the TLFS's name of the structure.
        fields: every field, reserved ones too, in ascending order of offset.
        values: the fields that carry a value, in the order in which `unpack` gives them.
        field_names: their names.
        size: bytes from offset 0 to the end of the last field.
        padded_size: `size` rounded up to a multiple of 8, as it counts in a parameter list.
        reserved_mask: the structure seen as one little-endian integer, with all bits of the
            MUST_BE_ZERO fields set: ``int.from_bytes(data, "little") & reserved_mask``.
        unpack: ``unpack(buffer, offset=0)`` gives the values of `values` as a tuple. It raises
            ``struct.error`` when the buffer holds less than `size` bytes from `offset` on.
    """

    __slots__ = (
        "_struct",
        "field_names",
        "fields",
        "name",
        "padded_size",
        "reserved_mask",
        "size",
        "unpack",
        "values",
    )

    def __init__(self, name: str, fields: Sequence[Field] = ()) -> None:
        """Compile the fields.

        Raises:
            ValueError: if two fields overlap or have one name.
        """
        self.name = name
        self.fields = tuple(sorted(fields, key=lambda field: field.offset))
        self.values = tuple(field for field in self.fields if field.reserved is None)
        self.field_names = tuple(field.name for field in self.values)
        if len(set(self.field_names)) != len(self.field_names):
            raise ValueError(f"structure {name} has two fields of one name")
        layout = ["<"]
        position = 0
        mask = 0
        for field in self.fields:
            if field.offset < position:
                raise ValueError(f"field {field.name} of structure {name} overlaps another")
            if field.offset > position:
                layout.append(f"{field.offset - position}x")
            if field.reserved is not None:
                layout.append(f"{field.size}x")
            elif field.is_integer:
                layout.append(_CODES[field.size])
            else:
                layout.append(f"{field.size}s")
            if field.reserved is ReservedRule.MUST_BE_ZERO:
                mask |= ((1 << 8 * field.size) - 1) << 8 * field.offset
            position = field.offset + field.size
        self.size = position
        self.padded_size = (position + 7) & ~7
        self.reserved_mask = mask
        self._struct = Struct("".join(layout))
        self.unpack: _Unpack = self._struct.unpack_from

    def pack(self, **values: int | bytes) -> bytes:
        """Build the structure's bytes.

        Args:
            **values: a value for each field by name; fields left out and reserved ones are zero.

        Returns:
            `size` bytes.

        Raises:
            TypeError: for a name that is not a field.
            struct.error: for a value that its field cannot hold.
        """
        ordered: list[int | bytes] = []
        for field in self.values:
            default: int | bytes = 0 if field.is_integer else b""
            ordered.append(values.pop(field.name, default))
        if values:
            raise TypeError(f"structure {self.name} has no field {next(iter(values))}")
        return self._struct.pack(*ordered)

    def unpack_named(self, buffer: Buffer) -> dict[str, Any]:
        """Return the values by name; the slow and comfortable form of `unpack`."""
        return dict(zip(self.field_names, self.unpack(buffer), strict=True))

    def field(self, name: str) -> Field:
        """Return the value field of that name.

        Raises:
            KeyError: if there is none.
        """
        for field in self.values:
            if field.name == name:
                return field
        raise KeyError(name)

    def __repr__(self) -> str:
        return f"Structure({self.name!r}, {self.size} bytes)"


EMPTY = Structure("nothing")
"""The header of a call that has no input."""


def reserved(offset: int, size: int, rule: ReservedRule = ReservedRule.MUST_BE_ZERO) -> Field:
    """Return a reserved field, named by its place."""
    return Field(f"reserved_{offset}", offset, size, reserved=rule)
