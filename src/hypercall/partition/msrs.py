"""The model-specific registers that the hypervisor emulates: who may access which, and how."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hypercall.partition.architectural_msrs import (
    ARCHITECTURAL_MSRS,
    IA32_MISC_ENABLE,
    Accessors,
    refuse_write,
)
from hypercall.partition.faults import GeneralProtection, Intercepted
from hypercall.partition.synthetic_msrs import synthetic_accessors
from hypercall.tlfs.msrs import MSR_DECLARATIONS, MsrAccess

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition
    from hypercall.partition.virtual_processor import VirtualProcessor, VirtualProcessorVtl

_X2APIC_FIRST = 0x800
_X2APIC_LAST = 0x8FF
_ALL_BITS = (1 << 64) - 1


class MsrFile:
    """The MSRs of a partition's processors.

    A synthetic MSR needs its privilege and feature (TLFS 6.0b page 74); another index in its
    range, as every index that is not known, raises #GP.

    Args:
        partition: the partition, whose configuration says which MSRs there are.
    """

    def __init__(self, partition: "Partition") -> None:
        configuration = partition.configuration
        self._readers: dict[int, Callable[[VirtualProcessorVtl], int]] = {}
        self._writers: dict[int, Callable[[VirtualProcessorVtl, int], None]] = {}
        synthetic: dict[int, Accessors] = synthetic_accessors()
        for index, declaration in MSR_DECLARATIONS.items():
            accessors = synthetic.get(index)
            allowed = (
                configuration.privileges & declaration.privilege == declaration.privilege
                and configuration.features & declaration.feature == declaration.feature
            )
            if accessors is None or not allowed:
                continue
            if declaration.access is not MsrAccess.WRITE_ONLY:
                self._readers[index] = accessors.read
            if declaration.access is not MsrAccess.READ_ONLY:
                self._writers[index] = accessors.write
        for index, accessors in ARCHITECTURAL_MSRS.items():
            self._readers[index] = accessors.read
            self._writers[index] = accessors.write

    def knows(self, index: int) -> bool:
        """Return whether a processor of the partition may read or write the MSR."""
        return index in self._readers or index in self._writers

    def writable(self, index: int) -> bool:
        """Return whether a processor of the partition may write the MSR."""
        writer = self._writers.get(index)
        return writer is not None and writer is not refuse_write

    def read(self, vp: "VirtualProcessor", index: int) -> int:
        """Read an MSR in the VTL that the VP runs in, as RDMSR does.

        Returns:
            64 bits.

        Raises:
            GeneralProtection: the MSR does not exist, is not readable, or is not allowed.
            Intercepted: a higher VTL is told of it instead.
        """
        state = vp.vtls[vp.active_vtl]
        if state.intercepted and state.partition.vsm.msr_intercept(vp, index):
            raise Intercepted
        return self.read_in(state, index)

    def write(self, vp: "VirtualProcessor", index: int, value: int) -> None:
        """Write an MSR in the VTL that the VP runs in, as WRMSR does.

        Raises:
            GeneralProtection: the MSR does not exist, is not writable, is not allowed, or cannot
                have the value.
            Intercepted: a higher VTL is told of it instead.
        """
        state = vp.vtls[vp.active_vtl]
        if state.intercepted:
            old = self.read_in(state, index) if index == IA32_MISC_ENABLE else None
            if state.partition.vsm.msr_intercept(vp, index, value, old):
                raise Intercepted
        self.write_in(state, index, value)

    def read_in(self, state: "VirtualProcessorVtl", index: int) -> int:
        """Read an MSR in a VTL of a VP; as `read`."""
        reader = self._readers.get(index)
        if reader is not None:
            return reader(state)
        if _X2APIC_FIRST <= index <= _X2APIC_LAST:
            return state.apic.read_x2apic(index - _X2APIC_FIRST)
        raise GeneralProtection

    def write_in(self, state: "VirtualProcessorVtl", index: int, value: int) -> None:
        """Write an MSR in a VTL of a VP; as `write`."""
        writer = self._writers.get(index)
        if writer is not None:
            writer(state, value & _ALL_BITS)
        elif _X2APIC_FIRST <= index <= _X2APIC_LAST:
            state.apic.write_x2apic(index - _X2APIC_FIRST, value & _ALL_BITS)
        else:
            raise GeneralProtection
