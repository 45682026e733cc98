"""A partition: its processors, its memory, its clock, and what all of them share."""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from hypercall.errors import InputError
from hypercall.partition.clock import TSC_FREQUENCY, ManualClock, ReferenceClock
from hypercall.partition.configuration import MAX_PROCESSORS, PartitionConfiguration
from hypercall.partition.debug_channel import DebugChannel
from hypercall.partition.debug_registers import DebugRegisters
from hypercall.partition.debug_waits import DebugWaits
from hypercall.partition.device_interrupts import DeviceInterrupts
from hypercall.partition.effects import Effects
from hypercall.partition.hypercall_page import HypercallPage
from hypercall.partition.injection import Injection
from hypercall.partition.memory import ALL_PERMISSIONS, GuestMemory, Permission
from hypercall.partition.memory_hints import MemoryHints
from hypercall.partition.msrs import MsrFile
from hypercall.partition.nested_translation import NestedTranslation
from hypercall.partition.overlay_register import OverlayRegister
from hypercall.partition.page_faults import PageFaults
from hypercall.partition.port_table import PortTable
from hypercall.partition.registers import RegisterFile
from hypercall.partition.timers import TimerQueue
from hypercall.partition.virtual_processor import VirtualProcessor, VirtualProcessorVtl
from hypercall.partition.vsm import VirtualSecureMode
from hypercall.tlfs.cpuid import Leaf, hypervisor_leaves
from hypercall.tlfs.identifiers import PARTITION_ID_SELF, VP_INDEX_SELF
from hypercall.tlfs.registers import (
    PARTITION_CONFIG_DEFAULT_VTL_PROTECTION_MASK,
    PARTITION_CONFIG_ZERO_MEMORY_ON_RESET,
)

if TYPE_CHECKING:
    from hypercall.partition.io_apic import IoApic

ARENA_PAGES = 1024
"""How many overlay pages a machine should provide: 64 VPs with 3 VTLs can use 582."""

CRASH_PARAMETER_COUNT = 5

# What a VTL that is just enabled has: all memory accessible, and zeroed at a reset (TLFS, VSM).
_INITIAL_CONFIG = PARTITION_CONFIG_ZERO_MEMORY_ON_RESET.set(
    PARTITION_CONFIG_DEFAULT_VTL_PROTECTION_MASK.set(0, ALL_PERMISSIONS), 1
)

_TSC_PAGE = struct.Struct("<IIQq")


class VtlPartitionState:
    """What a partition has once per VTL (TLFS, VSM, private MSRs).

    Attributes:
        hypercall_page: GUEST_OS_ID, HYPERCALL and the page.
        reference_tsc: the REFERENCE_TSC register and page.
        config: the VsmPartitionConfig register.
        mbec: mode-based execute control is available to it.
    """

    __slots__ = ("config", "hypercall_page", "mbec", "reference_tsc")

    def __init__(self, partition: "Partition", vtl: int) -> None:
        readings = partition.configuration.readings
        self.hypercall_page = HypercallPage(
            partition.memory,
            vtl,
            refuse_reserved=readings.hypercall_msr_reserved_bits,
            without_os_id=readings.page_without_os_id,
            writable=readings.hypercall_page_writable,
        )
        # Sequence 1: the page is valid and never changes, for the TSC's rate never does.
        content = _TSC_PAGE.pack(1, 0, (10_000_000 << 64) // TSC_FREQUENCY, 0)
        self.reference_tsc = OverlayRegister(
            partition.memory,
            vtl,
            Permission.READ,
            content,
            in_ram=readings.reference_tsc_in_ram,
        )
        self.config = _INITIAL_CONFIG if vtl else 0
        self.mbec = False

    def reset(self) -> None:
        """Go to the state after a reset of the partition, or of a VTL just enabled."""
        self.hypercall_page.reset()
        self.reference_tsc.reset()
        if self.config:
            self.config = _INITIAL_CONFIG


class Partition:
    """A partition.

    Args:
        configuration: what it has and may do.
        memory: its guest-physical memory.
        effects: the machine that runs its processors.
        clock: its clock; without it time stands still until somebody sets ``clock.now``.
        timers: the queue of its deadlines.

    Attributes:
        configuration: what it has and may do.
        privileges: the privilege mask as a plain number, which the dispatcher tests.
        readings: how contradictions of the sources are decided.
        memory: its guest-physical memory.
        effects: the machine that runs its processors.
        clock: its clock.
        timers: the queue of its deadlines.
        processors: the virtual processors in the order of their creation.
        virtual_processors: the virtual processors in ascending order of VP index.
        by_index: the virtual processors by VP index.
        by_apic_id: the virtual processors by APIC id.
        vp_mask: bit i set for each VP index i that exists.
        vtls: its state by VTL; VTL 0 always, further ones once they are enabled.
        vsm: what its VTLs do to one another.
        ports: its ports and connections.
        debug_channel: its channel to a debugger.
        debug_registers: the registers by which the guest can use that channel.
        debug_waits: which processors wait for data from the debugger.
        device_interrupts: the interrupts of its devices that its guest can retarget.
        page_faults: the pages of its memory that are out.
        memory_hints: what its guest says about the heat of its memory.
        nested: the second-level address spaces of a hypervisor that runs in it.
        msrs: its model-specific registers.
        registers: the registers of its processors by HV_REGISTER_NAME.
        hypervisor_leaves: the CPUID leaves from 0x40000000 on: EAX, EBX, ECX, EDX by leaf.
        io_apic: the I/O APIC, which is told of the end of level-triggered interrupts.
        injection: who decides whether interrupts, messages and expirations arrive; None, as long
            as all do.
        on_delivery: called when a message or an event flag has come into a SynIC: whose it is,
            the SINT, the vector of its interrupt or None, and the message type or None.
        crash_parameters: the guest crash parameters 0 to 4.
        crash_control: the last value of CRASH_CTL that the guest wrote.
        reenlightenment_control, tsc_emulation_control, tsc_emulation_status,
        tsc_invariant_control: the registers of these names.
    """

    def __init__(
        self,
        configuration: PartitionConfiguration,
        memory: GuestMemory,
        effects: Effects,
        *,
        clock: ReferenceClock | None = None,
        timers: TimerQueue | None = None,
    ) -> None:
        self.configuration = configuration
        self.privileges = int(configuration.privileges)
        self.readings = configuration.readings
        self.memory = memory
        self.effects = effects
        self.clock = clock or ReferenceClock(ManualClock().now)
        self.timers = timers or TimerQueue()
        self.timers.changed = effects.deadline_changed
        self.io_apic: IoApic | None = None
        self.injection: Injection | None = None
        self.on_delivery: Callable[[VirtualProcessorVtl, int, int | None, int | None], None] = (
            lambda *_: None
        )
        self.vtls: dict[int, VtlPartitionState] = {0: VtlPartitionState(self, 0)}
        self.vsm = VirtualSecureMode(self)
        self.processors = [
            VirtualProcessor(self, identity.index, identity.apic_id, bootstrap=position == 0)
            for position, identity in enumerate(configuration.processors)
        ]
        self.virtual_processors = sorted(self.processors, key=lambda vp: vp.index)
        self.by_index = {vp.index: vp for vp in self.virtual_processors}
        self.by_apic_id = {vp.apic_id: vp for vp in self.virtual_processors}
        self.vp_mask = sum(1 << vp.index for vp in self.virtual_processors)
        self.ports = PortTable(self)
        self.debug_channel = DebugChannel()
        self.debug_registers = DebugRegisters(
            self.debug_channel, memory, available=bool(configuration.debug_channel_id)
        )
        self.debug_waits = DebugWaits(self.debug_channel)
        self.device_interrupts = DeviceInterrupts(self)
        self.page_faults = PageFaults(self)
        self.memory_hints = MemoryHints(self)
        self.nested = NestedTranslation(memory)
        self.msrs = MsrFile(self)
        self.registers = RegisterFile(self)
        self.hypervisor_leaves = _leaves(configuration)
        self._clear_registers()

    def change(self, configuration: PartitionConfiguration, shown: PartitionConfiguration) -> None:
        """Grant other privileges, features and recommendations from now on.

        Args:
            configuration: what is granted; the processors and the memory must be the same.
            shown: what `hypervisor_leaves` tell of it, which may be something else.
        """
        self.configuration = configuration
        self.privileges = int(configuration.privileges)
        self.msrs = MsrFile(self)
        self.hypervisor_leaves = _leaves(shown)

    @property
    def bootstrap(self) -> VirtualProcessor:
        """The virtual processor that the machine starts by itself."""
        return self.processors[0]

    def hypercalls_enabled(self, vtl: int) -> bool:
        """Return whether the guest has established the hypercall interface in this VTL."""
        return self.vtls[vtl].hypercall_page.enabled

    def new_vtl(self, vtl: int) -> VtlPartitionState:
        """Give the partition the state of a VTL that it did not have."""
        state = self.vtls[vtl] = VtlPartitionState(self, vtl)
        return state

    def intercept_parameters(self, vp_index: int, gpa: int, *, write: bool) -> bool:
        """Tell the VTL that protects parameters of a call from the calling VP, if one does."""
        return self.vsm.parameter_violation(self.by_index[vp_index], gpa, write=write)

    def is_own_id(self, partition_id: int) -> bool:
        """Return whether a partition id names this partition."""
        return partition_id in (PARTITION_ID_SELF, self.configuration.partition_id)

    def vp(self, index: int) -> VirtualProcessor:
        """The virtual processor of a VP index.

        Raises:
            InputError: there is no such virtual processor.
        """
        vp = self.by_index.get(index)
        if vp is None:
            raise InputError(
                f"there is no virtual processor {index}: give an index below {len(self.processors)}"
            )
        return vp

    def find_vp(
        self, index: int, caller: VirtualProcessor | None = None
    ) -> VirtualProcessor | None:
        """Return the virtual processor of a VP index, or None.

        Args:
            index: the VP index.
            caller: what HV_VP_INDEX_SELF stands for; without it that index names nobody.
        """
        if index == VP_INDEX_SELF:
            return caller
        return self.by_index.get(index)

    def vps_in(self, mask: int) -> tuple[VirtualProcessor, ...]:
        """Return the existing virtual processors of a set, in ascending order of VP index.

        Args:
            mask: bit i for VP index i, of any length; bits of VPs that do not exist are ignored.
        """
        mask &= self.vp_mask
        if mask == self.vp_mask:
            return tuple(self.virtual_processors)
        if mask & mask - 1 == 0:
            return (self.by_index[mask.bit_length() - 1],) if mask else ()
        return tuple(vp for vp in self.virtual_processors if mask >> vp.index & 1)

    def reset(self) -> None:
        """Go to the state of a new partition; RAM and ports stay."""
        self.debug_channel.reset()
        self.debug_registers.reset()
        self.debug_waits.reset()
        self.page_faults.reset()
        self.memory_hints.reset()
        self.nested.reset()
        for vp in self.processors:
            vp.reset()
        self.vsm.reset()
        for state in self.vtls.values():
            state.reset()
        self.vtls = {0: self.vtls[0]}
        self._clear_registers()

    def _clear_registers(self) -> None:
        self.crash_parameters = [0] * CRASH_PARAMETER_COUNT
        self.crash_control = 0
        self.reenlightenment_control = 0
        self.tsc_emulation_control = 0
        self.tsc_emulation_status = 0
        self.tsc_invariant_control = 0


def _leaves(configuration: PartitionConfiguration) -> dict[int, Leaf]:
    return hypervisor_leaves(
        configuration.privileges,
        configuration.features,
        configuration.recommendations,
        spin_retry_count=configuration.spin_retry_count,
        max_virtual_processors=MAX_PROCESSORS,
        max_logical_processors=MAX_PROCESSORS,
        physical_address_bits=configuration.address_bits,
        nested_features=configuration.nested_features,
    )
