"""Secure intercepts: a higher VTL is told of what a lower one tried (TLFS ``vsm``)."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from hypercall.partition.architectural_msrs import IA32_APIC_BASE, IA32_MISC_ENABLE
from hypercall.partition.secure_state import ALL_BITS, SecureState
from hypercall.partition.synic import QueuedMessage
from hypercall.tlfs.assist_page import INTERCEPT_MESSAGE_OFFSET
from hypercall.tlfs.messages import (
    MEMORY_INTERCEPT_PAYLOAD,
    MSR_INTERCEPT_PAYLOAD,
    REGISTER_INTERCEPT_PAYLOAD,
    Message,
    MessageType,
)
from hypercall.tlfs.registers import RegisterName

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessor

READ, WRITE, EXECUTE = 0, 1, 2
"""The types of an intercepted access, HV_INTERCEPT_ACCESS_TYPE."""

HYPERCALL_LENGTH = 3
MSR_INSTRUCTION_LENGTH = 2

GVA_VALID = 1 << 0
HYPERCALL_OUTPUT_PENDING = 1 << 2

_R = RegisterName
_INTERCEPT_SINT = 0
_WRITE_BACK = 6
_MAX_INSTRUCTION = 16
_CR0_PROTECTION = 1 << 0
_CR0_ALIGNMENT = 1 << 18
_EFER_ACTIVE = 1 << 10
_DR7_ENABLES = 0xFF
_SELECTOR_SHIFT = 96
"""Where the selector stands in a segment register's value of 128 bits."""

REGISTER_CONTROLS: Mapping[int, int] = MappingProxyType(
    {_R.CR0: 0, _R.CR4: 1, _R.XFEM: 2, _R.GDTR: 15, _R.IDTR: 16, _R.LDTR: 17, _R.TR: 18}
)
"""The bit of CrInterceptControl for the write of each register that no MSR holds."""

MSR_CONTROLS: Mapping[int, tuple[int | None, int]] = MappingProxyType(
    {
        IA32_MISC_ENABLE: (3, 4),
        0xC0000082: (5, 6),  # LSTAR
        0xC0000081: (7, 8),  # STAR
        0xC0000083: (9, 10),  # CSTAR
        IA32_APIC_BASE: (11, 12),
        0xC0000080: (13, 14),  # EFER
        0x174: (None, 19),  # SYSENTER_CS
        0x176: (None, 20),  # SYSENTER_EIP
        0x175: (None, 21),  # SYSENTER_ESP
        0xC0000084: (None, 22),  # SFMASK
        0xC0000103: (None, 23),  # TSC_AUX
        **dict.fromkeys(range(0x8C, 0x90), (None, 24)),  # SGXLEPUBKEYHASH0 to 3
    }
)
"""The bits of CrInterceptControl for the read and the write of each MSR."""


def memory_intercept(
    vp: "VirtualProcessor",
    setter: int,
    access: int,
    gpa: int,
    *,
    gva: int | None,
    instruction: bytes,
    instruction_length: int,
    information: int = 0,
) -> bool:
    """Tell a VTL of an access to memory that it has forbidden.

    Args:
        vp: the virtual processor.
        setter: the VTL to tell.
        access: `READ`, `WRITE` or `EXECUTE`.
        gpa: the guest-physical address.
        gva: the guest-virtual address, or None where there is none.
        instruction: the bytes of the instruction; at most 16 count.
        instruction_length: its length in bytes, 0 if it is not known.
        information: further bits of the memory access information.

    Returns:
        False when that VTL cannot be told.
    """
    readings = vp.partition.readings
    if not readings.memory_intercept_gva_valid:
        gva = None
    if gva is not None:
        information |= GVA_VALID
    instruction = instruction[:_MAX_INSTRUCTION]
    payload = MEMORY_INTERCEPT_PAYLOAD.pack(
        **_header(vp, instruction_length, access),
        cache_type=_WRITE_BACK,
        instruction_byte_count=len(instruction),
        memory_access_info=information,
        tpr_priority=vp.current.apic.tpr >> 4,
        guest_virtual_address=gva or 0,
        guest_physical_address=gpa,
        instruction_bytes=instruction.ljust(_MAX_INSTRUCTION, b"\0"),
    )
    if readings.memory_intercept_registers:
        payload += _general_state(vp)
    return _deliver(vp, setter, MessageType.GPA_INTERCEPT, payload)


def msr_intercept(vp: "VirtualProcessor", index: int, old: int | None, value: int | None) -> bool:
    """Tell a higher VTL of RDMSR or WRMSR if it wants to know.

    Args:
        vp: the virtual processor.
        index: the MSR.
        old: its value now; of use only for a write of IA32_MISC_ENABLE.
        value: what is written, or None for a read.

    Returns:
        Whether a VTL was told: the instruction must not retire.
    """
    controls = MSR_CONTROLS.get(index)
    if controls is None:
        return False
    control = controls[0] if value is None else controls[1]
    if control is None:
        return False
    for vtl, secure in _higher(vp):
        if not secure.intercept_control >> control & 1:
            continue
        if index == IA32_MISC_ENABLE and value is not None:
            mask = secure.misc_enable_mask
            if mask != ALL_BITS and not (value ^ (old or 0)) & mask:
                continue
        effects = vp.partition.effects
        payload = MSR_INTERCEPT_PAYLOAD.pack(
            **_header(vp, MSR_INSTRUCTION_LENGTH, READ if value is None else WRITE),
            msr_number=index,
            rdx=effects.read_register(vp, vp.active_vtl, _R.RDX),
            rax=effects.read_register(vp, vp.active_vtl, _R.RAX),
        )
        if _deliver(vp, vtl, MessageType.X64_MSR_INTERCEPT, payload):
            return True
    return False


def register_intercept(
    vp: "VirtualProcessor",
    name: int,
    value: int,
    instruction_length: int,
    *,
    memory_operand: bool = False,
) -> bool:
    """Tell a higher VTL of the write of a control or descriptor table register, if it wants.

    Args:
        vp: the virtual processor.
        name: `RegisterName` of CR0, CR4, XFEM, GDTR, IDTR, LDTR or TR.
        value: what is written, or of a memory operand its address.
        instruction_length: the length of the instruction in bytes, 0 if it is not known.
        memory_operand: the instruction takes the value from memory.

    Returns:
        Whether a VTL was told: the instruction must not retire.
    """
    control = REGISTER_CONTROLS[name]
    for vtl, secure in _higher(vp):
        if not secure.intercept_control >> control & 1:
            continue
        mask = {_R.CR0: secure.cr0_mask, _R.CR4: secure.cr4_mask}.get(RegisterName(name), ALL_BITS)
        if mask != ALL_BITS:
            old = vp.partition.effects.read_register(vp, vp.active_vtl, name)
            if not (old ^ value) & mask:
                continue
        payload = REGISTER_INTERCEPT_PAYLOAD.pack(
            **_header(vp, instruction_length, WRITE),
            flags=int(memory_operand),
            register_name=name,
            source_value=value.to_bytes(16, "little"),
        )
        if _deliver(vp, vtl, MessageType.REGISTER_INTERCEPT, payload):
            return True
    return False


def _higher(vp: "VirtualProcessor") -> list[tuple[int, SecureState]]:
    """Return the VTLs above the active one, the lowest first, for it is notified first (TLFS)."""
    return [(vtl, vp.vtls[vtl].secure) for vtl in sorted(vp.vtls) if vtl > vp.active_vtl]


def _header(vp: "VirtualProcessor", length: int, access: int) -> dict[str, int | bytes]:
    """Return the fields of HV_X64_INTERCEPT_MESSAGE_HEADER."""
    vtl = vp.active_vtl

    def register(name: RegisterName) -> int:
        return vp.partition.effects.read_register(vp, vtl, name)

    cs, cr0 = register(_R.CS), register(_R.CR0)
    state = cs >> _SELECTOR_SHIFT & 3 | vtl << 7
    for position, flag in (
        (2, cr0 & _CR0_PROTECTION),
        (3, cr0 & _CR0_ALIGNMENT),
        (4, register(_R.EFER) & _EFER_ACTIVE),
        (5, register(_R.DR7) & _DR7_ENABLES),
    ):
        state |= bool(flag) << position
    return {
        "vp_index": vp.index,
        "instruction_length_and_cr8": length & 0xF | vp.current.apic.tpr >> 4 << 4,
        "access_type": access,
        "execution_state": state,
        "cs": cs.to_bytes(16, "little"),
        "rip": register(_R.RIP),
        "rflags": register(_R.RFLAGS),
    }


def _general_state(vp: "VirtualProcessor") -> bytes:
    """Return DS, SS and the general registers, which an older form of the message ends with."""
    read = partial(vp.partition.effects.read_register, vp, vp.active_vtl)
    segments = b"".join(read(name).to_bytes(16, "little") for name in (_R.DS, _R.SS))
    general = b"".join(read(name).to_bytes(8, "little") for name in range(_R.RAX, _R.R15 + 1))
    return segments + general


def _deliver(vp: "VirtualProcessor", vtl: int, kind: MessageType, payload: bytes) -> bool:
    """Send an intercept message to a VTL and let it run next.

    It goes to SINT0, or to the assist page where the VTL has not set SINT0 up.
    """
    state = vp.vtls.get(vtl)
    if state is None:
        return False
    secure, synic = state.secure, state.synic
    partition = vp.partition
    sender = partition.configuration.partition_id
    if synic.accepts_messages and not synic.masked(_INTERCEPT_SINT):
        # One that nobody has taken yet holds the next one back: the VP tries again anyway.
        if not secure.intercept_queued:
            secure.intercept_queued = True
            synic.queue_message(
                _INTERCEPT_SINT,
                QueuedMessage(kind, partial(bytes, payload), sender, partial(_released, secure)),
            )
    else:
        view = state.assist_page.view
        if view is None:
            return False
        message = Message(kind, payload, 0, sender).pack()
        view[INTERCEPT_MESSAGE_OFFSET : INTERCEPT_MESSAGE_OFFSET + len(message)] = message
    secure.must_enter = True
    partition.effects.interrupt_changed(vp)
    return True


def _released(secure: SecureState, delivered: bool) -> None:
    secure.intercept_queued = False
