import pytest

from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.partition.configuration import DEFAULT_PRIVILEGES, PartitionConfiguration
from hypercall.partition.profiles import PROFILES, Profile, parse_privileges
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.privileges import (
    ExtendedCapability,
    Feature,
    NestedFeature,
    Privilege,
    Recommendation,
)


def test_the_default_profile_is_the_default_configuration() -> None:
    plain = PartitionConfiguration()
    assert parse_privileges("default").apply(plain) == plain


def test_all_opens_every_gate() -> None:
    profile = parse_privileges("all")
    for declaration in DECLARATIONS:
        assert profile.privileges & declaration.privilege == declaration.privilege
        assert profile.extended_capabilities & declaration.capability == declaration.capability
        assert profile.recommendations & declaration.recommendation == declaration.recommendation
        if declaration.nested_feature:
            assert profile.nested_features is not None
            assert profile.nested_features & declaration.nested_feature


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_profile_is_found_and_says_where_it_is_from(profile: Profile) -> None:
    assert parse_privileges(profile.name) is profile
    assert parse_privileges(profile.name.upper()) is profile
    assert profile.source


@pytest.mark.parametrize(
    ("name", "low", "high", "hints", "misc"),
    [
        ("windows-server-2022", 0xAE7F, 0x388030, 0x140C2C, 0xC0BED7B2),
        ("generation-2", 0x2E7F, 0x3B8030, 0xC2C, 0xBED7B2),
        ("windows-11", 0xAE7F, 0x3B8030, 0xA4E24, 0xE4BED7B6),
        ("kvm", 0xAAFF, 0x100830, 0xE2C, 0x84D12),
        ("minimal", 0x60, 0, 0, 0),
    ],
)
def test_the_words_of_real_hosts(name: str, low: int, high: int, hints: int, misc: int) -> None:
    profile = parse_privileges(name)
    assert profile.privileges == high << 32 | low
    assert profile.recommendations == hints
    assert profile.features == misc


def test_a_mask_is_the_privileges() -> None:
    profile = parse_privileges("0x3b803000002e7f")
    assert profile.privileges == 0x3B8030_00002E7F
    assert profile.features == PartitionConfiguration().features
    assert parse_privileges("96").privileges == 0x60


def test_changes_to_every_word() -> None:
    profile = parse_privileges(
        "minimal,+AccessVsm,+POST_MESSAGES,-AccessVpIndex,+XmmRegistersForFastHypercallInput,"
        "+relaxed_timing, +FlushGuestPhysicalAddress,+GET_BOOT_ZEROED_MEMORY"
    )
    assert profile.privileges == (
        Privilege.ACCESS_HYPERCALL_MSRS | Privilege.ACCESS_VSM | Privilege.POST_MESSAGES
    )
    assert profile.features == Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT
    assert profile.recommendations == Recommendation.RELAXED_TIMING
    assert profile.nested_features == NestedFeature.FLUSH_GUEST_PHYSICAL_ADDRESS
    assert profile.extended_capabilities == ExtendedCapability.GET_BOOT_ZEROED_MEMORY
    assert isinstance(profile.privileges, Privilege)
    assert isinstance(profile.nested_features, NestedFeature)


def test_changes_alone_are_changes_of_the_default() -> None:
    profile = parse_privileges("-PostMessages")
    assert profile.privileges == DEFAULT_PRIVILEGES & ~Privilege.POST_MESSAGES


def test_no_name_is_in_two_words() -> None:
    names = [
        name.replace("_", "")
        for kind in (Privilege, Feature, Recommendation, NestedFeature, ExtendedCapability)
        for name in kind.__members__
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no profile"),
        ("azure", "windows-server-2022"),
        ("0x10000000000000000", "64 bits"),
        ("all,PostMessages", r"\+NAME or -NAME"),
        ("all,+", r"\+NAME or -NAME"),
        ("all,", r"\+NAME or -NAME"),
        ("+PostMessage", "no privilege"),
    ],
)
def test_what_makes_no_sense(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_privileges(text)
    with pytest.raises(InputError, match=message):
        MachineConfiguration(privileges=text)


def test_the_machine_has_what_its_configuration_says() -> None:
    configuration = MachineConfiguration(privileges="windows-11").partition_configuration()
    assert configuration.privileges == 0x3B8030_0000AE7F
    assert configuration.nested_features == 0x3E0101
