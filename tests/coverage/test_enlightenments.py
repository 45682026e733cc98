from hypercall.coverage.enlightenments import ENLIGHTENMENTS, Word
from hypercall.coverage.marks import Mark
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.msrs import MSR_DECLARATIONS

BY_NAME = {(each.word, each.name): each for each in ENLIGHTENMENTS}


def test_every_gate_of_every_call_is_there() -> None:
    named = {code for each in ENLIGHTENMENTS for code in each.calls}
    gated = {
        call.code
        for call in DECLARATIONS
        if call.privilege or call.recommendation or call.capability or call.nested_feature
    }
    assert gated <= named


def test_every_need_of_every_msr_is_there() -> None:
    named = {index for each in ENLIGHTENMENTS for index in each.msrs}
    assert {
        index for index, each in MSR_DECLARATIONS.items() if each.privilege or each.feature
    } <= named


def test_equal_bits_of_different_words_are_not_mixed_up() -> None:
    # Bit 5 is GUEST_IDLE_STATE among the features.
    hypercall_msrs = BY_NAME[Word.PRIVILEGES, "ACCESS_HYPERCALL_MSRS"]
    assert hypercall_msrs.msrs == (0x40000000, 0x40000001)
    assert hypercall_msrs.calls == ()
    assert BY_NAME[Word.FEATURES, "GUEST_IDLE_STATE"].msrs == (0x400000F0,)
    # Bit 8 is X2APIC_MSRS among the recommendations.
    assert not BY_NAME[Word.PRIVILEGES, "ACCESS_STATS_REG"].visible
    assert BY_NAME[Word.RECOMMENDATIONS, "X2APIC_MSRS"].marks == (Mark.X2APIC_MSR,)


def test_where_each_is_offered() -> None:
    assert BY_NAME[Word.FEATURES, "GUEST_CRASH_MSRS"].leaf == 0x40000003
    assert BY_NAME[Word.RECOMMENDATIONS, "SYNTHETIC_CLUSTER_IPI"].leaf == 0x40000004
    assert BY_NAME[Word.NESTED_FEATURES, "ENLIGHTENED_NPT_TLB"].leaf == 0x4000000A
    assert BY_NAME[Word.EXTENDED_CAPABILITIES, "EPF_SETUP"].leaf is None
