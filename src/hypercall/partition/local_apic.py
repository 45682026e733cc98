"""The local APIC of one virtual processor in one VTL: xAPIC and x2APIC, with EOI assist."""

from typing import TYPE_CHECKING

from hypercall.partition.apic_timer import ApicTimer
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.interrupt_requests import InterruptRequests
from hypercall.partition.interrupt_routing import DeliveryMode, deliver, destinations

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

VERSION = 0x00050014
"""Six LVT entries, version 0x14, as the integrated APIC of a P4 or Xeon."""

BASE_ADDRESS = 0xFEE00000
BASE_BOOTSTRAP = 1 << 8
BASE_X2APIC = 1 << 10
BASE_ENABLE = 1 << 11

MASKED = 1 << 16
_SOFTWARE_ENABLE = 1 << 8
_ERROR_SEND_ILLEGAL_VECTOR = 1 << 5
_ERROR_RECEIVE_ILLEGAL_VECTOR = 1 << 6
_ERROR_ILLEGAL_REGISTER = 1 << 7

# Register numbers: the offset of the register in the xAPIC page divided by 16, which is also the
# MSR number in x2APIC mode less 0x800.
_ID, _VERSION, _TPR, _APR, _PPR, _EOI = 0x02, 0x03, 0x08, 0x09, 0x0A, 0x0B
_LDR, _DFR, _SVR, _ISR, _TMR, _IRR = 0x0D, 0x0E, 0x0F, 0x10, 0x18, 0x20
_ESR, _ICR_LOW, _ICR_HIGH = 0x28, 0x30, 0x31
_LVT_TIMER, _LVT_THERMAL, _LVT_PERFORMANCE = 0x32, 0x33, 0x34
_LVT_LINT0, _LVT_LINT1, _LVT_ERROR = 0x35, 0x36, 0x37
_INITIAL_COUNT, _CURRENT_COUNT, _DIVIDE, _SELF_IPI = 0x38, 0x39, 0x3E, 0x3F

_LVT_WRITABLE = {
    _LVT_TIMER: 0x000710FF & ~0x1000,
    _LVT_THERMAL: 0x000107FF,
    _LVT_PERFORMANCE: 0x000107FF,
    _LVT_LINT0: 0x0001A7FF,
    _LVT_LINT1: 0x0001A7FF,
    _LVT_ERROR: 0x000100FF,
}
_X2APIC_READABLE = frozenset(
    [
        *(_ID, _VERSION, _TPR, _PPR, _LDR, _SVR, _ESR, _ICR_LOW, _DIVIDE),
        *range(_ISR, _IRR + 8),
        *range(_LVT_TIMER, _CURRENT_COUNT + 1),
    ]
)
_X2APIC_WRITABLE = frozenset(
    [_TPR, _EOI, _SVR, _ESR, _ICR_LOW, *range(_LVT_TIMER, _INITIAL_COUNT + 1), _DIVIDE, _SELF_IPI]
)


class LocalApic(InterruptRequests):
    """A local APIC (Intel SDM, volume 3, APIC; TLFS, Local APIC).

    Attributes:
        base: the IA32_APIC_BASE MSR.
        timer: its timer.
        spurious: the spurious-interrupt vector register, whose bit 8 is the software enable.
        logical_destination: the logical destination register.
        destination_format: the destination format register.
        error_status: the error status register.
        icr: the interrupt command register as one value of 64 bits.
        lvt: the local vector table by register number.
    """

    def __init__(self, owner: "VirtualProcessorVtl", *, bootstrap: bool) -> None:
        super().__init__(owner)
        self.base: int = BASE_ADDRESS | BASE_ENABLE | (BASE_BOOTSTRAP if bootstrap else 0)
        self.timer: ApicTimer = ApicTimer(self)
        self.spurious = 0xFF
        self.logical_destination = 0
        self.destination_format = 0xFFFFFFFF
        self.error_status = 0
        self.icr = 0
        self.lvt = dict.fromkeys(_LVT_WRITABLE, MASKED)
        self._errors = 0
        self.reset()

    # --- state -------------------------------------------------------------------------------

    def reset(self) -> None:
        """Go to the state after INIT; IA32_APIC_BASE and the APIC id stay."""
        self.clear()
        enabled = self.owner.vtl and self._partition.configuration.readings.new_vtl_apic_enabled
        self.spurious = 0xFF | _SOFTWARE_ENABLE if enabled else 0xFF
        self.destination_format = 0xFFFFFFFF
        self.error_status = self._errors = 0
        self.icr = 0
        self.lvt = dict.fromkeys(_LVT_WRITABLE, MASKED)
        self.timer.reset()
        self._enabled_changed()
        self._update_logical_id()

    @property
    def id(self) -> int:
        """The APIC id, which the guest cannot change (TLFS, Local APIC)."""
        return self._vp.apic_id

    @property
    def x2apic(self) -> bool:
        """Whether the APIC is in x2APIC mode."""
        return bool(self.base & BASE_X2APIC)

    @property
    def enabled(self) -> bool:
        """Whether IA32_APIC_BASE enables the APIC."""
        return bool(self.base & BASE_ENABLE)

    @property
    def software_enabled(self) -> bool:
        """Whether the APIC accepts fixed interrupts: enabled in its base and in its SVR."""
        return self.accepting

    def _enabled_changed(self) -> None:
        self.accepting = bool(self.spurious & _SOFTWARE_ENABLE) and bool(self.base & BASE_ENABLE)

    def write_base(self, value: int) -> None:
        """Write IA32_APIC_BASE.

        Raises:
            GeneralProtection: reserved bits, or a change of mode that the architecture forbids.
        """
        reserved = ~((1 << self._partition.memory.address_bits) - 1) | 0xFF | 1 << 9
        mode, old = value & (BASE_X2APIC | BASE_ENABLE), self.base & (BASE_X2APIC | BASE_ENABLE)
        both = BASE_X2APIC | BASE_ENABLE
        if value & reserved or mode == BASE_X2APIC:
            raise GeneralProtection
        if (old == both and mode == BASE_ENABLE) or (old == 0 and mode == both):
            raise GeneralProtection
        if mode == both and not self._partition.configuration.has_x2apic:
            raise GeneralProtection
        # Which processor is the bootstrap one is not the guest's to change.
        self.base = (value & ~BASE_BOOTSTRAP) | (self.base & BASE_BOOTSTRAP)
        self._enabled_changed()
        if mode == 0 and old != 0:
            self.reset()
        elif mode != old:
            self._update_logical_id()

    def _update_logical_id(self) -> None:
        """Give the logical id its value after a change of mode (SDM, x2APIC logical id)."""
        identity = self.id
        x2apic_id = (identity >> 4) << 16 | 1 << (identity & 15)
        self.logical_destination = x2apic_id if self.x2apic else 0

    def matches_logical(self, destination: int) -> bool:
        """Return whether a logical destination, not the broadcast one, names this APIC."""
        if self.x2apic:
            own = self.logical_destination
            return destination >> 16 == own >> 16 and bool(destination & own & 0xFFFF)
        own = self.logical_destination >> 24
        if self.destination_format >> 28 == 0xF:
            return bool(destination & own)
        cluster = destination >> 4
        return cluster in (0xF, own >> 4) and bool(destination & own & 0xF)

    # --- errors and inter-processor interrupts -------------------------------------------------

    def received_illegal_vector(self) -> None:
        """Note a request for a vector below 16 in the error status register."""
        self._error(_ERROR_RECEIVE_ILLEGAL_VECTOR)

    def _error(self, bit: int) -> None:
        self._errors |= bit
        entry = self.lvt[_LVT_ERROR]
        # The error interrupt itself must not cause another error without end.
        if not entry & MASKED and entry & 0xF0:
            self.request(entry & 0xFF)

    def write_icr(self, value: int) -> None:
        """Send an inter-processor interrupt.

        Args:
            value: 64 bits; the destination is in bits 63:56 in xAPIC mode, in 63:32 in x2APIC mode.
        """
        self.icr = value & ~(1 << 12)
        partition = self._partition
        mode = value >> 8 & 7
        vector = value & 0xFF
        shorthand = value >> 18 & 3
        if mode == DeliveryMode.INIT and value & (1 << 15) and not value & (1 << 14):
            return  # The level de-assert only synchronises arbitration ids: nothing to do.
        if mode in (DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY) and vector < 0x10:
            self._error(_ERROR_SEND_ILLEGAL_VECTOR)
            return
        if shorthand == 1:
            targets = [self]
        elif shorthand:
            vtl = self.owner.vtl
            targets = [
                vp.vtls[vtl].apic
                for vp in partition.virtual_processors
                if vtl in vp.vtls and (shorthand == 2 or vp is not self._vp)
            ]
        else:
            x2apic = self.x2apic
            targets = destinations(
                partition,
                self.owner.vtl,
                value >> 32 if x2apic else value >> 56,
                logical=bool(value & (1 << 11)),
                x2apic=x2apic,
            )
        deliver(partition, targets, mode, vector)

    # --- registers ---------------------------------------------------------------------------

    def read_mmio(self, offset: int, size: int = 4) -> int:
        """Read from the xAPIC page.

        Args:
            offset: from the start of the page.
            size: in bytes; registers are 32 bits wide, the bytes beyond them read zero.
        """
        if self.x2apic or not self.enabled:
            return (1 << size * 8) - 1
        within = offset & 0xF
        if within > 3:
            return 0
        return self._read(offset >> 4) >> within * 8 & (1 << size * 8) - 1

    def write_mmio(self, offset: int, value: int, size: int = 4) -> None:
        """Write to the xAPIC page; only aligned writes of 32 bits have an effect."""
        if self.x2apic or not self.enabled or offset & 0xF or size < 4:
            return
        value &= 0xFFFFFFFF
        number = offset >> 4
        if number == _ICR_LOW:
            self.write_icr(self.icr & 0xFFFFFFFF00000000 | value)
        elif number == _ICR_HIGH:
            self.icr = self.icr & 0xFFFFFFFF | value << 32
        elif number == _LDR:
            self.logical_destination = value & 0xFF000000
        elif number == _DFR:
            self.destination_format = value | 0x0FFFFFFF
        else:
            self._write(number, value)

    def read_x2apic(self, number: int) -> int:
        """Read an x2APIC MSR.

        Args:
            number: the MSR's number less 0x800.

        Raises:
            GeneralProtection: the APIC is in another mode, or there is no such register to read.
        """
        if not self.x2apic or number not in _X2APIC_READABLE:
            raise GeneralProtection
        if number == _ICR_LOW:
            return self.icr
        return self._read(number)

    def write_x2apic(self, number: int, value: int) -> None:
        """Write an x2APIC MSR.

        Args:
            number: the MSR's number less 0x800.
            value: 64 bits.

        Raises:
            GeneralProtection: the APIC is in another mode, there is no such register to write, or
                reserved bits are set.
        """
        if not self.x2apic or number not in _X2APIC_WRITABLE:
            raise GeneralProtection
        if number == _ICR_LOW:
            self.write_icr(value)
            return
        if value >> 32 or (number in (_EOI, _ESR) and value):
            raise GeneralProtection
        if number == _SELF_IPI:
            if value >> 8:
                raise GeneralProtection
            self.write_icr(1 << 18 | value & 0xFF)
        else:
            self._write(number, value)

    def read_icr(self) -> int:
        """Return the interrupt command register as one 64-bit value."""
        return self.icr

    def _read(self, number: int) -> int:
        if number == _TPR:
            return self.tpr
        if number == _ID:
            return self.id if self.x2apic else (self.id & 0xFF) << 24
        if number == _VERSION:
            return VERSION
        if number == _PPR:
            self.settle_lazy_end()
            return self.processor_priority()
        if number == _LDR:
            return self.logical_destination
        if number == _DFR:
            return self.destination_format
        if number == _SVR:
            return self.spurious
        if _ISR <= number < _IRR + 8:
            self.settle_lazy_end()
            bits = (self.isr, self.tmr, self.irr)[(number - _ISR) >> 3]
            return bits >> (number & 7) * 32 & 0xFFFFFFFF
        if number == _ESR:
            return self.error_status
        if number == _ICR_LOW:
            return self.icr & 0xFFFFFFFF
        if number == _ICR_HIGH:
            return self.icr >> 32
        if number in self.lvt:
            return self.lvt[number]
        if number == _INITIAL_COUNT:
            return self.timer.initial_count
        if number == _CURRENT_COUNT:
            return self.timer.current_count()
        if number == _DIVIDE:
            return self.timer.divide
        if number not in (_APR, _EOI):
            self._error(_ERROR_ILLEGAL_REGISTER)
        return 0

    def _write(self, number: int, value: int) -> None:
        if number == _EOI:
            self.eoi()
        elif number == _TPR:
            self.write_task_priority(value)
        elif number == _SVR:
            self.spurious = value & 0x1FF
            self._enabled_changed()
            if not value & _SOFTWARE_ENABLE:
                # A software-disabled APIC masks its LVT entries (SDM, software disable).
                for entry in self.lvt:
                    self.lvt[entry] |= MASKED
        elif number == _ESR:
            self.error_status, self._errors = self._errors, 0
        elif number in self.lvt:
            value &= _LVT_WRITABLE[number]
            if not self.spurious & _SOFTWARE_ENABLE:
                value |= MASKED
            old, self.lvt[number] = self.lvt[number], value
            if number == _LVT_TIMER:
                self.timer.mode_changed(old, value)
        elif number == _INITIAL_COUNT:
            self.timer.write_initial_count(value)
        elif number == _DIVIDE:
            self.timer.write_divide(value)
        elif number not in (_ID, _VERSION, _APR, _PPR, _CURRENT_COUNT):
            self._error(_ERROR_ILLEGAL_REGISTER)

    @property
    def timer_entry(self) -> int:
        """The LVT timer entry."""
        return self.lvt[_LVT_TIMER]
