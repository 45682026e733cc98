"""A small world for the calling convention: synthetic calls, a caller's registers, some memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import pack, unpack

import pytest

from hypercall.abi.dispatcher import Dispatcher
from hypercall.abi.outcome import Outcome, OutcomeKind
from hypercall.abi.record import CallRecord
from hypercall.abi.reply import Answer, Reply, RepReply
from hypercall.errors import GuestMemoryError
from hypercall.tlfs.calls import CallTable
from hypercall.tlfs.declaration import (
    CallClass,
    CallDeclaration,
    Family,
    FastForm,
    VariableData,
    VariableHeader,
)
from hypercall.tlfs.layout import Buffer, Field, FieldKind, Structure, reserved
from hypercall.tlfs.privileges import (
    ExtendedCapability,
    Feature,
    NestedFeature,
    Privilege,
    Recommendation,
)
from hypercall.tlfs.readings import ReadingSet
from hypercall.tlfs.status import HvStatus

READ_ONLY = 0x3000
UNREADABLE = 0x4000
RAM_PAGES = 8
ADDRESS_BITS = 36

_WORDS = (Field("first", 0, 8), Field("second", 8, 8))
_HEADER = Structure("SYNTHETIC_HEADER", _WORDS)
_ELEMENT = Structure("SYNTHETIC_ELEMENT", (Field("element", 0, 8),))
_SMALL = Structure("SYNTHETIC_SMALL", (Field("small", 0, 4),))


def _call(
    code: int, name: str, kind: CallClass = CallClass.SIMPLE, **parts: object
) -> CallDeclaration:
    return CallDeclaration(
        code=code,
        name=f"HvCallSynthetic{name}",
        family=Family.PROCESSORS,
        call_class=kind,
        section="none",
        summary="For tests.",
        **parts,  # type: ignore[arg-type]
    )


SYNTHETIC_CALLS = CallTable(
    (
        _call(0x1001, "Input", header=_HEADER),
        _call(0x1002, "InputOutput", header=_HEADER, output=_HEADER),
        _call(0x1003, "Rep", CallClass.REP, header=_HEADER, element=_ELEMENT),
        _call(
            0x1004,
            "RepOutput",
            CallClass.REP,
            header=_HEADER,
            element=_ELEMENT,
            output_element=_ELEMENT,
        ),
        _call(
            0x1005,
            "Variable",
            header=_HEADER,
            output=_HEADER,
            variable_header=VariableHeader("words", FieldKind.VP_SET_BANKS, 64),
        ),
        _call(0x1006, "Nothing"),
        _call(
            0x1007,
            "Odd",
            header=Structure("SYNTHETIC_ODD", (*_WORDS, Field("third", 16, 4))),
            output=Structure("SYNTHETIC_THREE", (*_WORDS, Field("third", 16, 8))),
        ),
        _call(
            0x1008,
            "VariableRep",
            CallClass.REP,
            header=_HEADER,
            element=_ELEMENT,
            variable_header=VariableHeader("words", FieldKind.VP_SET_BANKS, 64),
        ),
        _call(
            0x1009,
            "SmallRep",
            CallClass.REP,
            header=_HEADER,
            element=_SMALL,
            output_element=_SMALL,
        ),
        _call(
            0x100A,
            "Large",
            header=Structure("SYNTHETIC_LARGE", (Field("payload", 0, 256, FieldKind.BYTES),)),
            fast=FastForm.NO,
        ),
        _call(0x100B, "Gated", header=_HEADER, privilege=Privilege.POST_MESSAGES),
        _call(
            0x100C,
            "Reserved",
            header=Structure("SYNTHETIC_RESERVED", (Field("first", 0, 4), reserved(4, 4))),
        ),
        _call(
            0x100D,
            "CountedInput",
            header=Structure("SYNTHETIC_COUNTED", (Field("count", 0, 4), Field("options", 4, 4))),
            variable_input=VariableData("data", "count", 4088),
            fast=FastForm.NO,
        ),
        _call(
            0x100E,
            "CountedOutput",
            header=Structure("SYNTHETIC_LIMIT", (Field("count", 0, 8),)),
            output=Structure("SYNTHETIC_GOT", (Field("got", 0, 8),)),
            variable_output=VariableData("data", "got", 4088, limit_field="count"),
            fast=FastForm.NO,
        ),
        _call(0x1011, "Unimplemented", header=_HEADER),
    )
)


class PageMemory:
    """RAM from 0 on; one page cannot be written, one cannot be read, the rest is a hole."""

    def __init__(self) -> None:
        self.ram = bytearray(RAM_PAGES * 4096)

    def check(self, gpa: int, length: int, vtl: int = 0, *, write: bool = False) -> None:
        forbidden = READ_ONLY if write else UNREADABLE
        for page in range(gpa >> 12, (gpa + length - 1 >> 12) + 1):
            if page >= RAM_PAGES or page == forbidden >> 12:
                raise GuestMemoryError(gpa, "write" if write else "read")

    def read(self, gpa: int, length: int, vtl: int = 0) -> bytes:
        self.check(gpa, length)
        return bytes(self.ram[gpa : gpa + length])

    def write(self, gpa: int, data: Buffer, vtl: int = 0) -> None:
        self.check(gpa, len(data), write=True)
        self.ram[gpa : gpa + len(data)] = data


@dataclass
class Configuration:
    features: Feature = field(
        default_factory=lambda: (
            Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT
            | Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_OUTPUT
        )
    )
    recommendations: Recommendation = field(default_factory=lambda: Recommendation(0))
    spin_retry_count: int = 0xFFF
    extended_capabilities: ExtendedCapability = field(default_factory=lambda: ExtendedCapability(0))
    nested_features: NestedFeature | None = None
    address_bits: int = ADDRESS_BITS


class Registers:
    """The caller's registers and mode, with 64-bit names."""

    def __init__(self) -> None:
        self.cpl = 0
        self.protected_mode = True
        self.long_mode = True
        self.rax = 0
        self.rdx = 0
        self.r8 = 0
        self.xmm = bytes(96)
        self.pairs_written: list[int] = []

    def read_xmm(self) -> bytes:
        return self.xmm

    def write_register_pairs(self, first_pair: int, data: bytes) -> None:
        assert len(data) % 16 == 0
        whole = bytearray(pack("<QQ", self.rdx, self.r8) + self.xmm)
        whole[16 * first_pair : 16 * first_pair + len(data)] = data
        assert len(whole) == 112
        self.rdx, self.r8 = unpack("<QQ", whole[:16])
        self.xmm = bytes(whole[16:])
        self.pairs_written += range(first_pair, first_pair + len(data) // 16)

    def load(self, data: bytes) -> None:
        data = data.ljust(112, b"\0")
        self.rdx, self.r8 = unpack("<QQ", data[:16])
        self.xmm = data[16:]

    def contents(self) -> bytes:
        return pack("<QQ", self.rdx, self.r8) + self.xmm


class Caller:
    """A virtual processor."""

    def __init__(self) -> None:
        self.index = 3
        self.active_vtl = 0
        self.vtls: dict[int, object] = {0: None}


class World:
    """A partition with synthetic calls, and one caller.

    Attributes:
        intercepting: somebody hears of parameters that cannot be accessed.
        protected: the addresses of such parameters, and whether they are output.
        seen: code and arguments of every handler call, views as bytes.
        fail_at: the element at which rep calls fail with ACCESS_DENIED, counted from 0.
        answers: answers that handlers give instead of their own, by code.
    """

    def __init__(self, readings: ReadingSet | None = None) -> None:
        self.memory = PageMemory()
        self.configuration = Configuration()
        self.privileges = 0
        self.readings = readings or ReadingSet.named("hyperv")
        self.enabled = True
        self.intercepting = False
        self.protected: list[tuple[int, bool]] = []
        self.vp = Caller()
        self.registers = Registers()
        self.seen: list[tuple[int, tuple[object, ...]]] = []
        self.records: list[CallRecord] = []
        self.fail_at: int | None = None
        self.processed = 0
        self.answers: dict[int, Answer] = {}
        handlers = {
            declaration.code: self._handler(declaration)
            for declaration in SYNTHETIC_CALLS
            if declaration.code != 0x1011
        }
        self.dispatcher = Dispatcher(self, SYNTHETIC_CALLS, handlers)

    def hypercalls_enabled(self, vtl: int) -> bool:
        return self.enabled

    def intercept_parameters(self, vp_index: int, gpa: int, *, write: bool) -> bool:
        self.protected.append((gpa, write))
        return self.intercepting

    def observe(self) -> None:
        self.dispatcher.observer = self.records.append

    def dispatch(self, control: int, input: int = 0, output: int = 0) -> Outcome:
        """Make one attempt; without words the registers stay as they are."""
        if input or output:
            self.registers.rdx, self.registers.r8 = input, output
        return self.dispatcher.dispatch(
            self.vp, control, self.registers.rdx, self.registers.r8, self.registers
        )

    def complete(self, control: int, input: int = 0, output: int = 0) -> Outcome:
        """Issue the call again and again, as a guest does, until it completes."""
        for _ in range(5000):
            outcome = self.dispatch(control, input, output)
            if outcome.kind is not OutcomeKind.CONTINUE:
                return outcome
            assert outcome.value > control
            control = outcome.value
        raise AssertionError("the call never completes")

    def _handler(self, declaration: CallDeclaration) -> Callable[..., Answer]:
        def handle(vp: Caller, *arguments: object) -> Answer:
            assert vp is self.vp
            plain = tuple(
                bytes(each) if isinstance(each, memoryview) else each for each in arguments
            )
            self.seen.append((declaration.code, plain))
            if declaration.code in self.answers:
                return self.answers[declaration.code]
            if declaration.is_rep:
                return self._process(declaration, plain[-1])  # type: ignore[arg-type]
            if declaration.output is not None:
                return Reply(HvStatus.SUCCESS, self._invert(declaration, plain))
            return HvStatus.SUCCESS

        return handle

    def _process(self, declaration: CallDeclaration, elements: bytes) -> RepReply:
        assert declaration.element is not None
        size = declaration.element.size
        count = len(elements) // size
        done = count
        status = HvStatus.SUCCESS
        if self.fail_at is not None and self.fail_at < self.processed + count:
            done = self.fail_at - self.processed
            status = HvStatus.ACCESS_DENIED
        self.processed += done
        output = b""
        if declaration.output_element is not None:
            output = bytes(byte ^ 0xFF for byte in elements[: done * size])
        return RepReply(done, status, output)

    @staticmethod
    def _invert(declaration: CallDeclaration, values: tuple[object, ...]) -> bytes:
        numbers = [value for value in values if isinstance(value, int)]
        assert declaration.output is not None
        names = declaration.output.field_names
        inverted = {
            name: ~number & 0xFFFF_FFFF_FFFF_FFFF
            for name, number in zip(names, numbers, strict=True)
        }
        return declaration.output.pack(**inverted)


@pytest.fixture(params=["plain", "observed"])
def world(request: pytest.FixtureRequest) -> World:
    made = World()
    if request.param == "observed":
        made.observe()
    return made


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    def make(name: str = "hyperv", **decisions: object) -> World:
        return World(ReadingSet.named(name).changed(**decisions))

    return make
