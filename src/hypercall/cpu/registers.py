"""The registers of the processor by HV_REGISTER_NAME (TLFS, HV_REGISTER_NAME), on one engine."""

from types import MappingProxyType

from hypercall.cpu.unicorn.engine import Engine
from hypercall.tlfs.initial_context import InitialVpContext, SegmentRegister
from hypercall.tlfs.registers import RegisterName

# Bits 15:8 and 23:20 of a descriptor's second word are the attributes; TLFS packs them together.
_ATTRIBUTE_LOW = 0x00FF
_ATTRIBUTE_HIGH = 0xF000

_GENERAL = MappingProxyType({RegisterName.RAX + number: number for number in range(16)})
_CONTROL = MappingProxyType(
    {RegisterName.CR0: 0, RegisterName.CR2: 2, RegisterName.CR3: 3, RegisterName.CR4: 4}
)
_SEGMENTS = MappingProxyType(
    {
        RegisterName.ES: 0,
        RegisterName.CS: 1,
        RegisterName.SS: 2,
        RegisterName.DS: 3,
        RegisterName.FS: 4,
        RegisterName.GS: 5,
        RegisterName.LDTR: 6,
        RegisterName.TR: 7,
    }
)
_TABLES = MappingProxyType({RegisterName.GDTR: 8, RegisterName.IDTR: 9})
_STATE = MappingProxyType(
    {
        RegisterName.EFER: "efer",
        RegisterName.STAR: "star",
        RegisterName.LSTAR: "lstar",
        RegisterName.CSTAR: "cstar",
        RegisterName.SFMASK: "sfmask",
        RegisterName.KERNEL_GS_BASE: "kernel_gs_base",
        RegisterName.SYSENTER_CS: "sysenter_cs",
        RegisterName.SYSENTER_RIP: "sysenter_eip",
        RegisterName.SYSENTER_RSP: "sysenter_esp",
        RegisterName.TSC_AUX: "tsc_aux",
        RegisterName.PAT: "pat",
        RegisterName.XFEM: "xcr0",
        RegisterName.DR0: "dr0",
        RegisterName.DR1: "dr1",
        RegisterName.DR2: "dr2",
        RegisterName.DR3: "dr3",
        RegisterName.DR6: "dr6",
        RegisterName.DR7: "dr7",
    }
)
_XMM_FIRST = RegisterName.XMM0
_XMM_LAST = RegisterName.XMM15


def attributes_to_flags(attributes: int) -> int:
    """HV_X64_SEGMENT_REGISTER attributes as the attribute bits of a descriptor's second word."""
    return (attributes & _ATTRIBUTE_LOW) << 8 | (attributes & _ATTRIBUTE_HIGH) << 8


def flags_to_attributes(flags: int) -> int:
    """The reverse of `attributes_to_flags`."""
    return flags >> 8 & (_ATTRIBUTE_LOW | _ATTRIBUTE_HIGH)


class ProcessorRegisters:
    """Reads and writes the registers of an engine's contexts by HV_REGISTER_NAME.

    Args:
        engine: the engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, context: int, name: int) -> int:
        """Return a register; 16-byte ones as one little-endian number.

        Raises:
            KeyError: the processor has no such register.
        """
        engine = self._engine
        if name in _GENERAL:
            return engine.get_general(context, _GENERAL[name])
        if name == RegisterName.RIP:
            return engine.get_rip(context)
        if name == RegisterName.RFLAGS:
            return engine.get_rflags(context)
        if name in _CONTROL:
            return engine.get_control(context, _CONTROL[RegisterName(name)])
        if name in _SEGMENTS:
            selector, base, limit, flags = engine.get_segment(
                context, _SEGMENTS[RegisterName(name)]
            )
            packed = SegmentRegister(base, limit, selector, flags_to_attributes(flags)).pack()
            return int.from_bytes(packed, "little")
        if name in _TABLES:
            _, base, limit, _ = engine.get_segment(context, _TABLES[RegisterName(name)])
            return base << 64 | (limit & 0xFFFF) << 48
        if _XMM_FIRST <= name <= _XMM_LAST:
            return int.from_bytes(engine.get_xmm(context, name - _XMM_FIRST, 1), "little")
        return engine.get_state(context, _STATE[RegisterName(name)])

    def write(self, context: int, name: int, value: int) -> None:
        """Set a register.

        Raises:
            KeyError: the processor has no such register.
        """
        engine = self._engine
        if name in _GENERAL:
            engine.set_general(context, _GENERAL[name], value)
        elif name == RegisterName.RIP:
            engine.set_rip(context, value)
        elif name == RegisterName.RFLAGS:
            engine.set_rflags(context, value)
        elif name in _CONTROL:
            engine.set_control(context, _CONTROL[RegisterName(name)], value)
        elif name in _SEGMENTS:
            segment = SegmentRegister.parse(value.to_bytes(16, "little"))
            self._write_segment(context, _SEGMENTS[RegisterName(name)], segment)
        elif name in _TABLES:
            engine.set_segment(
                context, _TABLES[RegisterName(name)], 0, value >> 64, value >> 48 & 0xFFFF, 0
            )
        elif _XMM_FIRST <= name <= _XMM_LAST:
            engine.set_xmm(context, name - _XMM_FIRST, value.to_bytes(16, "little"))
        else:
            engine.set_state(context, _STATE[RegisterName(name)], value)

    def _write_segment(self, context: int, number: int, segment: SegmentRegister) -> None:
        self._engine.set_segment(
            context,
            number,
            segment.selector,
            segment.base,
            segment.limit,
            attributes_to_flags(segment.attributes),
        )

    def write_context(self, context: int, values: InitialVpContext) -> None:
        """Set every register of an initial context (TLFS, HV_INITIAL_VP_CONTEXT)."""
        engine = self._engine
        for name in ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"):
            number = _SEGMENTS[RegisterName[name.upper()]]
            self._write_segment(context, number, getattr(values, name))
        engine.set_segment(context, 8, 0, values.gdtr.base, values.gdtr.limit, 0)
        engine.set_segment(context, 9, 0, values.idtr.base, values.idtr.limit, 0)
        engine.set_control(context, 3, values.cr3)
        engine.set_control(context, 4, values.cr4)
        efer = values.efer
        engine.set_state(context, "efer", efer)
        engine.set_control(context, 0, values.cr0)
        engine.set_state(context, "pat", values.pat)
        engine.set_rip(context, values.rip)
        engine.set_general(context, 4, values.rsp)
        engine.set_rflags(context, values.rflags)
