"""Guests with several virtual trust levels: the code of each, and what they tell one another.

The VTLs of a guest share the image, the tables and R15, so that `put` keeps the order in which
things happened. VTL n starts at its text with interrupts off, a hypercall page, an assist page,
a SynIC whose SINT0 has the vector `SINT_VECTOR`, and an enabled APIC.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.guests.assembly import call, enable_hypercalls, leave, write_apic, write_msr
from tests.guests.contexts import LONG_MODE
from tests.guests.kit import Guest, GuestRun, run_machine
from tests.guests.layout import (
    ASSIST,
    HYPERCALL_PAGE,
    MESSAGES,
    STACK_SIZE,
    STACKS,
    VARIABLES,
)

from hypercall.machine.machine import Machine
from hypercall.partition.hypercall_page import VTL_CALL_OFFSET_64, VTL_RETURN_OFFSET_64
from hypercall.tlfs.initial_context import InitialVpContext
from hypercall.tlfs.layout import Structure
from hypercall.tlfs.messages import (
    MEMORY_INTERCEPT_PAYLOAD,
    MSR_INTERCEPT_PAYLOAD,
    REGISTER_INTERCEPT_PAYLOAD,
    Message,
    MessageType,
)

SELF = 0xFFFFFFFE
ANY = -1
SINT_VECTOR = 0x30

READ, WRITE, KERNEL_EXECUTE, USER_EXECUTE = 1, 2, 4, 8
ALL = READ | WRITE | KERNEL_EXECUTE | USER_EXECUTE
ENABLE_PROTECTION = 1

CALL_OUTPUT = 0x258000
"""Where `get_register` gets its output."""
LISTS = 0x259000
"""Input lists of the calls of this module, one page for each VTL."""
CONTEXTS = 0x25C000
"""Input lists of 0x000F, 256 bytes for each VTL, and 1 KiB for each processor."""
LOG = 0x260000
"""The messages that `take_messages` took, 256 bytes each; `LOG_END` points behind them."""
LOG_END = VARIABLES + 0x80
FAILED_CALL = VARIABLES + 0x88

CR_INTERCEPT_CONTROL = 0xE0000
CR0_MASK = 0xE0001
CR4_MASK = 0xE0002
CODE_PAGE_OFFSETS = 0xD0002
VP_STATUS = 0xD0003
PARTITION_STATUS = 0xD0004
VINA = 0xD0005
CAPABILITIES = 0xD0006
PARTITION_CONFIG = 0xD0007
SECURE_CONFIG_VTL0 = 0xD0010
RIP, RFLAGS = 0x20010, 0x20011

_PAYLOADS: Mapping[int, Structure] = {
    MessageType.GPA_INTERCEPT: MEMORY_INTERCEPT_PAYLOAD,
    MessageType.X64_MSR_INTERCEPT: MSR_INTERCEPT_PAYLOAD,
    MessageType.REGISTER_INTERCEPT: REGISTER_INTERCEPT_PAYLOAD,
}
RAW_CALL = "xor eax, eax\nmov ecx, 0x11\nvmcall"
RAW_RETURN = "mov eax, 1\nmov ecx, 0x12\nvmcall"
"""A VTL call and a VTL return without the hypercall page."""


def assist_page(vtl: int, slot: int = 0) -> int:
    """The assist page of a VTL of a processor."""
    return ASSIST + 0x8000 * vtl + 0x1000 * slot


def message_page(vtl: int, slot: int = 0) -> int:
    """The message page of a VTL of a processor."""
    return MESSAGES + 0x8000 * vtl + 0x1000 * slot


def stack(vtl: int, slot: int = 0) -> int:
    """The end of the stack of a VTL of a processor."""
    return STACKS + (16 * vtl + slot + 1) * STACK_SIZE - 16


# --- text ----------------------------------------------------------------------------------------


def store(address: int, value: int | str) -> str:
    """Store 8 bytes through RAX."""
    return f"movabs rax, {value}\nmov r11, {address:#x}\nmov [r11], rax"


def must_succeed() -> str:
    """End the run with 0xBAD unless RAX, or the status in it, is zero."""
    return f"mov [{FAILED_CALL}], rax\ntest ax, ax\njnz call_failed"


def vtl_call(control: int = 0) -> str:
    """Call the next higher VTL through the hypercall page."""
    return f"mov ecx, {control}\nmov eax, {HYPERCALL_PAGE + VTL_CALL_OFFSET_64}\ncall rax"


def vtl_return(control: int = 0) -> str:
    """Return to the next lower VTL through the hypercall page; 1 is a fast return."""
    return f"mov ecx, {control}\nmov eax, {HYPERCALL_PAGE + VTL_RETURN_OFFSET_64}\ncall rax"


def enable_partition_vtl(vtl: int = 1, flags: int = 0) -> str:
    """Enable a VTL of the partition; the result is in RAX."""
    return call(0x1000D, ANY, vtl | flags << 8)


def enable_vp_vtl(vtl: int, entry: str, slot: int = 0, vp_index: int = SELF) -> str:
    """Enable a VTL of a processor, which starts it at a label; the result is in RAX."""
    words = CONTEXTS + 0x400 * slot + 0x100 * vtl
    return f"""
        {store(words + 8, vp_index | vtl << 32)}
        mov r11, {words + 16:#x}
        mov rax, {entry}
        mov [r11], rax
        {call(0xF, words)}
    """


def set_register(
    name: int, value: int | str = "r10", *, vtl: int | None = None, vp_index: int = SELF, own: int
) -> str:
    """Set a register, of a lower VTL if one is given; the result is in RAX.

    Args:
        name: the register.
        value: the low half of the value; by default it is in R10.
        vtl: the VTL, by default the caller's.
        vp_index: the processor.
        own: the caller's VTL, for its list of parameters.
    """
    words = LISTS + 0x1000 * own
    load = "" if value == "r10" else f"movabs r10, {value}"
    return f"""
        {load}
        {store(words, ANY)}
        {store(words + 8, vp_index | _input_vtl(vtl) << 32)}
        {store(words + 16, name)}
        {store(words + 24, 0)}
        mov r11, {words + 32:#x}
        mov [r11], r10
        {store(words + 40, 0)}
        {call(0x1_0000_0051, words)}
    """


def get_register(name: int, *, vtl: int | None = None, vp_index: int = SELF, own: int) -> str:
    """Get the low half of a register into RAX, as `set_register`."""
    words = LISTS + 0x1000 * own
    return f"""
        {store(words, ANY)}
        {store(words + 8, vp_index | _input_vtl(vtl) << 32)}
        {store(words + 16, name)}
        {call(0x1_0000_0050, words, CALL_OUTPUT)}
        {must_succeed()}
        mov eax, {CALL_OUTPUT:#x}
        mov rax, [rax]
    """


def _input_vtl(vtl: int | None) -> int:
    return 0 if vtl is None else 0x10 | vtl


def enable_protection(default: int = ALL, own: int = 1) -> str:
    """Let the VTL protect memory, with a mask for the pages that it does not single out."""
    setting = ENABLE_PROTECTION | default << 1
    return f"{set_register(PARTITION_CONFIG, setting, own=own)}\n{must_succeed()}"


def protect(page: int, mask: int, own: int = 1) -> str:
    """Say what lower VTLs may do with the page at an address; the result is in RAX."""
    words = LISTS + 0x1000 * own
    return f"""
        {store(words, ANY)}
        {store(words + 8, mask)}
        {store(words + 16, page >> 12)}
        {call(0x1_0000_000C, words)}
        {must_succeed()}
    """


_SAVED = ("rdx", "rbx", "rsi", "rdi", "rbp", *(f"r{number}" for number in range(8, 15)))


def keep_registers(text: str) -> str:
    """Execute text, and restore what a lower VTL has in registers but RAX, RCX and R15."""
    pushes = "\n".join(f"push {register}" for register in _SAVED)
    pops = "\n".join(f"pop {register}" for register in reversed(_SAVED))
    return f"{pushes}\n{text}\n{pops}"


def take_messages(name: str, vtl: int = 1, slot: int = 0) -> str:
    """Take the interrupt of SINT0, if there is one, and move the message to the log."""
    page = message_page(vtl, slot)
    return f"""
        sti
        nop
        nop
        cli
        mov eax, {page:#x}
        cmp dword ptr [rax], 0
        je {name}_nothing
        mov rsi, rax
        mov rax, {LOG_END}
        mov rdi, [rax]
        add qword ptr [rax], 256
        mov ecx, 256
        cld
        rep movsb
        mov eax, {page:#x}
        mov dword ptr [rax], 0
        {write_msr(0x40000084, 0)}
    {name}_nothing:
    """


def handle_intercepts(handler: str, *, name: str = "intercepted", vtl: int = 1) -> str:
    """What a higher VTL does after its set-up: after each entry a message and the handler."""
    return f"""
    {name}:
        {vtl_return()}
        {keep_registers(take_messages(name, vtl) + handler)}
        jmp {name}
    """


def skip_instruction(length: int | str, *, own: int = 1) -> str:
    """Move RIP of VTL 0 behind an instruction; the length may be a register."""
    return f"""
        {get_register(RIP, vtl=0, own=own)}
        mov r10, rax
        add r10, {length}
        {set_register(RIP, vtl=0, own=own)}
        {must_succeed()}
    """


def begin_vtl(vtl: int, slot: int = 0) -> str:
    """What each VTL above 0 does first."""
    return f"""
        {enable_hypercalls()}
        {write_msr(0x40000073, assist_page(vtl, slot) | 1)}
        {write_msr(0x40000083, message_page(vtl, slot) | 1)}
        {write_msr(0x40000080, 1)}
        {write_msr(0x40000090, SINT_VECTOR)}
        {write_apic(0xF0, 0x1FF)}
    """


def enable(vtl: int, entry: str, flags: int = 0) -> str:
    """Enable a VTL of the partition and of the processor."""
    return f"""
        {enable_partition_vtl(vtl, flags)}
        {must_succeed()}
        {enable_vp_vtl(vtl, entry)}
        {must_succeed()}
    """


# --- guests --------------------------------------------------------------------------------------


def context_words(context: InitialVpContext, vtl: int, slot: int = 0) -> bytes:
    """The input of 0x000F for a context, whose RSP is that of the VTL of the processor."""
    context = InitialVpContext(**{**_fields(context), "rsp": stack(vtl, slot)})
    return struct.pack("<qQ", ANY, SELF | vtl << 32) + context.pack()


def _fields(context: InitialVpContext) -> dict[str, Any]:
    return {name: getattr(context, name) for name in context.__dataclass_fields__}


def vtl_guest(
    normal: str,
    secure: str,
    secure_2: str = "",
    *,
    functions: str = "",
    flags: int = 0,
    enabled: bool = True,
    begun: bool = True,
    context: InitialVpContext = LONG_MODE,
    memory: Mapping[int, bytes] | None = None,
    cpus: int = 1,
    **configuration: Any,
) -> Guest:
    """A guest whose VTL 1 is enabled before `normal` runs in VTL 0.

    Args:
        normal: the text of VTL 0.
        secure: that of VTL 1, behind `begin_vtl`; it must not end.
        secure_2: that of VTL 2, which VTL 0 or 1 enables by itself at the label ``secure_2``.
        functions: further text.
        flags: those of HvCallEnablePartitionVtl.
        enabled: whether VTL 1 is enabled.
        begun: whether `begin_vtl` comes before the texts of the higher VTLs.
        context: the initial context, but for RIP and RSP.
        memory: what else lies in memory.
        cpus: the number of processors.
        configuration: attributes of `MachineConfiguration`.
    """
    text = f"""
        {enable(1, "secure", flags) if enabled else ""}
        {normal}
        ret
    call_failed:
        {leave(0xBAD)}
    secure:
        {begin_vtl(1) if begun else ""}
        {secure}
        {leave(0xE0F)}
    secure_2:
        {begin_vtl(2) if begun else ""}
        {secure_2}
        {leave(0xE1F)}
        {functions}
    """
    contents = {
        CONTEXTS + 0x400 * slot + 0x100 * vtl: context_words(context, vtl, slot)
        for slot in range(cpus)
        for vtl in (1, 2)
    }
    contents[LOG_END] = struct.pack("<Q", LOG)
    return Guest(text, cpus, True, configuration, contents | dict(memory or {}))


def run_vtls(normal: str, secure: str, secure_2: str = "", **rest: Any) -> GuestRun:
    """Run a guest of `vtl_guest` to its end."""
    return run_to_end(vtl_guest(normal, secure, secure_2, **rest).machine())


def run_to_end(machine: Machine) -> GuestRun:
    """Run a machine; what failed is named by the result of the call."""
    try:
        return run_machine(machine)
    except AssertionError as error:
        result = machine.partition.memory.read_u64(FAILED_CALL)
        fault = machine.partition.memory.read(VARIABLES, 24)
        raise AssertionError(
            f"{error}; the last checked call gave {result:#x}; last exception "
            f"{struct.unpack('<3Q', fault)}"
        ) from None


@dataclass(frozen=True)
class Intercept:
    """An intercept message from the log.

    Attributes:
        kind: its type.
        fields: those of its payload, by name.
    """

    kind: MessageType
    fields: Mapping[str, Any]

    @property
    def length(self) -> int:
        """The length of the instruction."""
        value: int = self["instruction_length_and_cr8"] & 0xF
        return value

    @property
    def instruction(self) -> bytes:
        """The bytes of the instruction."""
        value: bytes = self["instruction_bytes"]
        return value[: self["instruction_byte_count"]]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


def intercepts(run: GuestRun) -> list[Intercept]:
    """The intercept messages that the guest took, in order."""
    (end,) = run.memory_words(LOG_END, 1)
    found = []
    for address in range(LOG, end, 256):
        message = Message.parse(run.memory(address, 256))
        kind = MessageType(message.message_type)
        structure = _PAYLOADS[kind]
        values = structure.unpack(message.payload)
        found.append(Intercept(kind, dict(zip(structure.field_names, values, strict=True))))
    return found
