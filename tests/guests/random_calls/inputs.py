"""Random calls from the declarations: valid ones, nearly valid ones, and garbage.

What a call may do legitimately and would make the checks or the guest itself pointless is left
out: a VTL does not give away what it keeps, and no call takes the guest's own code, stacks, tables
or control registers from it. The same calls are made where they must be refused.
"""

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from tests.guests.layout import HYPERCALL_PAGE, IDENTITY_TABLES, LOCAL_APIC, TSC_PAGE
from tests.guests.random_calls.code import context_words
from tests.guests.random_calls.places import (
    INPUT_SIZE,
    LARGE_VICTIM,
    NESTED_TABLES,
    RAM_END,
    READ_PROBE,
    RECORD_SIZE,
    SECRETS,
    VICTIMS,
    VMCALL,
    VMMCALL,
    VPS,
    VTLS,
    WRITE_PROBE,
    inputs,
    outputs,
)

from hypercall.partition.hypercall_page import VTL_CALL_OFFSET_64, VTL_RETURN_OFFSET_64
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.declaration import MAX_REGISTER_BYTES, CallClass, CallDeclaration, FastForm
from hypercall.tlfs.flags import FlagWord
from hypercall.tlfs.layout import Field, FieldKind, Structure
from hypercall.tlfs.registers import RegisterName

_R = RegisterName
_MASK = (1 << 64) - 1
_SELF, _ANY_VP = 0xFFFFFFFE, 0xFFFFFFFF
_FAST, _REPS, _START, _VARIABLE = 1 << 16, 32, 48, 17
_RESERVED_BITS = (27, 28, 31, 44, 47, 60, 63)

HOST_PORT, HOST_EVENTS, GUARDED_PORT = 0x21, 0x22, 0x23
"""Connections to the host: messages, events, and messages of VTL 1 and 2 alone."""
GUEST_PORTS = {0x100 + vp: vp for vp in range(VPS)}
"""Connections to message ports of VTL 0 of each processor."""
EVENT_PORT = 0x200
NESTED_ROOTS = (NESTED_TABLES | 0x1E, NESTED_TABLES + 0x10000 | 0x1E)

_DELICATE = frozenset(
    [
        *(Call.SWITCH_VIRTUAL_ADDRESS_SPACE, Call.MODIFY_VTL_PROTECTION_MASK, Call.ENABLE_VP_VTL),
        *(Call.SET_VP_REGISTERS, Call.START_VIRTUAL_PROCESSOR, Call.MEMORY_HEAT_HINT),
        *(Call.MEMORY_HEAT_HINT_ASYNC, Call.POST_MESSAGE, Call.EPF_SETUP),
        Call.RETRIEVE_DEBUG_DATA,
    ]
)
"""Calls that other calls' parameters must not be given to: they would take the guest from it."""

_OWN_WORLD = frozenset(
    [
        *(_R.RIP, _R.RSP, _R.RFLAGS, _R.CR0, _R.CR3, _R.CR4, _R.CR8, _R.EFER, _R.DR7, _R.XFEM),
        *range(_R.ES, _R.TR + 1),
        *(_R.IDTR, _R.GDTR, _R.APIC_BASE, _R.PENDING_EVENT0, _R.PENDING_INTERRUPTION),
        *(_R.HYPERCALL, _R.GUEST_OS_ID, _R.SCONTROL, _R.SIMP, _R.VP_ASSIST_PAGE, _R.TPR, _R.ICR),
        *(_R.SINT0, _R.SINT0 + 2, _R.SINT0 + 3, _R.GUEST_IDLE, _R.GUEST_CRASH_CTL),
        *(_R.VSM_VP_WAIT_FOR_TLB_LOCK, _R.TSC, _R.INTERRUPT_STATE),
        *range(_R.RAX, _R.R15 + 1),
    ]
)
"""Registers without which a VTL of a processor does not go on as the guest expects."""


_COMMON_REGISTERS = (
    *(_R.VP_INDEX, _R.RIP, _R.CR3, _R.CS, _R.XMM0, _R.STAR, _R.LSTAR, _R.PAT, _R.DR0, _R.SIEFP),
    *(_R.SIEFP, _R.REFERENCE_TSC, _R.EOM, _R.SINT5, _R.STIMER0_CONFIG, _R.STIMER0_COUNT),
    *(_R.STIMER2_CONFIG, _R.STIMER2_COUNT, _R.VSM_VP_STATUS, _R.VSM_PARTITION_STATUS),
    *(_R.VSM_VINA, _R.VSM_PARTITION_CONFIG, _R.VSM_VP_SECURE_CONFIG_VTL0, _R.HYPERCALL),
    *(_R.VSM_VP_SECURE_CONFIG_VTL1, _R.CR_INTERCEPT_CONTROL, _R.SIMP, _R.SINT0, _R.RSP),
)
"""The registers that valid calls name."""

# RIP, RFLAGS, EFER, CR0, CR3, CR4 and PAT of an initial context, with what they cannot be.
_BAD_CONTEXT_WORDS = (
    *((16, 1 << 62), (32, 0), (200, 1 << 40), (208, 0), (216, 1 << 44), (224, 1 << 40)),
    (232, _MASK),
)


class Kind(Enum):
    """What a record is."""

    CALL = auto()
    ENTRY = auto()
    LEAVE = auto()
    PROBE = auto()


@dataclass
class Record:
    """One record of a table.

    Attributes:
        kind: what it is.
        control: RCX.
        target: the function that is called.
        registers: RDX, R8 and XMM0 to XMM5.
        message: (connection, number) of a message that it posts, or None.
    """

    kind: Kind
    control: int = 0
    target: int = 0
    registers: bytes = b""
    message: tuple[int, int] | None = None

    def pack(self) -> bytes:
        """The record as the guest reads it."""
        registers = self.registers.ljust(MAX_REGISTER_BYTES, b"\0")
        head = struct.pack("<Q", self.control) + registers[:16] + struct.pack("<Q", self.target)
        return (head + registers[16:]).ljust(RECORD_SIZE, b"\0")


class Inputs:
    """Makes the records of one world.

    Args:
        chooser: where chance comes from.
        vp: the processor.
        vtl: its VTL.
        disabling: whether VTLs are disabled and enabled again.
        numbers: gives each message its number.
    """

    def __init__(
        self,
        chooser: random.Random,
        vp: int,
        vtl: int,
        *,
        disabling: bool,
        numbers: Iterator[int],
    ) -> None:
        self._chooser = chooser
        self._vp = vp
        self._vtl = vtl
        self._numbers = numbers
        self._disabling = disabling
        self._data = bytearray()
        self._message: tuple[int, int] | None = None
        self._straight = False
        self._secrets = [page for level, page in SECRETS.items() if level > vtl]
        self._calls = [
            declaration
            for declaration in DECLARATIONS
            if declaration.call_class is not CallClass.VTL_SWITCH
            and (disabling or declaration.code not in (0xE, 0x10))
            for _ in range(_weight(declaration.code))
        ]

    def table(self, count: int) -> tuple[list[Record], bytes]:
        """Make records, and the input lists that they name."""
        self._data = bytearray()
        records = [self._record() for _ in range(count)]
        return records, bytes(self._data)

    def _record(self) -> Record:
        self._message = None
        chance = self._chooser.random()
        switch = (0.25, 0.12, 0.0)[self._vtl]
        leave = (0.0, 0.2, 0.3)[self._vtl]
        if chance < switch:
            return self._entry(VTL_CALL_OFFSET_64, 0)
        if chance < switch + leave:
            return Record(Kind.LEAVE)
        if chance < switch + leave + 0.02:
            offset = self._chooser.choice((VTL_CALL_OFFSET_64, VTL_RETURN_OFFSET_64))
            return self._entry(offset, self._chooser.getrandbits(64) | 2)
        chance = self._chooser.random()
        if chance < 0.1:
            return self._probe()
        if chance < 0.25:
            return self._garbage()
        return self._call(nearly=chance > 0.65)

    def _entry(self, offset: int, control: int) -> Record:
        return Record(Kind.ENTRY, control, HYPERCALL_PAGE + offset)

    def _probe(self) -> Record:
        """Read or write a word: most often of what a higher VTL keeps."""
        places = [*self._secrets * 3, self._victim(), HYPERCALL_PAGE, TSC_PAGE, RAM_END]
        place = self._chooser.choice(places) + 8 * self._chooser.randrange(512)
        target = self._chooser.choice((READ_PROBE, WRITE_PROBE))
        return Record(Kind.PROBE, 0, target, struct.pack("<Q", place))

    def _garbage(self) -> Record:
        """A random control word, or one with a real code, and random registers."""
        chooser = self._chooser
        self._straight = False
        control = chooser.getrandbits(64)
        if chooser.random() < 0.7:
            control = control & ~0xFFFF | chooser.choice(self._calls).code
        if chooser.random() < 0.7:
            control &= 0x000F_000F_0001_FFFF
        registers = chooser.randbytes(MAX_REGISTER_BYTES)
        if control & 0xFFFF not in _DELICATE and chooser.random() < 0.5:
            addresses = (self._bad_address(), self._output())
            registers = struct.pack("<2Q", *addresses) + registers[16:]
        return Record(Kind.CALL, control, self._page(), registers)

    def _page(self) -> int:
        return self._chooser.choice((HYPERCALL_PAGE, HYPERCALL_PAGE, VMCALL, VMMCALL))

    # --- calls -----------------------------------------------------------------------------------

    def _call(self, *, nearly: bool) -> Record:
        chooser = self._chooser
        self._straight = not nearly
        declaration = chooser.choice(self._calls)
        code = declaration.code
        reps = self._rep_count(declaration)
        units, variable = self._variable_header(declaration)
        header = bytearray(self._header(declaration, variable))
        elements = b"".join(self._element(declaration, header) for _ in range(reps))
        data = bytes(header) + variable + elements
        if declaration.variable_input:
            data += chooser.randbytes(struct.unpack_from("<I", data)[0] % 64)
        control = code | units << _VARIABLE | reps << _REPS
        if reps > 1 and chooser.random() < 0.2:
            control |= chooser.randrange(reps) << _START
        if nearly and code not in _DELICATE and chooser.random() < 0.3:
            data = self._spoiled(data)
        registers = chooser.randbytes(MAX_REGISTER_BYTES)
        fits = len(data) <= MAX_REGISTER_BYTES and declaration.fast is not FastForm.NO
        if fits and chooser.random() < 0.4:
            control |= _FAST
            registers = data.ljust(16, b"\0") + registers[len(data.ljust(16, b"\0")) :]
        else:
            address = self._place(data)
            if nearly and chooser.random() < 0.2:
                # Memory that reads as zero would be a root of page tables.
                no_space = code == Call.SWITCH_VIRTUAL_ADDRESS_SPACE
                address = RAM_END if no_space else self._bad_address()
            registers = struct.pack("<2Q", address, self._output()) + registers[16:]
        if nearly and chooser.random() < 0.4:
            control = self._spoiled_control(control, code in _DELICATE)
        return Record(Kind.CALL, control, self._page(), registers, self._message)

    def _rep_count(self, declaration: CallDeclaration) -> int:
        if not declaration.is_rep:
            return 0
        most = min(declaration.max_reps_in_page, 12)
        if self._chooser.random() < 0.05 and declaration.code not in _DELICATE:
            most = min(declaration.max_reps_in_page, 200)
        return self._chooser.randint(1, most)

    def _variable_header(self, declaration: CallDeclaration) -> tuple[int, bytes]:
        if declaration.variable_header is None:
            return 0, b""
        units = self._pick((1, 1, 1, 2), (0, 3))
        return units, struct.pack(f"<{units}Q", *(self._mask() for _ in range(units)))

    def _header(self, declaration: CallDeclaration, variable: bytes) -> bytes:
        special = _SPECIAL.get(declaration.code)
        if special is not None:
            return special(self)
        values = self._values(declaration.header)
        straight = self._straight or self._chooser.random() < 0.8
        if "valid_banks_mask" in values and straight:
            banks = len(variable) // 8
            values["valid_banks_mask"] = (1 << banks) - 1
        return declaration.header.pack(**values)

    def _element(self, declaration: CallDeclaration, header: bytearray) -> bytes:
        assert declaration.element is not None
        if declaration.code == Call.SET_VP_REGISTERS:
            return self._register_to_set(declaration.element, header)
        if declaration.code == Call.MODIFY_VTL_PROTECTION_MASK:
            return struct.pack("<Q", self._page_to_protect(header))
        return declaration.element.pack(**self._values(declaration.element))

    def _values(self, structure: Structure) -> dict[str, int | bytes]:
        return {
            field.name: self._value(field) if field.is_integer else self._bytes(field)
            for field in structure.values
        }

    def _bytes(self, field: Field) -> bytes:
        return self._chooser.randbytes(field.size)

    def _value(self, field: Field) -> int:
        chooser = self._chooser
        junk = not self._straight and field.kind is not FieldKind.DURATION
        if junk and chooser.random() < 0.05:
            return chooser.getrandbits(8 * field.size)
        if field.kind is FieldKind.FLAGS and field.values is not None:
            assert issubclass(field.values, FlagWord)
            bits = chooser.getrandbits(16) & chooser.getrandbits(16)
            return bits & field.values.defined_mask()
        maker = _MAKERS.get(field.kind)
        value = maker(self) if maker is not None else self._number(field)
        return value & (1 << 8 * field.size) - 1

    def _number(self, field: Field) -> int:
        if field.name == "vector":
            return self._chooser.randrange(0x10, 0x100)
        if field.name in ("flags", "message_address", "message_data"):
            return self._pick((0,), (1, 7))
        if field.name == "flag_number":
            return self._pick((0, 1, 7, 63), (64, 2047, 2048))
        return self._chooser.choice((0, 1, 1, 2, 3, 8, 240))

    # --- what fields hold ------------------------------------------------------------------------

    def _pick(self, good: Sequence[int], odd: Sequence[int]) -> int:
        """Choose what a valid call has, or now and then, in a nearly valid one, something odd."""
        if not self._straight and self._chooser.random() < 0.35:
            return self._chooser.choice(odd)
        return self._chooser.choice(good)

    def _partition(self) -> int:
        return self._pick((-1,), (0, 1, 5))

    def _vp_index(self) -> int:
        return self._pick((_SELF, *range(VPS)), (VPS, _ANY_VP, 64))

    def _hv_vtl(self) -> int:
        return self._pick((1, 2), (0, 3, 15, 0x12))

    def _input_vtl(self) -> int:
        lower = [0x10 | vtl for vtl in range(self._vtl + 1)]
        return self._pick((0, 0, *lower), (0x11, 0x12, 0x13, 0x20, 0xFF))

    def _space(self) -> int:
        return self._pick((IDENTITY_TABLES, 0, *NESTED_ROOTS, *NESTED_ROOTS), (1 << 41,))

    def _mask(self) -> int:
        return self._pick((1, 2, 4, 5, 7, _MASK), (0, 15, 1 << 63))

    def _victim(self) -> int:
        return self._chooser.choice(VICTIMS) << 12

    def _gva_range(self) -> int:
        page = self._pick((self._victim(), 0x400000, 0xFFFF_8000_0000_0000), (1 << 62,))
        return page | self._chooser.choice((0, 0, 1, 7, 0xFFF))

    def _gpa_range(self) -> int:
        """A few victims, two million bytes of them, a secret, or nothing that there is."""
        victim = self._victim()
        if victim >> 12 < VICTIMS.stop - 2:
            victim |= self._chooser.choice((0, 1, 2))
        good = (victim, victim, LARGE_VICTIM | 0x800, *self._secrets)
        return self._pick(good, (RAM_END, 1 << 45, 0xFFF, LARGE_VICTIM | 0x1800))

    def _gpa_page(self) -> int:
        return self._pick((self._victim(), *self._secrets), (RAM_END, 1 << 50)) >> 12

    def _register_name(self) -> int:
        return int(self._pick(_COMMON_REGISTERS, (*_R, 0xD0015, 0xFFFF)))

    def _connection(self) -> int:
        known = (HOST_PORT, HOST_PORT, GUARDED_PORT, EVENT_PORT, *GUEST_PORTS)
        return self._pick(known, (HOST_EVENTS, 0x999, 1 << 24))

    def _output(self) -> int:
        own = outputs(self._vp, self._vtl) + 0x1000 * self._chooser.randrange(4)
        odd = (own + 4, own + 0xFF8, *self._secrets, HYPERCALL_PAGE, RAM_END, LOCAL_APIC, 1 << 41)
        return self._pick((own, own + 8, own, self._victim()), odd)

    def _bad_address(self) -> int:
        """Where no input list is: what a higher VTL keeps, no memory, a device, odd addresses."""
        base = inputs(self._vp, self._vtl)
        return self._chooser.choice(
            (*self._secrets, *[page + 0xFF0 for page in self._secrets], RAM_END, RAM_END - 4,
             LOCAL_APIC, HYPERCALL_PAGE, 1 << 41, _MASK, base + 0xFFC, base + INPUT_SIZE + 0xFFF)
        )  # fmt: skip

    def _place(self, data: bytes) -> int:
        """Put an input list where no page ends within it, and return its address."""
        start = len(self._data)
        if start // 4096 != (start + max(len(data), 8) - 1) // 4096:
            start = -(-start // 4096) * 4096
        if start + len(data) > INPUT_SIZE - 4096:
            return RAM_END  # no room
        self._data = self._data.ljust(start, b"\xff") + data
        self._data += b"\xff" * (-len(self._data) % 8 + 64)
        return inputs(self._vp, self._vtl) + start

    # --- what is not quite right -----------------------------------------------------------------

    def _spoiled(self, data: bytes) -> bytes:
        if not data:
            return data
        spoiled = bytearray(data)
        spoiled[self._chooser.randrange(len(data))] ^= 1 << self._chooser.randrange(8)
        return bytes(spoiled)

    def _spoiled_control(self, control: int, delicate: bool) -> int:
        chooser = self._chooser
        what = chooser.randrange(1, 4 if delicate else 7)
        if what == 1:
            return control ^ 1 << chooser.choice(_RESERVED_BITS)
        if what == 2:
            return control | (control >> _REPS & 0xFFF) << _START
        if what == 3:
            return control & ~(0xFFF << _REPS)
        if what == 4:
            return control ^ _FAST
        if what == 5:
            return control ^ 1 << _REPS + chooser.randrange(12)
        return control ^ 1 << _VARIABLE + chooser.randrange(10)

    # --- calls with rules of their own -----------------------------------------------------------

    def _switch_space(self) -> bytes:
        good = (IDENTITY_TABLES, IDENTITY_TABLES | 8, IDENTITY_TABLES | 0x18)
        return struct.pack("<Q", self._pick(good, (1 << 40, 1 << 63, _MASK)))

    def _protect(self) -> bytes:
        mask = self._pick((0, 1, 3, 0xD, 0xF), (2, 4, 5, 7, 0x10, 1 << 31))
        target = self._pick((0, 0x10 | self._vtl), (0x10, 0x11, 0x12, 0x13, 0x20))
        return struct.pack("<qIBxxx", self._partition(), mask, target)

    def _page_to_protect(self, header: bytearray) -> int:
        """A victim; or a secret, but a VTL does not give its own or a lower one's away."""
        pages = [self._victim(), self._victim(), *self._secrets]
        if not struct.unpack_from("<I", header, 8)[0] and header[12] & 0xF in (0, self._vtl):
            pages += [SECRETS[self._vtl]] if self._vtl in SECRETS else []
        return self._pick(pages, (RAM_END, 1 << 50)) >> 12

    def _with_context(self, *, starting: bool) -> bytes:
        """A processor, a VTL and its context, or one that no processor can have."""
        chooser = self._chooser
        vp = chooser.randrange(VPS)
        vtl = chooser.randrange(1, VTLS)
        if starting:
            # A VTL that another one returns to later may start anew, not one that is entered so.
            vtl = chooser.choice((0, *range(self._vtl + 1, VTLS)))
        data = bytearray(context_words(vp, vtl))
        struct.pack_into("<q", data, 0, self._partition())
        if self._straight:
            return bytes(data)
        if chooser.random() < 0.2:
            struct.pack_into("<I", data, 8, chooser.choice((VPS, _ANY_VP, 63)))
        if chooser.random() < 0.2:
            data[12] = chooser.choice((3, 15, 0x11))
        if chooser.random() < 0.4:
            offset, value = chooser.choice(_BAD_CONTEXT_WORDS)
            struct.pack_into("<Q", data, offset, value)
        return bytes(data)

    def _registers_of(self) -> bytes:
        """The header of 0x0051; its elements depend on whose registers they are."""
        return struct.pack("<qIBxxx", self._partition(), self._vp_index(), self._input_vtl())

    def _register_to_set(self, structure: Structure, header: bytearray) -> bytes:
        chooser = self._chooser
        target = header[12] & 0xF if header[12] & 0x10 else self._vtl
        value = self._pick((0, 1, 3, 0x1FF), (0x10050, chooser.getrandbits(64), _MASK))
        while True:
            name = self._register_name()
            if target > self._vtl or name not in _OWN_WORLD:
                break
        if name in (_R.SIEFP, _R.REFERENCE_TSC, _R.SIRBP):
            # Overlays over victims and over what a higher VTL keeps.
            value = chooser.choice(
                [0, self._victim() | 1, *[page | 1 for page in self._secrets * 2]]
            )
        elif _R.VSM_VP_SECURE_CONFIG_VTL0 <= name <= _R.VSM_VP_SECURE_CONFIG_VTL0 + 2:
            # A lock of another processor ends only when that one comes to the level.
            own = struct.unpack_from("<I", header, 8)[0] in (_SELF, self._vp)
            value = chooser.choice((0, 0, 1, 4, *((2, 2, 3) if own else ())))
        elif _R.SINT0 <= name <= _R.SINT0 + 15:
            value = chooser.choice((0x10000, 0x50, 0x20060, 5, 0x40070))
        return structure.pack(register_name=name, register_value=value.to_bytes(16, "little"))

    def _hint(self) -> bytes:
        return struct.pack("<Q", self._pick((0, 1, 2, 2), (3, 4, 1 << 63)))

    def _queue(self) -> bytes:
        """The completion queue of page faults: in a victim, a secret, or nowhere."""
        version, mode = self._pick((1,), (0, 2)), self._pick((0,), (1,))
        count = self._pick((1,), (0, 2, _MASK))
        return struct.pack("<IIQQ", version, mode, self._gpa_page(), count)

    def _post(self) -> bytes:
        connection = self._connection()
        number = next(self._numbers)
        kind = self._pick((1, 7), (0, 1 << 31))
        size = self._pick((8, 240), (241, 1 << 20))
        self._message = (connection, number)
        payload = struct.pack("<Q", number) + self._chooser.randbytes(232)
        return struct.pack("<IIII", connection, 0, kind, size) + payload


def _weight(code: int) -> int:
    """How often a call is chosen: those that only cost time rarely, what moves state often."""
    if code in (Call.GET_BOOT_ZEROED_MEMORY, Call.START_VIRTUAL_PROCESSOR):
        return 1
    often = (Call.MODIFY_VTL_PROTECTION_MASK, Call.SET_VP_REGISTERS, Call.POST_MESSAGE)
    return 9 if code in often else 4


_SPECIAL: dict[int, Callable[[Inputs], bytes]] = {
    Call.SWITCH_VIRTUAL_ADDRESS_SPACE: Inputs._switch_space,
    Call.MODIFY_VTL_PROTECTION_MASK: Inputs._protect,
    Call.ENABLE_VP_VTL: lambda self: self._with_context(starting=False),
    Call.START_VIRTUAL_PROCESSOR: lambda self: self._with_context(starting=True),
    Call.SET_VP_REGISTERS: Inputs._registers_of,
    Call.MEMORY_HEAT_HINT: Inputs._hint,
    Call.MEMORY_HEAT_HINT_ASYNC: Inputs._hint,
    Call.EPF_SETUP: Inputs._queue,
    Call.POST_MESSAGE: Inputs._post,
}

_MAKERS: dict[FieldKind, Callable[[Inputs], int]] = {
    FieldKind.PARTITION_ID: Inputs._partition,
    FieldKind.VP_INDEX: Inputs._vp_index,
    FieldKind.APIC_ID: Inputs._vp_index,
    FieldKind.HV_VTL: Inputs._hv_vtl,
    FieldKind.HV_INPUT_VTL: Inputs._input_vtl,
    FieldKind.ADDRESS_SPACE: Inputs._space,
    FieldKind.VP_MASK: Inputs._mask,
    FieldKind.VP_SET_BANKS_MASK: Inputs._mask,
    FieldKind.VP_SET_FORMAT: lambda self: self._chooser.choice((0, 0, 0, 1, 2)),
    FieldKind.GVA_RANGE: Inputs._gva_range,
    FieldKind.GPA_RANGE: Inputs._gpa_range,
    FieldKind.GPA_PAGE: Inputs._gpa_page,
    FieldKind.REGISTER_NAME: Inputs._register_name,
    FieldKind.CONNECTION_ID: Inputs._connection,
    FieldKind.DURATION: lambda self: self._chooser.choice((0, 10, 100)),
    FieldKind.ENUMERATION: lambda self: self._chooser.choice((0, 1, 2, 3)),
}


def packed(records: Sequence[Record]) -> bytes:
    """A table of records."""
    return b"".join(record.pack() for record in records)
