"""Calls made one after another by guest code, with all registers before and after each."""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.guests import assembly
from tests.guests.kit import Guest, GuestRun, run_machine
from tests.guests.layout import INPUT, OUTPUT, ROWS, ROWS_LEFT

from hypercall.machine.machine import Machine

_CALLERS = {
    "64": assembly.call_rows_64,
    "32": assembly.call_rows_32,
    "user": assembly.call_rows_user,
}
UNDEFINED_OPCODE = 6


@dataclass(frozen=True)
class Row:
    """One call.

    Attributes:
        control: the control word.
        words: the input list, which goes to ``input``.
        input: RDX (EBX:ECX).
        output: R8 (EDI:ESI).
        xmm: XMM0 to XMM5 as words, low half first.
    """

    control: int
    words: Sequence[int] = ()
    input: int = INPUT
    output: int = OUTPUT
    xmm: Sequence[int] = ()


@dataclass(frozen=True)
class Answer:
    """What the guest found after one call.

    Attributes:
        registers: general registers by name.
        xmm: XMM0 to XMM5, 96 bytes.
        flags: RFLAGS.
        vector: the exception, or None.
        rip: where it happened.
        bits: the word size of the caller.
    """

    registers: Mapping[str, int]
    xmm: bytes
    flags: int
    vector: int | None
    rip: int
    bits: int

    @property
    def result(self) -> int:
        """RAX, or EDX:EAX of a 32-bit caller."""
        assert self.vector is None, f"exception {self.vector}"
        if self.bits == 64:
            return self.registers["rax"]
        return self.registers["rdx"] << 32 | self.registers["rax"]

    @property
    def status(self) -> int:
        """The status of the result."""
        return self.result & 0xFFFF

    @property
    def reps(self) -> int:
        """The reps completed of the result."""
        return self.result >> 32 & 0xFFF


@dataclass
class Calls:
    """The answers, and the machine after the guest ran."""

    answers: list[Answer]
    run: GuestRun

    @property
    def only(self) -> Answer:
        """The answer of the only call."""
        (answer,) = self.answers
        return answer

    def output(self, count: int, offset: int = 0) -> list[int]:
        """Words of the output page."""
        return self.run.memory_words(OUTPUT + offset, count)


@dataclass(frozen=True)
class Caller:
    """How calls are made.

    Attributes:
        mode: ``64``, ``32`` or ``user``.
        before: text that runs before the calls.
        after: text that runs after them.
        cpus: the number of processors.
        configuration: attributes of `MachineConfiguration`.
        memory: what lies in memory.
        hypercalls: whether the hypercall page is enabled.
        prepare: called with the machine before it runs.
    """

    mode: str = "64"
    before: str = ""
    after: str = ""
    cpus: int = 1
    configuration: Mapping[str, Any] = field(default_factory=dict)
    memory: Mapping[int, bytes] = field(default_factory=dict)
    hypercalls: bool = True
    prepare: Callable[[Machine], None] = lambda machine: None

    def guest(self, *rows: Row) -> Guest:
        """The guest that makes the calls."""
        text = f"""
            {self.before}
            mov qword ptr [{ROWS_LEFT}], {len(rows)}
            {_CALLERS[self.mode]("row")}
            {self.after}
        """
        given = {(row.input, tuple(row.words)) for row in rows if row.words}
        assert len(given) == len(dict(given)), "two rows have other input at one address"
        memory = dict(self.memory)
        for number, row in enumerate(rows):
            registers = struct.pack("<4Q", row.control, row.input, row.output, 0)
            xmm = struct.pack(f"<{len(row.xmm)}Q", *row.xmm)
            memory[ROWS + assembly.ROW_SIZE * number] = registers + xmm
            if row.words:
                words = (word % (1 << 64) for word in row.words)
                memory[row.input] = struct.pack(f"<{len(row.words)}Q", *words)
        return Guest(text, self.cpus, self.hypercalls, self.configuration, memory)

    def make(self, *rows: Row, rep_budget: int | None = None) -> Calls:
        """Run a guest that makes the calls."""
        machine = self.guest(*rows).machine()
        if rep_budget is not None:
            machine.dispatcher.rep_budget = rep_budget
        self.prepare(machine)
        run = run_machine(machine)
        bits = 32 if self.mode == "32" else 64
        return Calls([_answer(run, number, bits) for number in range(len(rows))], run)


def _answer(run: GuestRun, number: int, bits: int) -> Answer:
    address = ROWS + assembly.ROW_SIZE * number + assembly.ROW_OUTPUT
    names = assembly.ROW_REGISTERS
    *values, flags = run.memory_words(address, len(names) + 1)
    fault, _, rip = run.memory_words(address + 0xE0, 3)
    vector = None if fault == (1 << 64) - 1 else fault
    registers = dict(zip(names, values, strict=True))
    return Answer(registers, run.memory(address + 0x80, 96), flags, vector, rip, bits)
