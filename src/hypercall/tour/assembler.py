"""Makes the tour's image of its assembly text; needs keystone, which running the tour does not.

Beside what keystone takes, the text has names in capitals for the addresses and variables of
`hypercall.tour.layout`, comments behind ``;``, and lines that begin with ``@``, which are macros.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from types import MappingProxyType

from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.initial_context import InitialVpContext, SegmentRegister, TableRegister
from hypercall.tlfs.status import HvStatus
from hypercall.tour.layout import IMAGE, constants
from hypercall.tour.stops import STOPS, Stop

PARTS = (
    "start.asm",
    "console.asm",
    "faults_and_interrupts.asm",
    "library.asm",
    "processors.asm",
    "interrupts.asm",
    "address_spaces.asm",
    "messages_and_events.asm",
    "debugging.asm",
    "nested.asm",
    "extended.asm",
    "virtual_trust_levels.asm",
)
"""The files of the text, in the order in which they lie in the image."""

INTERRUPT_VECTORS = MappingProxyType(
    {"IPI": 0x40, "IPI_EX": 0x41, "DEVICE": 0x42, "MESSAGE": 0x50, "EVENT": 0x51, "INTERCEPT": 0x60}
)
"""What the names of vectors in the text stand for, without ``_VECTOR``."""

NO_RESULT = 1 << 16
"""In the table of stops: the call has no result word."""

_WITH_ERROR_CODE = frozenset({8, 10, 11, 12, 13, 14, 17, 21})
_EXCEPTIONS = 32
_VECTORS = 0x61
_NAME = re.compile(r"\b[A-Z][A-Z0-9_]{2,}\b")
_ABSOLUTE = re.compile(r"\[\s*(?:0x)?\d")
_NAME_COLUMN = 47


class AssemblyError(Exception):
    """Text that makes no sense; the message has the line."""


# --- macros ----------------------------------------------------------------------------------


def _call(control: str, first: str = "0", second: str = "0") -> str:
    """Make a call, and keep its result word for the report."""
    return f"{_quiet_call(control, first, second)}\nmov [RESULT], rax"


def _quiet_call(control: str, first: str = "0", second: str = "0") -> str:
    """Make a call; the result word is in RAX, and RCX is lost."""
    loads = [
        f"movabs {register}, {value}"
        for register, value in (("rcx", control), ("rdx", first), ("r8", second))
        # Registers that the text has loaded itself are left out by writing their name.
        if value != register
    ]
    return "\n".join([*loads, "call hypercall"])


def _store(page: str, *words: str) -> str:
    """Put words of 8 bytes at the start of a page; RAX is lost, and RDI has the page."""
    lines = [f"mov edi, {page}"]
    for number, word in enumerate(words):
        if word != "rax":
            lines.append(f"movabs rax, {word}" if word[0] in "-0123456789" else f"mov rax, {word}")
        lines.append(f"mov [rdi + {8 * number}], rax")
    return "\n".join(lines)


def _write_msr(index: str, value: str) -> str:
    """Write an MSR; RAX, RCX and RDX are lost."""
    return f"movabs rax, {value}\nmov rdx, rax\nshr rdx, 32\nmov ecx, {index}\nwrmsr"


def _read_msr(index: str) -> str:
    """Read an MSR into RAX; RCX and RDX are lost."""
    return f"mov ecx, {index}\nrdmsr\nshl rdx, 32\nmov eax, eax\nor rax, rdx"


def _write_apic(register: str, value: str) -> str:
    """Write a register of the local APIC; RAX is lost."""
    return f"mov eax, LOCAL_APIC + {register}\nmov dword ptr [rax], {value}"


def _unless_equal(left: str, right: str) -> str:
    """Leave the stop without its effect seen, unless two values are the same."""
    return f"cmp {left}, {right}\njne unseen"


def _print(label: str) -> str:
    """Write a text to the serial port."""
    return f"lea rsi, [rip + {label}]\ncall print"


def _text(label: str, text: str) -> str:
    """Put a text into the image; a backslash and n end a line."""
    data = text.strip('"').replace("\\n", "\r\n").encode("ascii") + b"\0"
    return f"{label}:\n.byte {', '.join(map(str, data))}"


def _exception_stubs() -> str:
    """Put the first code of each exception's handler into the image."""
    return "\n".join(
        f"exception_{vector}:\n"
        + ("" if vector in _WITH_ERROR_CODE else "push 0\n")
        + f"push {vector}\njmp exception"
        for vector in range(_EXCEPTIONS)
    )


def _interrupt_stubs() -> str:
    """Put the first code of each interrupt's handler into the image."""
    return "\n".join(
        f"interrupt_{vector}:\npush {vector}\njmp interrupt"
        for vector in INTERRUPT_VECTORS.values()
    )


def _vector_table() -> str:
    """Put the addresses of all handlers into the image, by vector."""
    handlers = {vector: f"exception_{vector}" for vector in range(_EXCEPTIONS)}
    handlers |= {vector: f"interrupt_{vector}" for vector in INTERRUPT_VECTORS.values()}
    return ".quad " + ", ".join(
        handlers.get(vector, "unexpected_interrupt") for vector in range(_VECTORS)
    )


def _initial_context() -> str:
    """Put the registers that every new world of a processor starts with into the image."""
    data = SegmentRegister(0, 0xFFFFFFFF, 0x18, 0xC093)
    context = InitialVpContext(
        rip=0,
        rsp=0,
        rflags=2,
        cs=SegmentRegister(0, 0xFFFFFFFF, 0x10, 0xA09B),
        ds=data,
        es=data,
        fs=data,
        gs=data,
        ss=data,
        tr=SegmentRegister(0, 0x67, 0, 0x8B),
        ldtr=SegmentRegister(0, 0, 0, 0x82),
        idtr=TableRegister(0, 0),
        gdtr=TableRegister(0, 0),
        efer=0,
        cr0=0,
        cr3=0,
        cr4=0,
        pat=0x0007040600070406,
    )
    return f".byte {', '.join(map(str, context.pack()))}"


def _stops() -> str:
    """Put the table of stops and its texts into the image: a stop has 4 words, the last is 0."""
    rows, texts = [], []
    for number, stop in enumerate(STOPS):
        flags = NO_RESULT if stop.status is None else int(stop.status)
        rows.append(f".quad {stop.routine}, stop_name_{number}, stop_effect_{number}, {flags}")
        texts.append(_text(f"stop_name_{number}", _heading(stop)))
        texts.append(_text(f"stop_effect_{number}", stop.effect))
    return "\n".join([*rows, ".quad 0", *texts])


def _heading(stop: Stop) -> str:
    name = DECLARATIONS.by_code[stop.call].name
    return f"{int(stop.call):#06x} {name}".ljust(_NAME_COLUMN)


def _statuses() -> str:
    """Put the names of all statuses into the image: number and text, the last is -1."""
    rows = [f".quad {int(status)}, status_{int(status)}" for status in HvStatus]
    texts = [_text(f"status_{int(status)}", status.name) for status in HvStatus]
    return "\n".join([*rows, ".quad -1", *texts])


_MACROS: Mapping[str, Callable[..., str]] = MappingProxyType(
    {
        "call": _call,
        "quiet_call": _quiet_call,
        "store": _store,
        "write_msr": _write_msr,
        "read_msr": _read_msr,
        "write_apic": _write_apic,
        "unless_equal": _unless_equal,
        "print": _print,
        "text": _text,
        "exception_stubs": _exception_stubs,
        "interrupt_stubs": _interrupt_stubs,
        "vector_table": _vector_table,
        "initial_context": _initial_context,
        "stops": _stops,
        "statuses": _statuses,
    }
)


# --- assembling ------------------------------------------------------------------------------


def source() -> str:
    """Return the text of the tour as keystone takes it."""
    names = dict(constants())
    names |= {f"{name}_VECTOR": str(number) for name, number in INTERRUPT_VECTORS.items()}
    names |= {"NO_RESULT": str(NO_RESULT), "VECTOR_COUNT": str(_VECTORS)}
    folder = files("hypercall.tour")
    lines: list[str] = []
    for part in PARTS:
        text = folder.joinpath(part).read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            try:
                lines += _expand(line, names)
            except (AssemblyError, TypeError) as error:
                raise AssemblyError(f"{part}:{number}: {error}") from None
    return "\n".join(lines)


def _expand(line: str, names: Mapping[str, str]) -> Iterator[str]:
    code = line.partition(";")[0].strip()
    if not code:
        return
    if code.startswith("@"):
        macro, _, rest = code[1:].partition(" ")
        if macro not in _MACROS:
            raise AssemblyError(f"there is no macro {macro!r}")
        quoted = rest.find('"')
        plain, text = (rest, []) if quoted < 0 else (rest[:quoted], [rest[quoted:]])
        arguments = [part.strip() for part in plain.split(",") if part.strip()]
        for expanded in _MACROS[macro](*arguments, *text).splitlines():
            yield _named(expanded, names)
        return
    yield _named(code, names)


def _named(line: str, names: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[0] not in names:
            raise AssemblyError(f"{match[0]} has no meaning")
        return names[match[0]]

    line = _NAME.sub(value, line)
    if _ABSOLUTE.search(line):
        # Keystone encodes some of these for another address.
        raise AssemblyError(f"{line!r}: load the address into a register first")
    return line


def assemble() -> bytes:
    """Return the image.

    Raises:
        AssemblyError: a line is wrong.
    """
    import keystone

    text = source()
    assembler = keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64)
    try:
        code, _ = assembler.asm(text, IMAGE, as_bytes=True)
    except keystone.KsError as error:
        raise AssemblyError(f"{error}: {_first_wrong_line(text)}") from None
    return bytes(code or b"")


def _first_wrong_line(text: str) -> str:
    import keystone

    for line in text.splitlines():
        if line.endswith(":"):
            continue
        assembler = keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64)
        # Names of other lines are taken for addresses here.
        assembler.sym_resolver = lambda symbol, value: bool(value.__setitem__(0, IMAGE)) or True
        try:
            assembler.asm(line, IMAGE)
        except keystone.KsError as error:
            return f"{line!r}: {error}"
    return "every line by itself is right; a label may be missing or double"
