from struct import pack

from hypercall.tlfs.cpuid import hypervisor_leaves
from hypercall.tlfs.privileges import Feature, NestedFeature, Privilege, Recommendation


def test_vendor_and_interface() -> None:
    leaves = hypervisor_leaves(Privilege(0), Feature(0), Recommendation(0))
    highest, *vendor = leaves[0x40000000]
    assert highest == 0x40000006
    assert pack("<3I", *vendor) == b"Microsoft Hv"
    assert pack("<I", leaves[0x40000001][0]) == b"Hv#1"


def test_words_lie_where_guests_look_for_them() -> None:
    leaves = hypervisor_leaves(
        Privilege.ACCESS_VP_INDEX | Privilege.POST_MESSAGES,
        Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT,
        Recommendation.EX_PROCESSOR_MASKS,
        spin_retry_count=0xFFF,
        max_virtual_processors=64,
        physical_address_bits=39,
        version=(10, 1, 17763, 2, 3, 4),
    )
    assert leaves[0x40000003] == (1 << 6, 1 << 4, 0, 1 << 4)
    assert leaves[0x40000004][:3] == (1 << 11, 0xFFF, 39)
    assert leaves[0x40000005][0] == 64
    assert leaves[0x40000002] == (17763, 10 << 16 | 1, 2, 3 << 24 | 4)


def test_nested_leaves_without_gaps() -> None:
    leaves = hypervisor_leaves(
        Privilege(0),
        Feature(0),
        Recommendation(0),
        nested_features=NestedFeature.FLUSH_GUEST_PHYSICAL_ADDRESS,
    )
    assert sorted(leaves) == list(range(0x40000000, 0x4000000B))
    assert leaves[0x4000000A][0] == 1 << 18
    assert leaves[0x40000000][0] == 0x4000000A
