"""An engine with a little memory and exits that are only written down."""

import mmap
from collections.abc import Callable
from typing import Any

from tests.guests.kit import assemble

from hypercall.cpu.unicorn.engine import Engine

RAM = 1 << 20
ARENA = 1 << 16
CODE = 0x8000
STACK = 0x7000
_CS, _SS = 1, 2
_CR0 = 0
_RSP = 4


class RecordingExits:
    """Keeps every exit in a list; what a test needs it replaces."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.engine: Engine
        self.vectors: list[int] = []

    def hypercall(self, control: int, input: int, output: int, mode: int) -> int | None:
        self.calls.append(("hypercall", control, input, output, mode))
        return 0x1234

    def read_msr(self, index: int) -> int | None:
        self.calls.append(("read_msr", index))
        return None

    def write_msr(self, index: int, value: int) -> bool:
        self.calls.append(("write_msr", index, value))
        return True

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        self.calls.append(("cpuid", leaf, subleaf))
        return (1, 2, 3, 4)

    def read_port(self, port: int, size: int) -> int:
        self.calls.append(("read_port", port, size))
        return 0xA5

    def write_port(self, port: int, size: int, value: int) -> None:
        self.calls.append(("write_port", port, size, value))

    def read_device(self, gpa: int, size: int) -> int:
        self.calls.append(("read_device", gpa, size))
        return 0x77

    def write_device(self, gpa: int, size: int, value: int) -> None:
        self.calls.append(("write_device", gpa, size, value))

    def resolve(self, page: int, table: int) -> int:
        self.calls.append(("resolve", page, table))
        return self.engine.void_entry

    def memory_violation(self, address: int, gpa: int, access: int) -> int:
        self.calls.append(("memory_violation", address, gpa, access))
        return 1

    def stale_translation(
        self, address: int, access: int, backing: int, gpa: int | None, since: int
    ) -> None:
        self.calls.append(("stale_translation", address, access, backing, gpa, since))

    def watched_read(self, address: int, offset: int) -> None:
        self.calls.append(("watched_read", address, offset))

    def control_write(self, register: int, value: int) -> bool:
        self.calls.append(("control_write", register, value))
        return True

    def read_task_priority(self) -> int:
        return 0

    def write_task_priority(self, value: int) -> None:
        self.calls.append(("write_task_priority", value))

    def table_write(self, register: str, instruction: bytes) -> None:
        self.calls.append(("table_write", register, instruction))

    def halt(self) -> None:
        self.engine.stop()

    def spin(self) -> None:
        self.calls.append(("spin",))

    def triple_fault(self) -> None:
        self.calls.append(("triple_fault",))
        self.engine.stop()

    def acknowledge(self) -> int:
        if not self.vectors:
            self.engine.set_interrupt(self.engine.current_context, False)
            return -1
        return self.vectors.pop(0)

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of every exit of a name."""
        return [call[1:] for call in self.calls if call[0] == name]


class Rig:
    """An engine, its memory one to one, and contexts in flat 32-bit mode.

    Attributes:
        engine: the engine.
        exits: what it called.
        ram: the memory.
    """

    def __init__(self, contexts: int = 1) -> None:
        self.ram = mmap.mmap(-1, RAM)
        self.arena = mmap.mmap(-1, ARENA)
        self.engine = Engine(self.ram, self.arena)
        self.exits = RecordingExits()
        self.exits.engine = self.engine
        self.engine.attach(self.exits)
        self.table = self.engine.add_table(RAM // 4096 + 16)
        self.engine.set_entries(self.table, 0, RAM // 4096, self.engine.entry("ram", 0, 15))
        for _ in range(contexts):
            self.flat(self.engine.add_context(self.table))

    def flat(self, context: int) -> None:
        """Put a context into flat 32-bit protected mode at the code."""
        engine = self.engine
        engine.set_control(context, _CR0, 0x11)
        engine.set_segment(context, _CS, 8, 0, 0xFFFFFFFF, 0xC09B00)
        for segment in (0, _SS, 3, 4, 5):
            engine.set_segment(context, segment, 16, 0, 0xFFFFFFFF, 0xC09300)
        engine.set_rip(context, CODE)
        engine.set_general(context, _RSP, STACK)

    def replace(self, **exits: Callable[..., Any]) -> None:
        """Serve some exits by functions of a test."""
        for name, function in exits.items():
            setattr(self.exits, name, function)
        self.engine.attach(self.exits)

    def code(self, text: str, address: int = CODE, bits: int = 32) -> bytes:
        """Assemble code into memory."""
        data = assemble(text, address, bits)
        self.ram[address : address + len(data)] = data
        self.engine.host_wrote("ram", address, len(data))
        return data

    def run(self, text: str | None = None, context: int = 0, count: int = 100_000) -> None:
        """Run code from its start to its HLT."""
        if text is not None:
            self.code(f"{text}\nhlt")
        self.engine.switch(context)
        self.engine.set_rip(context, CODE)
        self.engine.limit = self.engine.count + count
        self.engine.run()
