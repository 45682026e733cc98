"""Local APICs that accept interrupts."""

from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.local_apic import LocalApic
from hypercall.partition.standalone import StandalonePartition, standalone_partition

SVR = 0xF0


def enabled_apics(box: StandalonePartition) -> list[LocalApic]:
    """Enable the APIC of each processor, and return them by VP index."""
    apics = [vp.vtls[0].apic for vp in box.partition.virtual_processors]
    for apic in apics:
        apic.write_mmio(SVR, 0x1FF)
    return apics


def one_apic(**changes: object) -> tuple[StandalonePartition, LocalApic]:
    """A partition of one processor with an enabled APIC; changes are of its configuration."""
    box = standalone_partition(
        PartitionConfiguration(processors=processors_in_order(1), memory_size=1 << 20).replace(
            **changes
        )
    )
    return box, enabled_apics(box)[0]
