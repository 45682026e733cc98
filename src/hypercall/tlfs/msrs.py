"""The synthetic MSRs: indexes, layouts, access and the privilege that each needs.

Sources: TLFS ``feature-discovery``, ``virtual-interrupts``, ``timers``, ``hypercall-interface``;
TLFS 6.0b page 74 for #GP without the privilege; KVM and QEMU for the debugger's.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from types import MappingProxyType

from hypercall.tlfs.bits import BitField
from hypercall.tlfs.privileges import Feature, Privilege


class SyntheticMsr(IntEnum):
    """The indexes."""

    GUEST_OS_ID = 0x4000_0000
    HYPERCALL = 0x4000_0001
    VP_INDEX = 0x4000_0002
    RESET = 0x4000_0003
    VP_RUNTIME = 0x4000_0010
    TIME_REF_COUNT = 0x4000_0020
    REFERENCE_TSC = 0x4000_0021
    TSC_FREQUENCY = 0x4000_0022
    APIC_FREQUENCY = 0x4000_0023
    NPIEP_CONFIG = 0x4000_0040
    EOI = 0x4000_0070
    ICR = 0x4000_0071
    TPR = 0x4000_0072
    VP_ASSIST_PAGE = 0x4000_0073
    SCONTROL = 0x4000_0080
    SVERSION = 0x4000_0081
    SIEFP = 0x4000_0082
    SIMP = 0x4000_0083
    EOM = 0x4000_0084
    SIRBP = 0x4000_0085
    SINT0 = 0x4000_0090
    SINT1 = 0x4000_0091
    SINT2 = 0x4000_0092
    SINT3 = 0x4000_0093
    SINT4 = 0x4000_0094
    SINT5 = 0x4000_0095
    SINT6 = 0x4000_0096
    SINT7 = 0x4000_0097
    SINT8 = 0x4000_0098
    SINT9 = 0x4000_0099
    SINT10 = 0x4000_009A
    SINT11 = 0x4000_009B
    SINT12 = 0x4000_009C
    SINT13 = 0x4000_009D
    SINT14 = 0x4000_009E
    SINT15 = 0x4000_009F
    STIMER0_CONFIG = 0x4000_00B0
    STIMER0_COUNT = 0x4000_00B1
    STIMER1_CONFIG = 0x4000_00B2
    STIMER1_COUNT = 0x4000_00B3
    STIMER2_CONFIG = 0x4000_00B4
    STIMER2_COUNT = 0x4000_00B5
    STIMER3_CONFIG = 0x4000_00B6
    STIMER3_COUNT = 0x4000_00B7
    GUEST_IDLE = 0x4000_00F0
    SYNDBG_CONTROL = 0x4000_00F1
    SYNDBG_STATUS = 0x4000_00F2
    SYNDBG_SEND_BUFFER = 0x4000_00F3
    SYNDBG_RECV_BUFFER = 0x4000_00F4
    SYNDBG_PENDING_BUFFER = 0x4000_00F5
    DEBUG_DEVICE_OPTIONS = 0x4000_00FF
    CRASH_P0 = 0x4000_0100
    CRASH_P1 = 0x4000_0101
    CRASH_P2 = 0x4000_0102
    CRASH_P3 = 0x4000_0103
    CRASH_P4 = 0x4000_0104
    CRASH_CTL = 0x4000_0105
    REENLIGHTENMENT_CONTROL = 0x4000_0106
    TSC_EMULATION_CONTROL = 0x4000_0107
    TSC_EMULATION_STATUS = 0x4000_0108
    STIME_UNHALTED_TIMER_CONFIG = 0x4000_0114
    STIME_UNHALTED_TIMER_COUNT = 0x4000_0115
    TSC_INVARIANT_CONTROL = 0x4000_0118


SINT_COUNT = 16
STIMER_COUNT = 4


class MsrAccess(Enum):
    """Which accesses an MSR knows; another is #GP."""

    READ_ONLY = "RO"
    WRITE_ONLY = "WO"
    READ_WRITE = "RW"


@dataclass(frozen=True, slots=True)
class MsrDeclaration:
    """What an MSR needs and allows.

    Attributes:
        msr: the index.
        access: which accesses it knows.
        privilege: needed, else #GP; none for 0.
        feature: needed, else #GP; none for 0.
        per_vp: whether each processor has its own.
        per_vtl: whether each VTL has its own (TLFS ``vsm``, private state).
    """

    msr: SyntheticMsr
    access: MsrAccess
    privilege: Privilege
    feature: Feature
    per_vp: bool
    per_vtl: bool


_NONE = Privilege(0)
_NO_FEATURE = Feature(0)


def _declare(
    msr: SyntheticMsr,
    privilege: Privilege = _NONE,
    feature: Feature = _NO_FEATURE,
    *,
    access: MsrAccess = MsrAccess.READ_WRITE,
    per_vp: bool = False,
    per_vtl: bool = False,
) -> MsrDeclaration:
    return MsrDeclaration(msr, access, privilege, feature, per_vp, per_vtl)


def _declarations() -> tuple[MsrDeclaration, ...]:
    read_only, write_only = MsrAccess.READ_ONLY, MsrAccess.WRITE_ONLY
    msr, privilege, feature = SyntheticMsr, Privilege, Feature
    hypercall = privilege.ACCESS_HYPERCALL_MSRS
    apic = privilege.ACCESS_INTR_CTRL_REGS
    synic = privilege.ACCESS_SYNIC_REGS
    timers = privilege.ACCESS_SYNTHETIC_TIMER_REGS
    frequencies = privilege.ACCESS_FREQUENCY_REGS
    reenlightenment = privilege.ACCESS_REENLIGHTENMENT_CONTROLS
    sints = range(msr.SINT0, msr.SINT0 + SINT_COUNT)
    stimers = range(msr.STIMER0_CONFIG, msr.STIMER0_CONFIG + 2 * STIMER_COUNT)
    syndbg = range(msr.SYNDBG_CONTROL, msr.SYNDBG_PENDING_BUFFER + 1)
    crash = range(msr.CRASH_P0, msr.CRASH_CTL + 1)
    unhalted = range(msr.STIME_UNHALTED_TIMER_CONFIG, msr.STIME_UNHALTED_TIMER_COUNT + 1)
    return (
        _declare(msr.GUEST_OS_ID, hypercall, per_vtl=True),
        _declare(msr.HYPERCALL, hypercall, per_vtl=True),
        _declare(msr.VP_INDEX, privilege.ACCESS_VP_INDEX, access=read_only, per_vp=True),
        _declare(msr.RESET, privilege.ACCESS_RESET_REG),
        _declare(msr.VP_RUNTIME, privilege.ACCESS_VP_RUN_TIME_REG, access=read_only, per_vp=True),
        _declare(
            msr.TIME_REF_COUNT, privilege.ACCESS_PARTITION_REFERENCE_COUNTER, access=read_only
        ),
        _declare(msr.REFERENCE_TSC, privilege.ACCESS_PARTITION_REFERENCE_TSC, per_vtl=True),
        _declare(msr.TSC_FREQUENCY, frequencies, feature.TIMER_FREQUENCIES, access=read_only),
        _declare(msr.APIC_FREQUENCY, frequencies, feature.TIMER_FREQUENCIES, access=read_only),
        _declare(msr.NPIEP_CONFIG, feature=feature.NPIEP, per_vp=True, per_vtl=True),
        _declare(msr.EOI, apic, access=write_only, per_vp=True, per_vtl=True),
        _declare(msr.ICR, apic, per_vp=True, per_vtl=True),
        _declare(msr.TPR, apic, per_vp=True, per_vtl=True),
        _declare(msr.VP_ASSIST_PAGE, apic, per_vp=True, per_vtl=True),
        _declare(msr.SCONTROL, synic, per_vp=True, per_vtl=True),
        _declare(msr.SVERSION, synic, access=read_only, per_vp=True, per_vtl=True),
        _declare(msr.SIEFP, synic, per_vp=True, per_vtl=True),
        _declare(msr.SIMP, synic, per_vp=True, per_vtl=True),
        # Documented as write-only, but reads give 0 (KVM's tests rely on it).
        _declare(msr.EOM, synic, per_vp=True, per_vtl=True),
        _declare(msr.SIRBP, synic, per_vp=True, per_vtl=True),
        *(_declare(msr(index), synic, per_vp=True, per_vtl=True) for index in sints),
        *(_declare(msr(index), timers, per_vp=True, per_vtl=True) for index in stimers),
        _declare(msr.GUEST_IDLE, privilege.ACCESS_GUEST_IDLE_REG, access=read_only, per_vp=True),
        *(_declare(msr(index), feature=feature.DEBUG_MSRS) for index in syndbg),
        _declare(msr.DEBUG_DEVICE_OPTIONS, feature=feature.DEBUG_MSRS),
        *(_declare(msr(index), feature=feature.GUEST_CRASH_MSRS) for index in crash),
        _declare(msr.REENLIGHTENMENT_CONTROL, reenlightenment),
        _declare(msr.TSC_EMULATION_CONTROL, reenlightenment),
        _declare(msr.TSC_EMULATION_STATUS, reenlightenment),
        *(
            _declare(msr(index), feature=feature.SYNTHETIC_TIME_UNHALTED_TIMER, per_vp=True)
            for index in unhalted
        ),
        _declare(msr.TSC_INVARIANT_CONTROL, privilege.ACCESS_TSC_INVARIANT_CONTROLS),
    )


MSR_DECLARATIONS = MappingProxyType(
    {int(declaration.msr): declaration for declaration in _declarations()}
)
"""Every synthetic MSR by its index; another index from 0x40000000 to 0x4FFFFFFF is #GP."""

ENABLE = BitField("enable", 0)
"""Bit 0 of HYPERCALL, REFERENCE_TSC, VP_ASSIST_PAGE, SIMP, SIEFP and SCONTROL."""
LOCKED = BitField("locked", 1)
"""Bit 1 of HYPERCALL."""
PAGE_NUMBER = BitField("gpa_page_number", 12, 52)
"""Bits 63:12 of the MSRs that place a page."""

SINT_VECTOR = BitField("vector", 0, 8)
SINT_MASKED = BitField("masked", 16)
SINT_AUTO_EOI = BitField("auto_eoi", 17)
SINT_POLLING = BitField("polling", 18)
SINT_AS_INTERCEPT = BitField("as_intercept", 19)
SINT_PROXY = BitField("proxy", 20)
SINT_RESET_VALUE = 0x1_0000
SINT_FIRST_VALID_VECTOR = 16

STIMER_ENABLE = BitField("enable", 0)
STIMER_PERIODIC = BitField("periodic", 1)
STIMER_LAZY = BitField("lazy", 2)
STIMER_AUTO_ENABLE = BitField("auto_enable", 3)
STIMER_APIC_VECTOR = BitField("apic_vector", 4, 8)
STIMER_DIRECT_MODE = BitField("direct_mode", 12)
STIMER_SINT = BitField("sint", 16, 4)

CRASH_NOTIFY = BitField("crash_notify", 63)
CRASH_MESSAGE = BitField("crash_message", 62)

RESET_PARTITION = BitField("reset", 0)

DEBUG_OPTION_USE_HYPERCALLS = BitField("use_hypercalls", 2)
DEBUG_CONTROL_SEND = BitField("send", 0)
DEBUG_CONTROL_RECEIVE = BitField("receive", 1)
DEBUG_CONTROL_SEND_SIZE = BitField("send_size", 16, 16)
DEBUG_STATUS_SENT = BitField("sent", 0)
DEBUG_STATUS_RECEIVED = BitField("received", 2)
DEBUG_STATUS_SIZE = BitField("size", 16, 16)
"""SYNDBG_CONTROL and SYNDBG_STATUS, from KVM and QEMU."""

SYNIC_VERSION = 1


def msr_name(index: int) -> str:
    """Return the name of a synthetic MSR without prefix, or its index in hexadecimal."""
    declaration = MSR_DECLARATIONS.get(index)
    return declaration.msr.name if declaration else f"{index:#x}"
