"""What partitions of real hosts may do: ready sets of privileges, features and recommendations.

The values of real hosts come from what Linux prints when it boots there, which is the contents of
CPUID leaves 0x40000003, 4 and 0xA; ``docs/privileges.md`` says the same for people.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from hypercall.errors import InputError
from hypercall.partition.configuration import (
    DEFAULT_EXTENDED_CAPABILITIES,
    DEFAULT_FEATURES,
    DEFAULT_PRIVILEGES,
    DEFAULT_RECOMMENDATIONS,
    NEVER_NOTIFY,
    PartitionConfiguration,
)
from hypercall.tlfs.flags import FlagWord
from hypercall.tlfs.privileges import (
    ExtendedCapability,
    Feature,
    NestedFeature,
    Privilege,
    Recommendation,
)

DEFAULT_PROFILE = "default"
_LARGEST_MASK = (1 << 64) - 1
_HIGH = 32
_SPINS_OF_QEMU = 0x1FFF


@dataclass(frozen=True, slots=True)
class Profile:
    """What a partition may do, has, and is advised to use.

    Attributes:
        name: how users name it.
        source: where the values come from.
        privileges: CPUID 0x40000003.EBX:EAX.
        features: CPUID 0x40000003.EDX.
        recommendations: CPUID 0x40000004.EAX.
        spin_retry_count: CPUID 0x40000004.EBX.
        nested_features: CPUID 0x4000000A.EAX, or None for a partition without that leaf.
        extended_capabilities: what HvExtCallQueryCapabilities reports.
    """

    name: str
    source: str
    privileges: Privilege = DEFAULT_PRIVILEGES
    features: Feature = DEFAULT_FEATURES
    recommendations: Recommendation = DEFAULT_RECOMMENDATIONS
    spin_retry_count: int = NEVER_NOTIFY
    nested_features: NestedFeature | None = None
    extended_capabilities: ExtendedCapability = DEFAULT_EXTENDED_CAPABILITIES

    def apply(self, configuration: PartitionConfiguration) -> PartitionConfiguration:
        """Return a configuration with these privileges, features and recommendations."""
        words = {item.name: getattr(self, item.name) for item in fields(self)}
        del words["name"], words["source"]
        return configuration.replace(**words)


def _seen(
    name: str,
    source: str,
    *,
    low: int,
    high: int,
    hints: int,
    misc: int,
    nested: int | None = None,
) -> Profile:
    """Return the profile of a host, in the words in which Linux prints it."""
    return Profile(
        name,
        source,
        privileges=Privilege(high << _HIGH | low),
        features=Feature(misc),
        recommendations=Recommendation(hints),
        nested_features=None if nested is None else NestedFeature(nested),
    )


PROFILES = (
    Profile(DEFAULT_PROFILE, "what this machine implements and a guest has a use for"),
    Profile(
        "all",
        "everything that this machine implements: every gate of every call is open",
        privileges=DEFAULT_PRIVILEGES | Privilege.ACCESS_VSM,
        features=DEFAULT_FEATURES | Feature.CROSS_VTL_FLUSH,
        recommendations=DEFAULT_RECOMMENDATIONS
        | Recommendation.HYPERCALL_FOR_ADDRESS_SPACE_SWITCH
        | Recommendation.HYPERCALL_FOR_LOCAL_TLB_FLUSH,
        spin_retry_count=_SPINS_OF_QEMU,
        nested_features=NestedFeature.FLUSH_GUEST_PHYSICAL_ADDRESS
        | NestedFeature.ENLIGHTENED_NPT_TLB,
    ),
    Profile(
        "minimal",
        "what the interface Hv#1 promises, and nothing else: guest OS id, hypercall page and VP"
        " index (TLFS feature-discovery, leaf 0x40000001)",
        privileges=Privilege.ACCESS_HYPERCALL_MSRS | Privilege.ACCESS_VP_INDEX,
        features=Feature(0),
        recommendations=Recommendation(0),
        extended_capabilities=ExtendedCapability(0),
    ),
    _seen(
        "windows-server-2022",
        "boot log of Linux 5.15 in a generation 1 virtual machine of Azure on a host of build"
        " 20348, AMD: 'privilege flags low 0xae7f, high 0x388030, hints 0x140c2c, misc"
        " 0xc0bed7b2', 'Nested features: 0x4a0000'",
        low=0xAE7F,
        high=0x388030,
        hints=0x140C2C,
        misc=0xC0BED7B2,
        nested=0x4A0000,
    ),
    _seen(
        "generation-2",
        "boot log of Linux in a generation 2 virtual machine (Hyper-V UEFI 4.0) on a host of build"
        " 19041: 'privilege flags low 0x2e7f, high 0x3b8030, hints 0xc2c, misc 0xbed7b2'",
        low=0x2E7F,
        high=0x3B8030,
        hints=0xC2C,
        misc=0xBED7B2,
    ),
    _seen(
        "windows-11",
        "boot log of Linux in the utility virtual machine of WSL 2 on a host of build 22621, Intel:"
        " 'privilege flags low 0xae7f, high 0x3b8030, hints 0xa4e24, misc 0xe4bed7b6', 'Nested"
        " features: 0x3e0101'; github.com/microsoft/wslg issue 716 has it of build 22610",
        low=0xAE7F,
        high=0x3B8030,
        hints=0xA4E24,
        misc=0xE4BED7B6,
        nested=0x3E0101,
    ),
    Profile(
        "kvm",
        "what KVM can offer with its own APIC: kvm_get_hv_cpuid in Linux arch/x86/kvm/hyperv.c;"
        " the spin count is the one that QEMU's manual uses for hv-spinlocks",
        privileges=Privilege.ACCESS_VP_RUN_TIME_REG
        | Privilege.ACCESS_PARTITION_REFERENCE_COUNTER
        | Privilege.ACCESS_SYNIC_REGS
        | Privilege.ACCESS_SYNTHETIC_TIMER_REGS
        | Privilege.ACCESS_INTR_CTRL_REGS
        | Privilege.ACCESS_HYPERCALL_MSRS
        | Privilege.ACCESS_VP_INDEX
        | Privilege.ACCESS_RESET_REG
        | Privilege.ACCESS_PARTITION_REFERENCE_TSC
        | Privilege.ACCESS_FREQUENCY_REGS
        | Privilege.ACCESS_REENLIGHTENMENT_CONTROLS
        | Privilege.ACCESS_TSC_INVARIANT_CONTROLS
        | Privilege.POST_MESSAGES
        | Privilege.SIGNAL_EVENTS
        | Privilege.DEBUGGING
        | Privilege.ENABLE_EXTENDED_HYPERCALLS,
        features=Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT
        | Feature.TIMER_FREQUENCIES
        | Feature.GUEST_CRASH_MSRS
        | Feature.GUEST_DEBUGGING
        | Feature.DEBUG_MSRS
        | Feature.EXTENDED_GVA_RANGES_FOR_FLUSH_VIRTUAL_ADDRESS_LIST
        | Feature.DIRECT_SYNTHETIC_TIMERS,
        recommendations=Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH
        | Recommendation.MSRS_FOR_APIC_ACCESS
        | Recommendation.RELAXED_TIMING
        | Recommendation.SYNTHETIC_CLUSTER_IPI
        | Recommendation.EX_PROCESSOR_MASKS
        | Recommendation.DEPRECATE_AUTO_EOI,
        spin_retry_count=_SPINS_OF_QEMU,
        # 0x8001 to 0x8041 go to user space there, and QEMU answers none of them.
        extended_capabilities=ExtendedCapability(0),
    ),
)
"""Every ready profile."""

_BY_NAME: Mapping[str, Profile] = MappingProxyType({each.name: each for each in PROFILES})
_WORDS: tuple[tuple[str, type[FlagWord]], ...] = (
    ("privileges", Privilege),
    ("features", Feature),
    ("recommendations", Recommendation),
    ("nested_features", NestedFeature),
    ("extended_capabilities", ExtendedCapability),
)
_MASK = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)


def parse_privileges(text: str) -> Profile:
    """Turn what users write into a profile.

    The text is a list with commas: first, if wanted, the name of a profile or a privilege mask
    (0x40000003.EBX:EAX), then changes: ``+NAME`` grants and ``-NAME`` takes away a privilege,
    feature, recommendation, nested feature or extended capability. Names are as the TLFS writes
    them or as Python does: ``-PostMessages`` is ``-POST_MESSAGES``.

    Raises:
        InputError: there is no such profile or name, or the mask is too large.
    """
    first, *changes = (part.strip() for part in text.split(","))
    if first[:1] in ("+", "-"):
        changes.insert(0, first)
        first = DEFAULT_PROFILE
    profile = _start(first)
    for change in changes:
        profile = _changed(profile, change)
    return profile if not changes else replace(profile, name=text)


def _start(text: str) -> Profile:
    if _MASK.fullmatch(text):
        mask = int(text, 0) if text[:2].lower() == "0x" else int(text)
        if mask > _LARGEST_MASK:
            raise InputError(f"the privilege mask {text} has more than 64 bits")
        return Profile(text, "given as a mask", privileges=Privilege(mask))
    found = _BY_NAME.get(text.lower())
    if found is None:
        raise InputError(
            f"{text!r} is no profile of privileges: give {', '.join(_BY_NAME)}, a mask such as"
            " 0x3b803000002e7f, or changes such as +AccessVsm,-PostMessages"
        )
    return found


def _changed(profile: Profile, change: str) -> Profile:
    name = _plain(change[1:])
    if change[:1] not in ("+", "-") or not name:
        raise InputError(f"{change!r} is no change of privileges: write +NAME or -NAME")
    for word, kind in _WORDS:
        for member_name, member in kind.__members__.items():
            if _plain(member_name) != name:
                continue
            old = int(getattr(profile, word) or 0)
            new = old | member if change[0] == "+" else old & ~member
            make: Callable[[int], FlagWord] = kind
            return replace(profile, **{word: make(int(new))})  # type: ignore[arg-type]
    raise InputError(
        f"{change[1:]!r} is no privilege, feature or recommendation: `hypercall calls NAME` shows"
        " what a call needs, docs/privileges.md lists all"
    )


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
