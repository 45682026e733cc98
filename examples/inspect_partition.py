"""Look at a partition: processors with two names each, privileges, CPUID leaves, MSRs.

Usage: python examples/inspect_partition.py
"""

from hypercall import Machine, MachineConfiguration
from hypercall.tlfs.msrs import SyntheticMsr


def main() -> None:
    """Make a machine that runs nothing, and show its partition."""
    machine = Machine(MachineConfiguration(cpus=4, memory=16 << 20, shuffle_vp_index=1))
    partition = machine.partition

    for vp in partition.virtual_processors:
        role = "boot processor" if vp is partition.bootstrap else "waits for start-up"
        print(f"VP {vp.index}: APIC id {vp.apic_id}, {role}")

    print(f"privileges: {partition.configuration.privileges!r}")
    for leaf, (eax, ebx, ecx, edx) in sorted(partition.hypervisor_leaves.items()):
        print(f"CPUID {leaf:#x}: {eax:#010x} {ebx:#010x} {ecx:#010x} {edx:#010x}")

    vp = partition.bootstrap
    print(f"VP_INDEX reads {partition.msrs.read(vp, SyntheticMsr.VP_INDEX)}")
    partition.msrs.write(vp, SyntheticMsr.GUEST_OS_ID, 0x8100_0000_0000_0001)
    partition.msrs.write(vp, SyntheticMsr.HYPERCALL, 0x200001)
    print(f"the hypercall page begins with {partition.memory.read(0x200000, 4).hex(' ')}")


if __name__ == "__main__":
    main()
