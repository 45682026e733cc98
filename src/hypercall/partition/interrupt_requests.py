"""Interrupt requests, priorities and service of one local APIC, with EOI assist."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

_FIRST_VECTOR = 0x10


class InterruptRequests:
    """The part of a local APIC that accepts interrupts and hands them to the processor.

    `irr`, `isr` and `tmr` are numbers of 256 bits, bit v for vector v.

    Attributes:
        owner: the VTL of the virtual processor that it belongs to.
        irr: the vectors requested and not yet accepted.
        isr: the vectors in service.
        tmr: of the requested and in-service vectors, those that are level-triggered.
        tpr: the task priority, 8 bits; CR8 is its upper half.
        accepting: whether fixed interrupts are accepted.
    """

    def __init__(self, owner: "VirtualProcessorVtl") -> None:
        self.owner = owner
        self._vp = owner.vp
        self._partition = owner.partition
        self.accepting = False
        self.irr = 0
        self.isr = 0
        self.tmr = 0
        self.tpr = 0
        self._lazy_vector = -1

    def clear(self) -> None:
        """Forget all requests and all service, as a reset does."""
        self.irr = self.isr = self.tmr = 0
        self.tpr = 0
        self._drop_lazy_end()

    def received_illegal_vector(self) -> None:
        """Note a request for a vector below 16."""

    def request(self, vector: int, level: bool = False) -> None:
        """Accept an interrupt: set its IRR bit.

        One that is pending already merges with it; a software-disabled APIC drops it.

        Args:
            vector: 0x10 to 0xFF; a lower one is an error that the error status register shows.
            level: level-triggered; its end is told to the I/O APIC.
        """
        if not self.accepting:
            return
        if vector < _FIRST_VECTOR:
            self.received_illegal_vector()
            return
        # This is on the path of every inter-processor interrupt: no calls unless needed.
        bit = 1 << vector
        irr = self.irr
        injection = self._partition.injection
        if (
            injection is not None
            and not irr & bit
            and injection.takes_interrupt(self.owner, vector, level)
        ):
            return
        if level:
            self.tmr |= bit
        elif self.tmr & bit and not (self.isr | irr) & bit:
            self.tmr &= ~bit
        if irr & bit:
            return
        self.irr = irr | bit
        if self._lazy_vector >= 0:
            self.settle_lazy_end(vector)
        priority = vector >> 4
        if priority > self.tpr >> 4 and priority > (self.isr.bit_length() - 1) >> 4:
            if len(self._vp.vtls) == 1:
                self._partition.effects.interrupt_changed(self._vp)
            else:
                self._vp.interrupt_requested(self.owner.vtl)

    def processor_priority(self) -> int:
        """Return the PPR: the higher of the task priority and the class in service."""
        in_service = self.isr.bit_length() - 1
        if in_service < 0:
            return self.tpr
        service_class = in_service & 0xF0
        return self.tpr if self.tpr & 0xF0 >= service_class else service_class

    def pending_vector(self) -> int | None:
        """Return the vector that the processor would take now if its IF allows, or None."""
        if not self.irr:
            return None
        if self._lazy_vector >= 0:
            self.settle_lazy_end()
        vector = self.irr.bit_length() - 1
        priority = self.processor_priority() if self.isr else self.tpr
        return vector if vector >> 4 > priority >> 4 else None

    def in_service(self) -> int:
        """Return `isr` without what the guest has ended by EOI assist; nothing changes by it."""
        vector, view = self._lazy_vector, self.owner.assist_page.view
        if vector >= 0 and view is not None and not view[0] & 1:
            return self.isr & ~(1 << vector)
        return self.isr

    def acknowledge(self) -> int:
        """Take the pending interrupt: move it from IRR to ISR.

        Returns:
            Its vector.

        Raises:
            ValueError: none is pending.
        """
        vector = self.pending_vector()
        if vector is None:
            raise ValueError("no interrupt is pending")
        bit = 1 << vector
        self.irr &= ~bit
        synic = self.owner.synic
        if synic.auto_eoi_vectors & bit:
            # An implicit end of interrupt at delivery (TLFS, SINTx AutoEOI).
            synic.end_of_interrupt(vector)
            return vector
        nested = self.isr != 0
        self.isr |= bit
        assist = self.owner.assist_page.view
        if assist is not None:
            if nested:
                self._drop_lazy_end()
            elif not self.irr and not self.tmr & bit:
                # The guest need not write EOI (TLFS, EOI Assist): whether it has ended the
                # interrupt is read from the page when it next matters.
                assist[0] |= 1
                self._lazy_vector = vector
        return vector

    def eoi(self) -> None:
        """End the highest interrupt in service, as a write to the EOI register does."""
        if self._lazy_vector >= 0:
            self.settle_lazy_end()
            self._drop_lazy_end()
        vector = self.isr.bit_length() - 1
        if vector >= 0:
            self._end(vector)
        if self.irr and self.pending_vector() is not None:
            self._partition.effects.interrupt_changed(self._vp)

    def write_task_priority(self, value: int) -> None:
        """Set the task priority, 8 bits; the processor calls this for CR8 with ``cr8 << 4``."""
        self.tpr = value & 0xFF
        if self.irr and self.pending_vector() is not None:
            self._partition.effects.interrupt_changed(self._vp)

    def _end(self, vector: int) -> None:
        bit = 1 << vector
        self.isr &= ~bit
        owner = self.owner
        if self.tmr & bit:
            io_apic = owner.partition.io_apic
            if io_apic is not None:
                io_apic.end_of_interrupt(vector)
        if owner.synic.sint_vectors & bit:
            owner.synic.end_of_interrupt(vector)

    def settle_lazy_end(self, requested: int = -1) -> None:
        """Find out whether the guest ended the interrupt that needed no EOI.

        Args:
            requested: a vector just requested, or -1; while the interrupt is in service still and
                would hold that vector back, the guest has to write EOI after all.
        """
        vector = self._lazy_vector
        if vector < 0:
            return
        view = self.owner.assist_page.view
        if view is None:
            self._lazy_vector = -1
        elif not view[0] & 1:
            self._lazy_vector = -1
            if self.isr >> vector & 1:
                self._end(vector)
        elif requested >= 0 and requested >> 4 <= vector >> 4:
            self._drop_lazy_end()

    def _drop_lazy_end(self) -> None:
        """Make the guest write EOI for the interrupt in service."""
        if self._lazy_vector >= 0:
            self._lazy_vector = -1
            view = self.owner.assist_page.view
            if view is not None:
                view[0] &= 0xFE
