"""Runs guests written in assembly on a machine, and shows what they left behind.

A test's text is the function ``main``: it puts words into the results (R15) and returns, or ends
the run through port 0xF4. Before it the boot processor has tables, a stack and, unless asked
otherwise, the hypercall page.
"""

import functools
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keystone
from tests.guests import assembly
from tests.guests.layout import (
    CODE_64,
    COUNT_SIZE,
    COUNTS,
    GDT,
    IDENTITY_TABLES,
    IDT,
    IMAGE,
    KERNEL_STACK,
    POINTERS,
    RESULT_SIZE,
    RESULTS,
    STUBS,
    TRAMPOLINE,
    TRAMPOLINE_TABLES,
    TSS,
)

from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.machine.result import RunResult, StopReason

MEMORY = 16 << 20
LIMIT_NS = 200_000_000
_WITH_ERROR_CODE = frozenset({8, 10, 11, 12, 13, 14, 17, 21})
_USER = 4
_DESCRIPTORS = (
    0,
    0x00CF_9B00_0000_FFFF,
    0x00AF_9B00_0000_FFFF,
    0x00CF_9300_0000_FFFF,
    0x00CF_FB00_0000_FFFF,
    0x00CF_F300_0000_FFFF,
    0x00AF_FB00_0000_FFFF,
    0x0000_8900_0000_0067 | (TSS & 0xFFFFFF) << 16,
    0,
    0x0000_9B00_0000_FFFF,
    0x0000_9300_0000_FFFF,
)


class AssemblyError(Exception):
    """Text that keystone does not take; the message has the line."""


# Loads of 64-bit registers from plain addresses, which keystone encodes for the wrong address.
_PLAIN_LOAD = re.compile(r"\bmov (r(?!ax)\w+), \[(\w+)\]")
_OTHER_PLAIN_LOAD = re.compile(r"\b(?!mov)[a-z]+ r\w+, (qword ptr )?\[(0x)?\d\w*\]")


@functools.lru_cache(maxsize=256)
def assemble(text: str, address: int = IMAGE, bits: int = 64) -> bytes:
    """Assemble text for an address.

    Raises:
        AssemblyError: a line is wrong.
    """
    modes = {16: keystone.KS_MODE_16, 32: keystone.KS_MODE_32, 64: keystone.KS_MODE_64}
    assembler = keystone.Ks(keystone.KS_ARCH_X86, modes[bits])
    text = _PLAIN_LOAD.sub(_load_through_register, text)
    unsafe = _OTHER_PLAIN_LOAD.search(text)
    if unsafe is not None and bits == 64:
        raise AssemblyError(f"keystone gets {unsafe[0]!r} wrong: load the address first")
    try:
        code, _ = assembler.asm(text, address, as_bytes=True)
    except keystone.KsError as error:
        raise AssemblyError(f"{error}\n{_first_bad_line(text, bits)}") from None
    return bytes(code or b"")


def _load_through_register(match: re.Match[str]) -> str:
    register, address = match.groups()
    if not address[0].isdigit():
        return match[0]
    return f"mov {register}, {address}\nmov {register}, [{register}]"


def _first_bad_line(text: str, bits: int) -> str:
    modes = {16: keystone.KS_MODE_16, 32: keystone.KS_MODE_32, 64: keystone.KS_MODE_64}
    for line in text.splitlines():
        word = line.strip()
        if not word or word.endswith(":"):
            continue
        assembler = keystone.Ks(keystone.KS_ARCH_X86, modes[bits])
        assembler.sym_resolver = lambda symbol, value: bool(value.__setitem__(0, IMAGE)) or True
        try:
            assembler.asm(word, IMAGE)
        except keystone.KsError as error:
            return f"{word!r}: {error}"
    return "every line by itself is right"


@dataclass
class GuestRun:
    """A machine after its guest ran.

    Attributes:
        machine: the machine.
        result: how the run ended.
    """

    machine: Machine
    result: RunResult

    def words(self, count: int, slot: int = 0) -> list[int]:
        """The first words that the processor of an APIC id put into its results."""
        return self.memory_words(RESULTS + slot * RESULT_SIZE, count)

    def signed(self, count: int, slot: int = 0) -> list[int]:
        """As `words`, but signed."""
        data = self.memory(RESULTS + slot * RESULT_SIZE, 8 * count)
        return list(struct.unpack(f"<{count}q", data))

    def memory(self, gpa: int, length: int) -> bytes:
        """Bytes of memory as the guest sees them."""
        return self.machine.partition.memory.read(gpa, length)

    def memory_words(self, gpa: int, count: int) -> list[int]:
        """Words of memory as the guest sees them."""
        return list(struct.unpack(f"<{count}Q", self.memory(gpa, 8 * count)))

    def interrupts(self, slot: int = 0) -> dict[int, int]:
        """How many interrupts the processor of an APIC id took, by vector."""
        counts = self.memory_words(COUNTS + slot * COUNT_SIZE, 256)
        return {vector: count for vector, count in enumerate(counts) if count}


@dataclass
class Guest:
    """A guest that has not run yet.

    Attributes:
        source: the text of the test.
        cpus: the number of processors.
        hypercalls: whether the hypercall page is enabled before ``main``.
        configuration: further attributes of `MachineConfiguration`.
        memory: what else lies in memory, by address.
    """

    source: str
    cpus: int = 1
    hypercalls: bool = True
    configuration: Mapping[str, Any] = field(default_factory=dict)
    memory: Mapping[int, bytes] = field(default_factory=dict)

    def machine(self) -> Machine:
        """A machine with the guest loaded."""
        settings: dict[str, Any] = {"cpus": self.cpus, "memory": MEMORY} | dict(self.configuration)
        machine = Machine(MachineConfiguration(**settings))
        enable = assembly.enable_hypercalls() if self.hypercalls else ""
        text = f"{assembly.start()}\nmain:\n{enable}\n{self.source}\nret\n{assembly.library()}"
        image = assemble(text)
        machine.load(image, image_format="flat")
        memory = machine.partition.memory
        exceptions, interrupts, application = struct.unpack_from("<3Q", image, 8)
        memory.write(IDT, interrupt_table())
        memory.write(STUBS, _stubs(exceptions, interrupts))
        memory.write(GDT, struct.pack(f"<{len(_DESCRIPTORS)}Q", *_DESCRIPTORS))
        memory.write(TSS, struct.pack("<IQ", 0, KERNEL_STACK))
        memory.write(TRAMPOLINE_TABLES, struct.pack("<HI", 8 * len(_DESCRIPTORS) - 1, GDT))
        memory.write(POINTERS, struct.pack("<HQ", 8 * len(_DESCRIPTORS) - 1, GDT))
        memory.write(POINTERS + 16, struct.pack("<HQ", 256 * 16 - 1, IDT))
        memory.write(TRAMPOLINE, assemble(assembly.trampoline(application), TRAMPOLINE, 16))
        _let_users_in(machine)
        for address, data in self.memory.items():
            memory.write(address, data)
        return machine


def run_guest(
    source: str,
    *,
    cpus: int = 1,
    hypercalls: bool = True,
    memory: Mapping[int, bytes] | None = None,
    limit_ns: int = LIMIT_NS,
    expect: StopReason | None = StopReason.DEBUG_EXIT,
    **configuration: Any,
) -> GuestRun:
    """Run a guest to its end.

    Args:
        source: the text of ``main``.
        cpus: the number of processors.
        hypercalls: whether the hypercall page is enabled before ``main``.
        memory: what else lies in memory, by address.
        limit_ns: the virtual time after which it is stopped.
        expect: how the run must end, for ``DEBUG_EXIT`` with code 0; None for any way.
        configuration: attributes of `MachineConfiguration`.
    """
    guest = Guest(source, cpus, hypercalls, configuration, memory or {})
    return run_machine(guest.machine(), limit_ns, expect)


def run_machine(
    machine: Machine,
    limit_ns: int = LIMIT_NS,
    expect: StopReason | None = StopReason.DEBUG_EXIT,
) -> GuestRun:
    """Run a machine that has a guest, and check how it ended."""
    result = machine.run(limit_ns)
    if expect is not None:
        assert result.reason is expect, result
        if expect is StopReason.DEBUG_EXIT:
            assert result.exit_code == 0, f"the guest ended with {result.exit_code:#x}"
    return GuestRun(machine, result)


def interrupt_table() -> bytes:
    """An IDT of 256 interrupt gates; users may use vector 0x80."""
    return interrupt_gates([STUBS + 16 * vector for vector in range(256)])


def interrupt_gates(addresses: Sequence[int]) -> bytes:
    """An IDT of interrupt gates to the addresses of handlers; users may use vector 0x80."""
    gates = []
    for vector, address in enumerate(addresses):
        kind = 0xEE if vector == 0x80 else 0x8E
        gates.append(
            struct.pack(
                "<HHBBHII", address & 0xFFFF, CODE_64, 0, kind, address >> 16 & 0xFFFF, 0, 0
            )
        )
    return b"".join(gates)


def _stubs(exceptions: int, interrupts: int) -> bytes:
    """For each vector: push 0 if there is no error code; push vector; jmp to its entry."""
    code = bytearray()
    for vector in range(256):
        stub = b"" if vector in _WITH_ERROR_CODE else b"\x6a\x00"
        stub += b"\x68" + struct.pack("<I", vector)
        target = exceptions if vector < 32 else interrupts
        stub += b"\xe9" + struct.pack("<i", target - (STUBS + 16 * vector + len(stub) + 5))
        code += stub.ljust(16, b"\xcc")
    return bytes(code)


def _let_users_in(machine: Machine) -> None:
    """Set the user bit in the loader's page tables."""
    memory = machine.partition.memory
    for page in range(6):
        address = IDENTITY_TABLES + 4096 * page
        entries = struct.unpack("<512Q", memory.read(address, 4096))
        memory.write(address, struct.pack("<512Q", *(e | _USER if e else 0 for e in entries)))
