"""What a partition has and may do, fixed when it is created."""

import random
from dataclasses import dataclass, field, replace
from typing import Self

from hypercall.errors import InputError
from hypercall.tlfs.privileges import (
    ExtendedCapability,
    Feature,
    NestedFeature,
    Privilege,
    Recommendation,
)
from hypercall.tlfs.readings import ReadingSet

MAX_PROCESSORS = 64
"""How many virtual processors a partition can have."""

NEVER_NOTIFY = 0xFFFFFFFF
"""The spin count of 0x40000004.EBX that says never to call HvCallNotifyLongSpinWait."""

DEFAULT_PRIVILEGES = (
    Privilege.ACCESS_VP_RUN_TIME_REG
    | Privilege.ACCESS_PARTITION_REFERENCE_COUNTER
    | Privilege.ACCESS_SYNIC_REGS
    | Privilege.ACCESS_SYNTHETIC_TIMER_REGS
    | Privilege.ACCESS_INTR_CTRL_REGS
    | Privilege.ACCESS_HYPERCALL_MSRS
    | Privilege.ACCESS_VP_INDEX
    | Privilege.ACCESS_RESET_REG
    | Privilege.ACCESS_PARTITION_REFERENCE_TSC
    | Privilege.ACCESS_GUEST_IDLE_REG
    | Privilege.ACCESS_FREQUENCY_REGS
    | Privilege.DEBUGGING
    | Privilege.ACCESS_REENLIGHTENMENT_CONTROLS
    | Privilege.ACCESS_TSC_INVARIANT_CONTROLS
    | Privilege.POST_MESSAGES
    | Privilege.SIGNAL_EVENTS
    | Privilege.ENABLE_EXTENDED_GVA_RANGES_FOR_FLUSH_VIRTUAL_ADDRESS_LIST
    | Privilege.ACCESS_VSM
    | Privilege.ACCESS_VP_REGISTERS
    | Privilege.ENABLE_EXTENDED_HYPERCALLS
    | Privilege.START_VIRTUAL_PROCESSOR
)
"""The privileges of what is implemented."""

DEFAULT_FEATURES = (
    Feature.GUEST_DEBUGGING
    | Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT
    | Feature.GUEST_IDLE_STATE
    | Feature.TIMER_FREQUENCIES
    | Feature.GUEST_CRASH_MSRS
    | Feature.DEBUG_MSRS
    | Feature.EXTENDED_GVA_RANGES_FOR_FLUSH_VIRTUAL_ADDRESS_LIST
    | Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_OUTPUT
    | Feature.SINT_POLLING_MODE
    | Feature.HYPERCALL_MSR_LOCK
    | Feature.DIRECT_SYNTHETIC_TIMERS
    | Feature.CROSS_VTL_FLUSH
    | Feature.TRANSLATE_GVA_FLAGS
)
"""The features of what is implemented."""

DEFAULT_RECOMMENDATIONS = (
    Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH
    | Recommendation.MSRS_FOR_APIC_ACCESS
    | Recommendation.RELAXED_TIMING
    | Recommendation.DEPRECATE_AUTO_EOI
    | Recommendation.SYNTHETIC_CLUSTER_IPI
    | Recommendation.EX_PROCESSOR_MASKS
)
"""What a guest is advised to use."""

DEFAULT_EXTENDED_CAPABILITIES = (
    ExtendedCapability.GET_BOOT_ZEROED_MEMORY
    | ExtendedCapability.MEMORY_HEAT_HINT
    | ExtendedCapability.EPF_SETUP
    | ExtendedCapability.MEMORY_HEAT_HINT_ASYNC
    | ExtendedCapability.MEMORY_COLD_DISCARD_HINT
)
"""The extended calls that are implemented."""


@dataclass(frozen=True, slots=True)
class ProcessorIdentity:
    """The two names of a virtual processor, which need not agree.

    Attributes:
        index: its VP index.
        apic_id: its APIC id.
    """

    index: int
    apic_id: int


def processors_in_order(
    count: int, *, shuffle_vp_index: int | None = None
) -> tuple[ProcessorIdentity, ...]:
    """Return the identities of `count` virtual processors in the order of their creation.

    APIC ids ascend in that order, as firmware numbers them. VP indexes do too, unless a seed
    shuffles them: guests confuse the two, and a shuffle shows it.

    Args:
        count: 1 to 64.
        shuffle_vp_index: the seed of the shuffle, or None for none.

    Raises:
        InputError: the count is out of range.
    """
    if not 1 <= count <= MAX_PROCESSORS:
        raise InputError(
            f"cannot make {count} virtual processors: give a number from 1 to {MAX_PROCESSORS}"
        )
    indexes = list(range(count))
    if shuffle_vp_index is not None:
        random.Random(shuffle_vp_index).shuffle(indexes)
    return tuple(ProcessorIdentity(index, apic_id) for apic_id, index in enumerate(indexes))


@dataclass(frozen=True)
class PartitionConfiguration:
    """What a partition has and may do.

    Attributes:
        processors: the virtual processors in the order of their creation; the first one is the
            bootstrap processor. VP indexes and APIC ids must each differ from one another.
        memory_size: the size of RAM in bytes, a multiple of 4096.
        privileges: the partition privilege mask, CPUID 0x40000003.EBX:EAX.
        features: CPUID 0x40000003.EDX.
        recommendations: CPUID 0x40000004.EAX.
        spin_retry_count: CPUID 0x40000004.EBX, after how many attempts on a lock to notify.
        extended_capabilities: what HvExtCallQueryCapabilities reports.
        nested_features: CPUID 0x4000000A.EAX, or None for a partition that cannot nest another.
        debug_channel_id: the id of the partition's debug channel; 0 means that it has none.
        readings: how contradictions of the public sources are decided.
        vtl_count: how many VTLs there can be, VTL 0 included.
        mbec: whether VTLs above 0 can have mode-based execute control.
        dr6_shared: whether DR6 is common to the VTLs of a virtual processor.
        address_bits: the width of a guest-physical address.
        partition_id: the id that names the partition beside HV_PARTITION_ID_SELF.
        x2apic: whether the local APICs have an x2APIC mode, as they do where its MSRs are
            recommended.
    """

    processors: tuple[ProcessorIdentity, ...] = field(
        default_factory=lambda: processors_in_order(1)
    )
    memory_size: int = 256 << 20
    privileges: Privilege = DEFAULT_PRIVILEGES
    features: Feature = DEFAULT_FEATURES
    recommendations: Recommendation = DEFAULT_RECOMMENDATIONS
    spin_retry_count: int = NEVER_NOTIFY
    extended_capabilities: ExtendedCapability = DEFAULT_EXTENDED_CAPABILITIES
    nested_features: NestedFeature | None = None
    debug_channel_id: int = 1
    readings: ReadingSet = field(default_factory=lambda: ReadingSet.named("hyperv"))
    vtl_count: int = 3
    mbec: bool = True
    dr6_shared: bool = False
    address_bits: int = 40
    partition_id: int = 1
    x2apic: bool = False

    def __post_init__(self) -> None:
        indexes = {identity.index for identity in self.processors}
        apic_ids = {identity.apic_id for identity in self.processors}
        if not self.processors or not len(indexes) == len(apic_ids) == len(self.processors):
            raise InputError(
                "the virtual processors of a partition need VP indexes and APIC ids that differ: "
                "give each index and each id once"
            )
        if not 1 <= self.vtl_count <= 3:
            raise InputError(
                f"a partition cannot have {self.vtl_count} virtual trust levels: "
                "give a number from 1 to 3"
            )
        if self.memory_size <= 0 or self.memory_size % 4096:
            raise InputError(
                f"memory of {self.memory_size} bytes is not a number of whole pages: "
                "give a multiple of 4096"
            )

    @property
    def has_x2apic(self) -> bool:
        """Whether the local APICs have an x2APIC mode."""
        return self.x2apic or Recommendation.X2APIC_MSRS in self.recommendations

    def replace(self, **changes: object) -> Self:
        """Return a configuration that differs in the given attributes."""
        return replace(self, **changes)  # type: ignore[arg-type]
