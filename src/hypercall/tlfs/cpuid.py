"""The hypervisor's CPUID leaves, 0x40000000 to 0x4000000A.

Source: TLFS ``feature-discovery``; the order of the registers in a leaf is EAX, EBX, ECX, EDX.
"""

from hypercall.tlfs.privileges import Feature, NestedFeature, Privilege, Recommendation

Leaf = tuple[int, int, int, int]

VENDOR_LEAF = 0x4000_0000
INTERFACE_LEAF = 0x4000_0001
VERSION_LEAF = 0x4000_0002
FEATURES_LEAF = 0x4000_0003
RECOMMENDATIONS_LEAF = 0x4000_0004
LIMITS_LEAF = 0x4000_0005
HARDWARE_FEATURES_LEAF = 0x4000_0006
NESTED_PRIVILEGES_LEAF = 0x4000_0009
NESTED_FEATURES_LEAF = 0x4000_000A

VENDOR = (0x7263_694D, 0x666F_736F, 0x7648_2074)
"""EBX, ECX and EDX of the first leaf: "Microsoft Hv"."""
INTERFACE = 0x3123_7648
"""EAX of the second leaf: "Hv#1"."""

HARDWARE_APIC_OVERLAY_ASSIST = 1 << 0
HARDWARE_MSR_BITMAPS = 1 << 1
HARDWARE_SECOND_LEVEL_TRANSLATION = 1 << 3

NEVER_NOTIFY_LONG_SPIN = 0xFFFF_FFFF
"""Retry count that tells a guest never to notify a long spin wait."""


def hypervisor_leaves(
    privileges: Privilege,
    features: Feature,
    recommendations: Recommendation,
    *,
    spin_retry_count: int = NEVER_NOTIFY_LONG_SPIN,
    max_virtual_processors: int = 64,
    max_logical_processors: int = 64,
    physical_address_bits: int = 40,
    hardware_features: int = HARDWARE_SECOND_LEVEL_TRANSLATION | HARDWARE_MSR_BITMAPS,
    nested_features: NestedFeature | None = None,
    version: tuple[int, int, int, int, int, int] = (10, 0, 20348, 0, 0, 0),
) -> dict[int, Leaf]:
    """Build the leaves of a partition.

    Args:
        privileges: the partition privilege mask, EAX and EBX of leaf 3.
        features: EDX of leaf 3.
        recommendations: EAX of leaf 4.
        spin_retry_count: EBX of leaf 4: spins before a guest notifies a long spin wait.
        max_virtual_processors: EAX of leaf 5.
        max_logical_processors: EBX of leaf 5.
        physical_address_bits: ECX bits 6:0 of leaf 4; bounds the GPA space.
        hardware_features: EAX of leaf 6.
        nested_features: EAX of leaf 0xA; None leaves out the leaves above 6, for a partition
            that cannot host a hypervisor.
        version: major, minor, build, service pack, service branch, service number.

    Returns:
        (EAX, EBX, ECX, EDX) by leaf number, from 0x40000000 on without gaps.
    """
    major, minor, build, service_pack, branch, service = version
    mask = int(privileges)
    leaves = {
        INTERFACE_LEAF: (INTERFACE, 0, 0, 0),
        VERSION_LEAF: (build, major << 16 | minor, service_pack, branch << 24 | service),
        FEATURES_LEAF: (mask & 0xFFFF_FFFF, mask >> 32, 0, int(features)),
        RECOMMENDATIONS_LEAF: (
            int(recommendations),
            spin_retry_count,
            physical_address_bits,
            0,
        ),
        LIMITS_LEAF: (max_virtual_processors, max_logical_processors, 0, 0),
        HARDWARE_FEATURES_LEAF: (hardware_features, 0, 0, 0),
    }
    if nested_features is not None:
        for leaf in range(HARDWARE_FEATURES_LEAF + 1, NESTED_FEATURES_LEAF):
            leaves[leaf] = (0, 0, 0, 0)
        leaves[NESTED_FEATURES_LEAF] = (int(nested_features), 0, 0, 0)
    return {VENDOR_LEAF: (max(leaves), *VENDOR), **leaves}
