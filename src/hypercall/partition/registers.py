"""The registers of a virtual processor by HV_REGISTER_NAME: where each one is kept."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from hypercall.partition import register_rules as rules
from hypercall.partition.architectural_msrs import (
    IA32_APIC_BASE,
    IA32_FEATURE_CONTROL,
    IA32_MISC_ENABLE,
    IA32_TIME_STAMP_COUNTER,
    IA32_TSC_ADJUST,
    IA32_TSC_DEADLINE,
)
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.pending_event import read_pending_event, write_pending_event
from hypercall.partition.register_access import RegisterAccessError
from hypercall.partition.vsm_registers import VSM_REGISTERS, VsmRegister
from hypercall.tlfs import cpuid
from hypercall.tlfs.msrs import SyntheticMsr
from hypercall.tlfs.privileges import Privilege
from hypercall.tlfs.registers import SEGMENT_REGISTERS, RegisterName, register_size
from hypercall.tlfs.status import HvStatus

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

_R = RegisterName
_ALL_BITS = (1 << 64) - 1


def _processor_registers() -> frozenset[int]:
    """Return the registers that the processor itself keeps."""
    ranges = (
        (_R.RAX, _R.RFLAGS),
        (_R.XMM0, _R.XMM_CONTROL_STATUS),
        (_R.CR0, _R.CR4),
        (_R.DR0, _R.DR7),
        (_R.ES, _R.TR),
        (_R.IDTR, _R.GDTR),
        (_R.SYSENTER_CS, _R.SFMASK),
    )
    single = (
        *(_R.XFEM, _R.EFER, _R.KERNEL_GS_BASE, _R.PAT, _R.TSC_AUX),
        *(_R.PENDING_INTERRUPTION, _R.INTERRUPT_STATE),
    )
    names = {int(name) for first, last in ranges for name in range(first, last + 1)}
    return frozenset(names | {int(name) for name in single})


PROCESSOR_REGISTERS = _processor_registers()
"""The registers that `Effects.read_register` and `Effects.write_register` are asked for."""


def _msr_registers() -> Mapping[int, int]:
    msr = SyntheticMsr
    return MappingProxyType(
        {
            int(name): int(index)
            for name, index in (
                (_R.TSC, IA32_TIME_STAMP_COUNTER),
                (_R.APIC_BASE, IA32_APIC_BASE),
                (_R.TSC_DEADLINE, IA32_TSC_DEADLINE),
                (_R.TSC_ADJUST, IA32_TSC_ADJUST),
                (_R.IA32_MISC_ENABLE, IA32_MISC_ENABLE),
                (_R.IA32_FEATURE_CONTROL, IA32_FEATURE_CONTROL),
                (_R.VP_RUNTIME, msr.VP_RUNTIME),
                (_R.HYPERCALL, msr.HYPERCALL),
                (_R.GUEST_OS_ID, msr.GUEST_OS_ID),
                (_R.VP_INDEX, msr.VP_INDEX),
                (_R.TIME_REF_COUNT, msr.TIME_REF_COUNT),
                (_R.EOI, msr.EOI),
                (_R.ICR, msr.ICR),
                (_R.TPR, msr.TPR),
                (_R.VP_ASSIST_PAGE, msr.VP_ASSIST_PAGE),
                (_R.REFERENCE_TSC, msr.REFERENCE_TSC),
                (_R.PROCESSOR_CLOCK_FREQUENCY, msr.TSC_FREQUENCY),
                (_R.INTERRUPT_CLOCK_FREQUENCY, msr.APIC_FREQUENCY),
                (_R.GUEST_IDLE, msr.GUEST_IDLE),
                (_R.SCONTROL, msr.SCONTROL),
                (_R.SVERSION, msr.SVERSION),
                (_R.SIEFP, msr.SIEFP),
                (_R.SIMP, msr.SIMP),
                (_R.EOM, msr.EOM),
                (_R.SIRBP, msr.SIRBP),
                *((_R.SINT0 + number, msr.SINT0 + number) for number in range(16)),
                *((_R.STIMER0_CONFIG + n, msr.STIMER0_CONFIG + n) for n in range(8)),
                *((_R.GUEST_CRASH_P0 + n, msr.CRASH_P0 + n) for n in range(6)),
            )
        }
    )


MSR_REGISTERS = _msr_registers()
"""The registers that are MSRs too, by register name: the MSR's index."""

_CPUID_REGISTERS: Mapping[int, int] = MappingProxyType(
    {
        _R.HYPERVISOR_VERSION: cpuid.VERSION_LEAF,
        _R.PRIVILEGES_AND_FEATURES_INFO: cpuid.FEATURES_LEAF,
        _R.FEATURES_INFO: cpuid.RECOMMENDATIONS_LEAF,
        _R.IMPLEMENTATION_LIMITS_INFO: cpuid.LIMITS_LEAF,
        _R.HARDWARE_FEATURES_INFO: cpuid.HARDWARE_FEATURES_LEAF,
    }
)

_RULES: Mapping[int, Callable[[int], bool]] = MappingProxyType(
    {
        _R.CR0: rules.valid_cr0,
        _R.CR4: rules.valid_cr4,
        _R.EFER: rules.valid_efer,
        _R.RFLAGS: rules.valid_rflags,
        _R.PAT: rules.valid_pat,
        _R.RIP: rules.canonical,
        _R.DR6: lambda value: value >> 32 == 0,
        _R.DR7: lambda value: value >> 32 == 0,
        **dict.fromkeys(SEGMENT_REGISTERS, lambda value: rules.valid_segment(value >> 112)),
    }
)


class RegisterFile:
    """The registers that HvCallGetVpRegisters and HvCallSetVpRegisters reach.

    A value is the HV_REGISTER_VALUE as one little-endian number of 128 bits.

    Args:
        partition: whose processors' registers.
    """

    __slots__ = ("_partition",)

    def __init__(self, partition: "Partition") -> None:
        self._partition = partition

    def read(self, state: "VirtualProcessorVtl", name: int) -> int:
        """Return a register of a VTL of a VP.

        Raises:
            RegisterAccessError: INVALID_PARAMETER for a register that does not exist, or that
                cannot be read; ACCESS_DENIED for one that needs a privilege.
        """
        if name in PROCESSOR_REGISTERS:
            try:
                return self._partition.effects.read_register(state.vp, state.vtl, name)
            except KeyError:
                raise RegisterAccessError(HvStatus.INVALID_PARAMETER) from None
        index = MSR_REGISTERS.get(name)
        if index is not None:
            try:
                return self._partition.msrs.read_in(state, index)
            except GeneralProtection:
                raise RegisterAccessError(HvStatus.INVALID_PARAMETER) from None
        if name == _R.CR8:
            return state.apic.tpr >> 4
        if name == _R.INITIAL_APIC_ID:
            return state.vp.apic_id
        leaf = _CPUID_REGISTERS.get(name)
        if leaf is not None:
            words = self._partition.hypervisor_leaves[leaf]
            return sum(word << 32 * position for position, word in enumerate(words))
        if name == _R.PENDING_EVENT0:
            return read_pending_event(state)
        secure = self._secure_register(name)
        if secure is not None:
            return secure.read(state)
        raise RegisterAccessError(HvStatus.INVALID_PARAMETER)

    def _secure_register(self, name: int) -> VsmRegister | None:
        """Return a register of Virtual Secure Mode, which needs a privilege of its own."""
        register = VSM_REGISTERS.get(name)
        if register is not None and not self._partition.privileges & Privilege.ACCESS_VSM:
            raise RegisterAccessError(HvStatus.ACCESS_DENIED)
        return register

    def write(self, state: "VirtualProcessorVtl", name: int, value: int) -> None:
        """Set a register of a VTL of a VP, without the side effects that an instruction has.

        Raises:
            RegisterAccessError: INVALID_PARAMETER for a register that does not exist or is
                read-only, INVALID_REGISTER_VALUE for a value that it cannot have, ACCESS_DENIED
                for one that needs a privilege.
            RegisterWait: the write has to wait; the VP is suspended.
        """
        if register_size(name) == 8 and value > _ALL_BITS:
            raise RegisterAccessError(HvStatus.INVALID_REGISTER_VALUE)
        if name in PROCESSOR_REGISTERS:
            rule = _RULES.get(name)
            if rule is not None and not rule(value):
                raise RegisterAccessError(HvStatus.INVALID_REGISTER_VALUE)
            if name == _R.CR3 and not rules.valid_cr3(value, self._partition.memory.address_bits):
                raise RegisterAccessError(HvStatus.INVALID_REGISTER_VALUE)
            try:
                self._partition.effects.write_register(state.vp, state.vtl, name, value)
            except KeyError:
                raise RegisterAccessError(HvStatus.INVALID_PARAMETER) from None
        elif name in MSR_REGISTERS:
            self._write_msr(state, MSR_REGISTERS[name], value)
        elif name == _R.CR8:
            if value > 0xF:
                raise RegisterAccessError(HvStatus.INVALID_REGISTER_VALUE)
            state.apic.write_task_priority(value << 4)
        elif name == _R.PENDING_EVENT0:
            write_pending_event(state, value)
        else:
            secure = self._secure_register(name)
            if secure is None or secure.write is None:
                raise RegisterAccessError(HvStatus.INVALID_PARAMETER)
            secure.write(state, value)

    def _write_msr(self, state: "VirtualProcessorVtl", index: int, value: int) -> None:
        msrs = self._partition.msrs
        if not msrs.writable(index):
            raise RegisterAccessError(HvStatus.INVALID_PARAMETER)
        try:
            msrs.write_in(state, index, value)
        except GeneralProtection:
            raise RegisterAccessError(HvStatus.INVALID_REGISTER_VALUE) from None
