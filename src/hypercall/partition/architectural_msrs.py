"""The MSRs of the architecture that the hypervisor emulates: TSC, APIC base and a few constants."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from hypercall.partition.faults import GeneralProtection

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

IA32_TIME_STAMP_COUNTER = 0x10
IA32_PLATFORM_ID = 0x17
IA32_APIC_BASE = 0x1B
IA32_FEATURE_CONTROL = 0x3A
IA32_TSC_ADJUST = 0x3B
IA32_BIOS_SIGN_ID = 0x8B
IA32_SPEC_CTRL = 0x48
IA32_PRED_CMD = 0x49
IA32_ARCH_CAPABILITIES = 0x10A
IA32_MCG_CAP = 0x179
IA32_MCG_STATUS = 0x17A
IA32_MISC_ENABLE = 0x1A0
IA32_TSC_DEADLINE = 0x6E0

_ALL_BITS = (1 << 64) - 1
_FEATURE_CONTROL_LOCKED = 1
_FAST_STRINGS = 1
_MICROCODE_REVISION = 1 << 32
# An emulated processor has no speculation to attack: RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO,
# MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO,
# RFDS_NO, ITS_NO.
_NOT_VULNERABLE = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62))


class Accessors(NamedTuple):
    """How an MSR of a VTL of a VP is read and written.

    Attributes:
        read: returns 64 bits; may raise GeneralProtection.
        write: takes 64 bits; may raise GeneralProtection.
    """

    read: "Callable[[VirtualProcessorVtl], int]"
    write: "Callable[[VirtualProcessorVtl, int], None]"


def refuse_write(state: "VirtualProcessorVtl", value: int) -> None:
    """Write a read-only MSR.

    Raises:
        GeneralProtection: always.
    """
    raise GeneralProtection


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def read_tsc(state: "VirtualProcessorVtl") -> int:
    """Return the time stamp counter as RDTSC gives it in this VTL."""
    return state.partition.clock.tsc() + state.tsc_offset & _ALL_BITS


def _set_tsc_offset(state: "VirtualProcessorVtl", offset: int) -> None:
    state.tsc_offset = offset
    state.partition.effects.tsc_offset_changed(state.vp, state.vtl)


def _write_tsc(state: "VirtualProcessorVtl", value: int) -> None:
    _set_tsc_offset(state, _signed(value - state.partition.clock.tsc() & _ALL_BITS))


def _write_tsc_adjust(state: "VirtualProcessorVtl", value: int) -> None:
    # Every write of the TSC counts in IA32_TSC_ADJUST too, so that the two are one number.
    _set_tsc_offset(state, _signed(value))


def _kept(index: int, initial: int) -> Accessors:
    """Return accessors of a register that only keeps what is written to it."""

    def write(state: "VirtualProcessorVtl", value: int) -> None:
        state.msrs[index] = value

    return Accessors(lambda state: state.msrs.get(index, initial), write)


def _no_read(state: "VirtualProcessorVtl") -> int:
    raise GeneralProtection


def _microcode() -> Accessors:
    # Software writes 0, executes CPUID and reads the revision: it reads the same at any time.
    return Accessors(lambda state: _MICROCODE_REVISION, lambda state, value: None)


ARCHITECTURAL_MSRS: Mapping[int, Accessors] = MappingProxyType(
    {
        IA32_TIME_STAMP_COUNTER: Accessors(read_tsc, _write_tsc),
        IA32_PLATFORM_ID: Accessors(lambda state: 0, refuse_write),
        IA32_APIC_BASE: Accessors(
            lambda state: state.apic.base, lambda state, value: state.apic.write_base(value)
        ),
        IA32_FEATURE_CONTROL: Accessors(lambda state: _FEATURE_CONTROL_LOCKED, refuse_write),
        IA32_TSC_ADJUST: Accessors(lambda state: state.tsc_offset & _ALL_BITS, _write_tsc_adjust),
        IA32_BIOS_SIGN_ID: _microcode(),
        IA32_SPEC_CTRL: _kept(IA32_SPEC_CTRL, 0),
        IA32_PRED_CMD: Accessors(_no_read, lambda state, value: None),
        IA32_ARCH_CAPABILITIES: Accessors(lambda state: _NOT_VULNERABLE, refuse_write),
        # No machine check banks, whatever CPUID says: guests read this without asking it.
        IA32_MCG_CAP: Accessors(lambda state: 0, refuse_write),
        IA32_MCG_STATUS: _kept(IA32_MCG_STATUS, 0),
        IA32_MISC_ENABLE: _kept(IA32_MISC_ENABLE, _FAST_STRINGS),
        IA32_TSC_DEADLINE: Accessors(
            lambda state: state.apic.timer.deadline_msr,
            lambda state, value: state.apic.timer.write_deadline(value),
        ),
    }
)
"""The emulated MSRs of the architecture by their index (Intel SDM, volume 4)."""
