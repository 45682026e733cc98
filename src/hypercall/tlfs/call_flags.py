"""The flag words and small enumerations in the input of the calls."""

from enum import IntEnum

from hypercall.tlfs.flags import FlagWord


class FlushFlags(FlagWord):
    """HV_FLUSH_FLAGS of the virtual address flushes; bits 4, 8 and 9 are in headers only."""

    ALL_PROCESSORS = 1 << 0
    ALL_VIRTUAL_ADDRESS_SPACES = 1 << 1
    NON_GLOBAL_MAPPINGS_ONLY = 1 << 2
    USE_EXTENDED_RANGE_FORMAT = 1 << 3
    USE_TARGET_VTL = 1 << 4
    TARGET_VTL0 = 1 << 8
    TARGET_VTL1 = 1 << 9


class MapGpaFlags(FlagWord):
    """HV_MAP_GPA_FLAGS as HvCallModifyVtlProtectionMask uses them."""

    READ = 1 << 0
    WRITE = 1 << 1
    KERNEL_EXECUTE = 1 << 2
    USER_EXECUTE = 1 << 3
    SUPERVISOR_SHADOW_STACK = 1 << 4
    PAGING_WRITABILITY = 1 << 5
    VERIFY_PAGING_WRITABILITY = 1 << 6
    ADJUSTABLE = 1 << 15


class EnablePartitionVtlFlags(FlagWord):
    """Flags of HvCallEnablePartitionVtl; bits 1 and 2 are in headers only."""

    ENABLE_MBEC = 1 << 0
    ENABLE_SUPERVISOR_SHADOW_STACK = 1 << 1
    ENABLE_HARDWARE_HVPT = 1 << 2


class DisableVtlFlags(FlagWord):
    """Flags of the two calls that disable a VTL; the bit's place is inferred."""

    SCRUB_ONLY = 1 << 0


class PostDebugOptions(FlagWord):
    """Options of HvPostDebugData."""

    LOOP = 1 << 0
    RAW_PACKET = 1 << 1


class RetrieveDebugOptions(FlagWord):
    """Options of HvRetrieveDebugData."""

    LOOP = 1 << 0
    TEST_ACTIVITY = 1 << 1
    RAW_PACKET = 1 << 2


class ResetDebugOptions(FlagWord):
    """Options of HvResetDebugSession."""

    PURGE_INCOMING_DATA = 1 << 0
    PURGE_OUTGOING_DATA = 1 << 1
    RETRIEVE_DEBUG_CONFIG = 1 << 2
    USE_RAW_PACKETS = 1 << 3


class InterruptTargetFlags(FlagWord):
    """Flags of HV_DEVICE_INTERRUPT_TARGET."""

    MULTICAST = 1 << 0
    PROCESSOR_SET = 1 << 1


class InterruptSource(IntEnum):
    """Source of HV_INTERRUPT_ENTRY."""

    MSI = 1
    IO_APIC = 2


class VpSetFormat(IntEnum):
    """HV_GENERIC_SET_FORMAT of HV_VP_SET."""

    SPARSE_4K = 0
    ALL = 1


class HeatType(IntEnum):
    """Type of a memory heat hint."""

    COLD = 0
    HOT = 1
    COLD_DISCARD = 2


class TranslateGvaFlags(FlagWord):
    """HV_TRANSLATE_GVA_CONTROL_FLAGS without the input VTL; bits 6 to 10 came later."""

    VALIDATE_READ = 1 << 0
    VALIDATE_WRITE = 1 << 1
    VALIDATE_EXECUTE = 1 << 2
    PRIVILEGE_EXEMPT = 1 << 3
    SET_PAGE_TABLE_BITS = 1 << 4
    TLB_FLUSH_INHIBIT = 1 << 5
    SUPERVISOR_ACCESS = 1 << 6
    USER_ACCESS = 1 << 7
    ENFORCE_SMAP = 1 << 8
    OVERRIDE_SMAP = 1 << 9
    SHADOW_STACK = 1 << 10


class TranslateGvaResultCode(IntEnum):
    """HV_TRANSLATE_GVA_RESULT_CODE; 9, GpaUnaccepted, is of isolated partitions only."""

    SUCCESS = 0
    PAGE_NOT_PRESENT = 1
    PRIVILEGE_VIOLATION = 2
    INVALID_PAGE_TABLE_FLAGS = 3
    GPA_UNMAPPED = 4
    GPA_NO_READ_ACCESS = 5
    GPA_NO_WRITE_ACCESS = 6
    GPA_ILLEGAL_OVERLAY_ACCESS = 7
    INTERCEPT = 8


class CacheType(IntEnum):
    """HV_CACHE_TYPE of x64, which is the memory type of an entry of IA32_PAT."""

    UNCACHED = 0
    WRITE_COMBINING = 1
    WRITE_THROUGH = 4
    WRITE_PROTECTED = 5
    WRITE_BACK = 6
