"""The registers that gdb sees of a virtual processor, and their description for it.

The order is that of the description, which is also that of the ``g`` packet (GDB manual, i386
Features). gdb knows the first features; the last one, of the system registers, it takes as told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from xml.sax.saxutils import quoteattr

from hypercall.cpu.unicorn.engine import Engine
from hypercall.errors import InputError

_GENERAL_64 = (
    *(("rax", 0), ("rbx", 3), ("rcx", 1), ("rdx", 2), ("rsi", 6), ("rdi", 7), ("rbp", 5)),
    ("rsp", 4),
    *((f"r{number}", number) for number in range(8, 16)),
)
_GENERAL_32 = (
    *(("eax", 0), ("ecx", 1), ("edx", 2), ("ebx", 3), ("esp", 4), ("ebp", 5)),
    *(("esi", 6), ("edi", 7)),
)
_SEGMENTS = (("cs", 1), ("ss", 2), ("ds", 3), ("es", 0), ("fs", 4), ("gs", 5))
_POINTERS = frozenset({"rsp", "rbp", "esp", "ebp"})
_X87_CONTROL = ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")

_FLAGS: Mapping[str, tuple[int, tuple[tuple[str, int], ...]]] = MappingProxyType(
    {
        "eflags_bits": (
            4,
            (
                *(("CF", 0), ("", 1), ("PF", 2), ("AF", 4), ("ZF", 6), ("SF", 7), ("TF", 8)),
                *(("IF", 9), ("DF", 10), ("OF", 11), ("NT", 14), ("RF", 16), ("VM", 17)),
                *(("AC", 18), ("VIF", 19), ("VIP", 20), ("ID", 21)),
            ),
        ),
        "mxcsr_bits": (
            4,
            (
                *(("IE", 0), ("DE", 1), ("ZE", 2), ("OE", 3), ("UE", 4), ("PE", 5), ("DAZ", 6)),
                *(("IM", 7), ("DM", 8), ("ZM", 9), ("OM", 10), ("UM", 11), ("PM", 12), ("FZ", 15)),
            ),
        ),
        "cr0_bits": (
            8,
            (
                *(("PE", 0), ("MP", 1), ("EM", 2), ("TS", 3), ("ET", 4), ("NE", 5), ("WP", 16)),
                *(("AM", 18), ("NW", 29), ("CD", 30), ("PG", 31)),
            ),
        ),
        "cr4_bits": (
            8,
            (
                *(("VME", 0), ("PVI", 1), ("TSD", 2), ("DE", 3), ("PSE", 4), ("PAE", 5)),
                *(("MCE", 6), ("PGE", 7), ("PCE", 8), ("OSFXSR", 9), ("OSXMMEXCPT", 10)),
                *(("UMIP", 11), ("FSGSBASE", 16), ("PCIDE", 17), ("OSXSAVE", 18)),
                *(("SMEP", 20), ("SMAP", 21)),
            ),
        ),
        "efer_bits": (8, (("SCE", 0), ("LME", 8), ("LMA", 10), ("NXE", 11), ("SVME", 12))),
    }
)
_VECTORS = """\
<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>
<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>
<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>
<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>
<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/>
<field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/>
<field name="uint128" type="uint128"/></union>
"""

Getter = Callable[[Engine, int], int | bytes]
Setter = Callable[[Engine, int, bytes], None]


@dataclass(frozen=True, slots=True)
class Register:
    """A register as gdb sees it.

    Attributes:
        name: gdb's name of it.
        size: its size in bytes.
        type: the type in the description.
        group: the group in the description, or "".
        get: reads it in a context of an engine, as a number or as its bytes.
        set: writes it from its bytes; None where that is not possible.
    """

    name: str
    size: int
    type: str
    group: str
    get: Getter
    set: Setter | None


@dataclass(frozen=True, slots=True)
class RegisterSet:
    """All registers that gdb sees of a kind of processor.

    Attributes:
        architecture: gdb's name of the kind.
        features: the registers by feature, in the order of their numbers.
    """

    architecture: str
    features: tuple[tuple[str, tuple[Register, ...]], ...]

    @property
    def registers(self) -> tuple[Register, ...]:
        """The registers by number."""
        return tuple(register for _, group in self.features for register in group)

    def description(self) -> bytes:
        """The target description, as XML (GDB manual, Target Description Format)."""
        lines = [
            '<?xml version="1.0"?>',
            '<!DOCTYPE target SYSTEM "gdb-target.dtd">',
            '<target version="1.0">',
            f"<architecture>{self.architecture}</architecture>",
        ]
        for name, registers in self.features:
            lines.append(f"<feature name={quoteattr(name)}>")
            types = {register.type for register in registers}
            if "vec128" in types:
                lines.append(_VECTORS)
            lines += [_flags_xml(name) for name in _FLAGS if name in types]
            for register in registers:
                group = f' group="{register.group}"' if register.group else ""
                lines.append(
                    f'<reg name="{register.name}" bitsize="{8 * register.size}" '
                    f'type="{register.type}"{group}/>'
                )
            lines.append("</feature>")
        lines.append("</target>")
        return "\n".join(lines).encode()


def read_register(register: Register, engine: Engine, context: int) -> bytes:
    """A register of a context, as gdb wants it: little-endian bytes of its size."""
    value = register.get(engine, context)
    if isinstance(value, bytes):
        return value
    return (value & ((1 << (8 * register.size)) - 1)).to_bytes(register.size, "little")


def write_register(register: Register, engine: Engine, context: int, data: bytes) -> None:
    """Set a register of a context from bytes of its size.

    Raises:
        InputError: the register cannot be written, or the number of bytes is another.
    """
    if register.set is None:
        raise InputError(f"{register.name} cannot be written from a debugger")
    if len(data) != register.size:
        raise InputError(f"{register.name} has {register.size} bytes, not {len(data)}")
    register.set(engine, context, data)


def _flags_xml(name: str) -> str:
    size, bits = _FLAGS[name]
    fields = "".join(
        f'<field name="{bit}" start="{position}" end="{position}"/>' for bit, position in bits
    )
    return f'<flags id="{name}" size="{size}">{fields}</flags>'


def _general(name: str, number: int, size: int) -> Register:
    kind = ("data_ptr" if name in _POINTERS else "int64") if size == 8 else "int32"
    if size == 4 and name in _POINTERS:
        kind = "data_ptr"

    def get(engine: Engine, context: int) -> int:
        return engine.get_general(context, number)

    def put(engine: Engine, context: int, data: bytes) -> None:
        engine.set_general(context, number, int.from_bytes(data, "little"))

    return Register(name, size, kind, "", get, put)


def _pointer(name: str, size: int) -> Register:
    def put(engine: Engine, context: int, data: bytes) -> None:
        engine.set_rip(context, int.from_bytes(data, "little"))

    return Register(name, size, "code_ptr", "", Engine.get_rip, put)


def _eflags() -> Register:
    def put(engine: Engine, context: int, data: bytes) -> None:
        engine.set_rflags(context, int.from_bytes(data, "little"))

    return Register("eflags", 4, "eflags_bits", "", Engine.get_rflags, put)


def _segment(name: str, number: int) -> Register:
    def get(engine: Engine, context: int) -> int:
        return engine.get_segment(context, number)[0]

    # A selector alone says nothing of the segment behind it.
    return Register(name, 4, "int32", "", get, None)


def _base(name: str, number: int) -> Register:
    def get(engine: Engine, context: int) -> int:
        return engine.get_segment(context, number)[1]

    def put(engine: Engine, context: int, data: bytes) -> None:
        selector, _, limit, flags = engine.get_segment(context, number)
        base = int.from_bytes(data, "little")
        engine.set_segment(context, number, selector, base, limit, flags)

    return Register(name, 8, "uint64", "", get, put)


def _state(name: str, state: str, size: int, kind: str, group: str) -> Register:
    def get(engine: Engine, context: int) -> int:
        return engine.get_state(context, state)

    def put(engine: Engine, context: int, data: bytes) -> None:
        engine.set_state(context, state, int.from_bytes(data, "little"))

    return Register(name, size, kind, group, get, put)


def _control(number: int) -> Register:
    def get(engine: Engine, context: int) -> int:
        return engine.get_control(context, number)

    def put(engine: Engine, context: int, data: bytes) -> None:
        engine.set_control(context, number, int.from_bytes(data, "little"))

    kind = f"cr{number}_bits" if f"cr{number}_bits" in _FLAGS else "int64"
    return Register(f"cr{number}", 8, kind, "system", get, put)


def _stack_register(number: int) -> Register:
    def get(engine: Engine, context: int) -> bytes:
        return engine.get_x87(context)[3][number]

    def put(engine: Engine, context: int, data: bytes) -> None:
        engine.set_x87_register(context, number, data)

    return Register(f"st{number}", 10, "i387_ext", "", get, put)


def _x87_control(name: str) -> Register:
    def get(engine: Engine, context: int) -> int:
        control, status, tags, _ = engine.get_x87(context)
        if name == "fctrl":
            return control
        if name == "fstat":
            return status
        if name == "ftag":
            # Two bits a register: 3 for an empty one. Others are not told apart.
            return sum(0 if tags >> number & 1 else 3 << 2 * number for number in range(8))
        return 0

    put: Setter | None = None
    if name == "fctrl":

        def put(engine: Engine, context: int, data: bytes) -> None:
            engine.set_state(context, "fpu_control", int.from_bytes(data, "little") & 0xFFFF)

    return Register(name, 4, "int", "float", get, put)


def _xmm(number: int) -> Register:
    def get(engine: Engine, context: int) -> bytes:
        return engine.get_xmm(context, number, 1)

    def put(engine: Engine, context: int, data: bytes) -> None:
        engine.set_xmm(context, number, data)

    return Register(f"xmm{number}", 16, "vec128", "", get, put)


def _core(general: tuple[tuple[str, int], ...], size: int) -> tuple[Register, ...]:
    return (
        *(_general(name, number, size) for name, number in general),
        _pointer("rip" if size == 8 else "eip", size),
        _eflags(),
        *(_segment(name, number) for name, number in _SEGMENTS),
        *(_stack_register(number) for number in range(8)),
        *(_x87_control(name) for name in _X87_CONTROL),
    )


def _sse(count: int) -> tuple[Register, ...]:
    return (
        *(_xmm(number) for number in range(count)),
        _state("mxcsr", "mxcsr", 4, "mxcsr_bits", "vector"),
    )


_SYSTEM = (
    _state("k_gs_base", "kernel_gs_base", 8, "uint64", "system"),
    *(_control(number) for number in (0, 2, 3, 4)),
    _state("efer", "efer", 8, "efer_bits", "system"),
)

REGISTERS_64 = RegisterSet(
    "i386:x86-64",
    (
        ("org.gnu.gdb.i386.core", _core(_GENERAL_64, 8)),
        ("org.gnu.gdb.i386.sse", _sse(16)),
        ("org.gnu.gdb.i386.segments", (_base("fs_base", 4), _base("gs_base", 5))),
        ("org.hypercall.system", _SYSTEM),
    ),
)
"""The registers of a processor that runs 64-bit code."""

REGISTERS_32 = RegisterSet(
    "i386",
    (
        ("org.gnu.gdb.i386.core", _core(_GENERAL_32, 4)),
        ("org.gnu.gdb.i386.sse", _sse(8)),
        ("org.hypercall.system", _SYSTEM),
    ),
)
"""The registers of a processor that runs 32-bit or 16-bit code."""
