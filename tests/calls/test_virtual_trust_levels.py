"""The calls of Virtual Secure Mode; the ids are those of the conformance cases."""

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.abi.vtl_switches import VTL_SWITCHES
from tests.calls.trust_levels import (
    CONTEXT_32,
    CONTEXT_64,
    OWN_VP,
    SELF,
    context_words,
    enable,
    enter,
    protect,
)

from hypercall.abi.outcome import UNDEFINED_OPCODE, Outcome
from hypercall.partition.configuration import DEFAULT_PRIVILEGES
from hypercall.partition.memory import Permission
from hypercall.tlfs.privileges import Privilege

MakeGuest = Callable[..., Any]

PROTECT, ENABLE_PARTITION, DISABLE_PARTITION = 0x0C, 0x0D, 0x0E
ENABLE_VP, DISABLE_VP = 0x0F, 0x10
SUCCESS, PARAMETER, DENIED = 0, 5, 6
NO_MEMORY, BAD_PARTITION, BAD_VP, BAD_VP_STATE = 0x0B, 0x0D, 0x0E, 0x15
BAD_VALUE, VTL_STATE, ALREADY = 0x50, 0x51, 0x86
SCRUB = 1
G = 0x60


def enable_vp(guest: Any, vp: int, vtl: int, context: Any = CONTEXT_64, *, caller: int = 0) -> int:
    words = context_words(context)
    result: int = guest.call(ENABLE_VP, SELF, vp | vtl << 32, *words, vp=caller)
    return result


def allowed(guest: Any, page: int, vtl: int = 0) -> int:
    return int(guest.partition.memory.resolve(page, vtl).permissions)


class TestEnablePartitionVtl:
    @pytest.mark.parametrize(
        ("partition", "word", "status"),
        [
            pytest.param(42, 1, BAD_PARTITION, id="A082"),
            pytest.param(SELF, 0, PARAMETER, id="A083"),
            pytest.param(SELF, 3, PARAMETER, id="A084"),
            pytest.param(SELF, 1 | 2 << 8, PARAMETER, id="shadow-stacks"),
            pytest.param(SELF, 1 | 4 << 8, PARAMETER, id="hvpt"),
            pytest.param(SELF, 1 | 8 << 8, PARAMETER, id="reserved-flag"),
            pytest.param(SELF, 1 | 1 << 16, PARAMETER, id="reserved-byte"),
            pytest.param(SELF, 1, SUCCESS, id="A086"),
            pytest.param(1, 1, SUCCESS, id="by-its-own-id"),
            pytest.param(SELF, 2, SUCCESS, id="not-consecutive"),
        ],
    )
    def test_status(self, guest: Any, partition: int, word: int, status: int) -> None:
        assert guest.fast(ENABLE_PARTITION, partition, word) == status
        enabled = {0, word} if status == SUCCESS else {0}
        assert set(guest.partition.vtls) == enabled
        assert guest.vp().vtls.keys() == {0}, "no processor has it"

    def test_a085_mbec(self, make_guest: MakeGuest) -> None:
        without = make_guest(mbec=False)
        assert without.fast(ENABLE_PARTITION, SELF, 1 | 1 << 8) == PARAMETER
        guest = make_guest()
        assert guest.fast(ENABLE_PARTITION, SELF, 1 | 1 << 8) == SUCCESS
        assert guest.partition.vtls[1].mbec

    def test_b078_enabled_already(self, guest: Any) -> None:
        assert guest.fast(ENABLE_PARTITION, SELF, 1) == SUCCESS
        assert guest.fast(ENABLE_PARTITION, SELF, 1) == VTL_STATE

    def test_only_the_highest_below_enables_a_higher_one(self, guest: Any) -> None:
        enable(guest)
        assert guest.fast(ENABLE_PARTITION, SELF, 2) == DENIED
        enter(guest, 1)
        assert guest.fast(ENABLE_PARTITION, SELF, 2) == SUCCESS

    def test_a_higher_one_enables_a_lower_one(self, guest: Any) -> None:
        enable(guest, 2)
        assert guest.fast(ENABLE_PARTITION, SELF, 1) == SUCCESS

    def test_without_room_for_its_pages(self, guest: Any) -> None:
        memory = guest.partition.memory
        while memory.free_overlay_pages > 1:
            memory.new_overlay()
        assert guest.fast(ENABLE_PARTITION, SELF, 1) == NO_MEMORY

    @pytest.mark.parametrize("vtl", [0, 3])
    def test_vtls_out_of_range_by_reading(self, make_guest: MakeGuest, vtl: int) -> None:
        statuses = {
            name: make_guest(reading=name).fast(ENABLE_PARTITION, SELF, vtl)
            for name in ("hyperv", "kvm", "xen", "openvmm")
        }
        assert statuses == {"hyperv": 5, "kvm": 5, "xen": 5, "openvmm": 6}

    def test_missing_privilege_by_reading(self, make_guest: MakeGuest) -> None:
        privileges = Privilege(DEFAULT_PRIVILEGES & ~Privilege.ACCESS_VSM)
        statuses = {
            name: make_guest(reading=name, privileges=privileges).fast(ENABLE_PARTITION, SELF, 1)
            for name in ("hyperv", "kvm", "xen", "openvmm")
        }
        assert statuses == {"hyperv": 6, "kvm": 2, "xen": 2, "openvmm": 6}


class TestDisablePartitionVtl:
    @pytest.mark.parametrize(
        ("active", "partition", "word", "status"),
        [
            pytest.param(2, 42, 1, BAD_PARTITION, id="another-partition"),
            pytest.param(2, SELF, 0, PARAMETER, id="B083"),
            pytest.param(2, SELF, 3, PARAMETER, id="above-the-maximum"),
            pytest.param(2, SELF, 1 | 2 << 8, PARAMETER, id="reserved-flag"),
            pytest.param(2, SELF, 1 | 1 << 16, PARAMETER, id="reserved-byte"),
            pytest.param(0, SELF, 1, DENIED, id="from-below"),
            pytest.param(2, SELF, 2, VTL_STATE, id="B084"),
            pytest.param(2, SELF, 1, SUCCESS, id="done"),
        ],
    )
    def test_status(self, guest: Any, active: int, partition: int, word: int, status: int) -> None:
        enable(guest, 2)
        guest.partition.vsm.enable_partition_vtl(1, mbec=False)
        enter(guest, active)
        assert guest.fast(DISABLE_PARTITION, partition, word) == status
        assert (1 in guest.partition.vtls) == (status != SUCCESS)

    def test_one_that_is_not_enabled(self, guest: Any) -> None:
        enable(guest, 2)
        enter(guest, 2)
        assert guest.fast(DISABLE_PARTITION, SELF, 1) == VTL_STATE

    @pytest.mark.parametrize("flags", [0, SCRUB])
    def test_what_it_set_is_gone(self, guest: Any, flags: int) -> None:
        partition = guest.partition
        enable(guest, 1)
        enable(guest, 2)
        partition.msrs.write_in(guest.vp().vtls[1], 0x40000021, 0x9001)
        protect(guest)
        partition.vsm.protect(1, [G], 0)
        enter(guest, 2)
        partition.vsm.disable_vp_vtl(guest.vp(), 1, scrub_only=False)
        guest.effects.clear()
        assert guest.fast(DISABLE_PARTITION, SELF, 1 | flags << 8) == SUCCESS
        assert (1 in partition.vtls) == bool(flags)
        assert allowed(guest, G) == 0xF
        assert partition.memory.overlay_pages(1) == []
        assert guest.effects.named("protection_changed") == [(0, None)]
        if flags:
            assert not partition.hypercalls_enabled(1)
            assert partition.vtls[1].config & 1 == 0
        else:
            assert guest.fast(ENABLE_PARTITION, SELF, 1) == SUCCESS


class TestEnableVpVtl:
    @pytest.mark.parametrize(
        ("partition", "vp", "vtl", "context", "status"),
        [
            pytest.param(42, 0, 1, CONTEXT_64, BAD_PARTITION, id="A087"),
            pytest.param(SELF, 0xFFFFFFFF, 1, CONTEXT_64, BAD_VP, id="A088"),
            pytest.param(SELF, 77, 1, CONTEXT_64, BAD_VP, id="A088-no-such"),
            pytest.param(SELF, 0, 0, CONTEXT_64, PARAMETER, id="A089"),
            pytest.param(SELF, 0, 3, CONTEXT_64, PARAMETER, id="above-the-maximum"),
            pytest.param(SELF, 0, 0x11, CONTEXT_64, PARAMETER, id="B088"),
            pytest.param(SELF, 0, 0x101, CONTEXT_64, PARAMETER, id="reserved-byte"),
            pytest.param(SELF, 0, 2, CONTEXT_64, VTL_STATE, id="B087"),
            pytest.param(SELF, 0, 1, replace(CONTEXT_64, cr0=0x80000010), BAD_VALUE, id="context"),
            pytest.param(SELF, 0, 1, CONTEXT_64, SUCCESS, id="done"),
            pytest.param(SELF, OWN_VP, 1, CONTEXT_32, SUCCESS, id="itself"),
            pytest.param(SELF, 2, 1, CONTEXT_64, SUCCESS, id="another-first"),
        ],
    )
    def test_status(
        self, guest: Any, partition: int, vp: int, vtl: int, context: Any, status: int
    ) -> None:
        guest.partition.vsm.enable_partition_vtl(1, mbec=False)
        words = context_words(context)
        assert guest.call(ENABLE_VP, partition, vp | vtl << 32, *words) == status
        target = 0 if vp == OWN_VP else vp
        if status == SUCCESS:
            enabled = guest.effects.named("vtl_enabled")
            assert enabled == [(guest.vp(target), 1, context)]
            assert guest.vp(target).vtls.keys() == {0, 1}
        else:
            assert guest.vp().vtls.keys() == {0}
        assert guest.vp().active_vtl == 0, "the active VTL does not change"

    def test_a114_before_the_partition(self, guest: Any) -> None:
        assert enable_vp(guest, 0, 1) == VTL_STATE

    def test_repeated(self, guest: Any) -> None:
        enable(guest)
        assert enable_vp(guest, 0, 1) == DENIED, "only VTL 1 and higher ones may now"
        enter(guest, 1)
        assert enable_vp(guest, 0, 1) == ALREADY

    def test_a091_a092_the_other_processors(self, guest: Any) -> None:
        enable(guest)
        assert enable_vp(guest, 1, 1) == DENIED
        enter(guest, 1)
        assert enable_vp(guest, 1, 1) == SUCCESS

    def test_a_lower_one_between(self, guest: Any) -> None:
        enable(guest)
        guest.partition.vsm.enable_partition_vtl(2, mbec=False)
        assert enable_vp(guest, 0, 2) == DENIED
        enter(guest, 1)
        assert enable_vp(guest, 0, 2) == SUCCESS

    def test_a096_its_apic(self, guest: Any) -> None:
        enable(guest, vps=(0, 1))
        boot, other = guest.vp(0).vtls[1].apic, guest.vp(1).vtls[1].apic
        assert (boot.base, boot.id) == (0xFEE00900, 0)
        assert (other.base, other.id) == (0xFEE00800, 1)

    def test_a097_its_apic_is_its_own(self, guest: Any) -> None:
        enable(guest)
        enter(guest, 1)
        guest.partition.msrs.write(guest.vp(), 0x1B, 0xFEE00000)
        assert not guest.vp().vtls[1].apic.enabled
        assert guest.vp().vtls[0].apic.enabled

    def test_first_on_another_processor_by_reading(self, make_guest: MakeGuest) -> None:
        statuses = {}
        for name in ("hyperv", "kvm", "xen", "openvmm"):
            guest = make_guest(reading=name)
            guest.partition.vsm.enable_partition_vtl(1, mbec=False)
            statuses[name] = enable_vp(guest, 1, 1)
        assert statuses == {"hyperv": 0, "kvm": 0, "xen": 0, "openvmm": 6}

    def test_a_bad_context_by_reading(self, make_guest: MakeGuest) -> None:
        statuses = {}
        for name in ("hyperv", "kvm", "xen", "openvmm"):
            guest = make_guest(reading=name)
            guest.partition.vsm.enable_partition_vtl(1, mbec=False)
            statuses[name] = enable_vp(guest, 0, 1, replace(CONTEXT_64, cr0=0x80000010))
        assert statuses == {"hyperv": 0x50, "kvm": 0, "xen": 0x50, "openvmm": 0}


class TestDisableVpVtl:
    @pytest.mark.parametrize(
        ("active", "partition", "vp", "word", "status"),
        [
            pytest.param(1, 42, 1, 1, BAD_PARTITION, id="another-partition"),
            pytest.param(1, SELF, 77, 1, BAD_VP, id="no-such-processor"),
            pytest.param(1, SELF, 1, 0, PARAMETER, id="B093"),
            pytest.param(1, SELF, 1, 3, PARAMETER, id="above-the-maximum"),
            pytest.param(1, SELF, 1, 1 | 2 << 8, PARAMETER, id="reserved-flag"),
            pytest.param(1, SELF, 1, 1 | 1 << 16, PARAMETER, id="reserved-byte"),
            pytest.param(0, SELF, 1, 1, DENIED, id="from-below"),
            pytest.param(1, SELF, 0, 1, VTL_STATE, id="its-own"),
            pytest.param(1, SELF, OWN_VP, 1, VTL_STATE, id="its-own-as-self"),
            pytest.param(1, SELF, 2, 1, VTL_STATE, id="not-enabled-there"),
            pytest.param(1, SELF, 3, 1, BAD_VP_STATE, id="it-runs-there"),
            pytest.param(1, SELF, 1, 1, SUCCESS, id="done"),
        ],
    )
    def test_status(
        self, guest: Any, active: int, partition: int, vp: int, word: int, status: int
    ) -> None:
        enable(guest, 1, (0, 1, 3))
        enter(guest, 1, vp=3)
        enter(guest, active)
        assert guest.fast(DISABLE_VP, partition, vp | word << 32) == status
        assert (1 in guest.vp(1).vtls) == (status != SUCCESS)

    def test_b095_enabled_again_with_another_word_size(self, guest: Any) -> None:
        enable(guest, 2)
        enable(guest, 1, (0, 1))
        guest.vp(1).vtls[1].apic.spurious = 0x1FF
        enter(guest, 2)
        assert guest.fast(DISABLE_VP, SELF, 1 | 1 << 32) == SUCCESS
        assert guest.effects.named("vtl_disabled") == [(guest.vp(1), 1)]
        assert enable_vp(guest, 1, 1, CONTEXT_32) == SUCCESS
        assert not guest.vp(1).vtls[1].secure.long_mode
        assert guest.vp(1).vtls[1].apic.spurious == 0xFF

    def test_scrubbing(self, guest: Any) -> None:
        enable(guest, 1, (0, 1))
        state = guest.vp(1).vtls[1]
        guest.partition.msrs.write_in(state, 0x40000073, 0x9001)
        enter(guest, 1)
        assert guest.fast(DISABLE_VP, SELF, 1 | (1 | SCRUB << 8) << 32) == SUCCESS
        assert guest.vp(1).vtls[1] is state
        assert not state.assist_page.enabled
        assert guest.effects.named("vtl_enabled") == [(guest.vp(1), 1, CONTEXT_64)]
        assert enable_vp(guest, 1, 1, CONTEXT_32) == SUCCESS, "it may get another context"
        assert enable_vp(guest, 1, 1, CONTEXT_64) == ALREADY


class TestModifyVtlProtectionMask:
    def modify(self, guest: Any, word: int, *pages: int, partition: int = SELF) -> int:
        result: int = guest.call(PROTECT | len(pages) << 32, partition, word, *pages)
        return result

    @pytest.fixture
    def secure(self, guest: Any) -> Any:
        enable(guest)
        protect(guest)
        enter(guest, 1)
        return guest

    @pytest.mark.parametrize(
        ("word", "status"),
        [
            pytest.param(0x1200000001, DENIED, id="B065"),
            pytest.param(0x1000000001, PARAMETER, id="B077"),
            pytest.param(0x2000000001, PARAMETER, id="reserved-vtl-bits"),
            pytest.param(0x1300000001, PARAMETER, id="vtl-above-the-maximum"),
            pytest.param(0x10000000001, PARAMETER, id="reserved-byte"),
            pytest.param(0x00010001, PARAMETER, id="special-page-encoding"),
            pytest.param(0x5, BAD_VALUE, id="B069"),
            pytest.param(0x2, BAD_VALUE, id="write-without-read"),
            pytest.param(0x1F, BAD_VALUE, id="shadow-stack"),
            pytest.param(0x8001, BAD_VALUE, id="adjustable"),
        ],
    )
    def test_refusal(self, secure: Any, word: int, status: int) -> None:
        assert self.modify(secure, word, G) == status
        assert allowed(secure, G) == 0xF
        assert secure.effects.effects == []

    @pytest.mark.parametrize(
        "mask",
        [pytest.param(0, id="B073"), 0x1, 0x3, 0xD, 0xF],
    )
    def test_a_protection(self, secure: Any, mask: int) -> None:
        assert self.modify(secure, mask, G, G + 3) == 2 << 32
        assert (allowed(secure, G), allowed(secure, G + 1)) == (mask, 0xF)
        assert allowed(secure, G, 1) == 0xF, "nobody restricts itself"
        assert secure.effects.named("protection_changed") == [(0, (G, G + 3))]

    def test_a_page_that_is_no_ram(self, secure: Any) -> None:
        assert self.modify(secure, 0x1, G, 0xFEE00, G + 1) == 1 << 32 | PARAMETER
        assert (allowed(secure, G), allowed(secure, G + 1)) == (1, 0xF)

    def test_the_last_of_several(self, secure: Any) -> None:
        assert self.modify(secure, 0x1, G) == 1 << 32
        assert self.modify(secure, 0xF, G, G) == 2 << 32
        assert allowed(secure, G) == 0xF

    def test_a_page_beneath_an_overlay(self, secure: Any) -> None:
        assert self.modify(secure, 0x0, 1) == 1 << 32
        overlay = secure.partition.memory.resolve(1, 0)
        assert overlay.permissions & Permission.READ, "VTL 0's hypercall page stays"
        secure.partition.msrs.write_in(secure.vp().vtls[0], 0x40000001, 0)
        assert allowed(secure, 1) == 0

    def test_b067_protections_not_enabled(self, guest: Any) -> None:
        enable(guest)
        enter(guest, 1)
        assert self.modify(guest, 0x1, G) == DENIED

    def test_b068_for_a_vtl_that_is_not_enabled(self, guest: Any) -> None:
        enable(guest, 2)
        enter(guest, 2)
        assert self.modify(guest, 0x1100000001, G) == VTL_STATE

    def test_a_higher_one_for_a_lower_one(self, guest: Any) -> None:
        enable(guest, 2)
        enable(guest, 1)
        enter(guest, 2)
        assert self.modify(guest, 0x1100000001, G) == 1 << 32
        assert (allowed(guest, G, 0), allowed(guest, G, 1)) == (1, 0xF)

    def test_several_vtls_restrict_a_page(self, guest: Any) -> None:
        enable(guest, 2)
        enable(guest, 1)
        protect(guest, 1)
        protect(guest, 2)
        enter(guest, 2)
        assert self.modify(guest, 0xD, G) == 1 << 32
        assert self.modify(guest, 0x1100000003, G) == 1 << 32
        assert (allowed(guest, G, 0), allowed(guest, G, 1)) == (0x1, 0xD)

    @pytest.mark.parametrize(
        ("mask", "status"),
        [(0x9, 1 << 32), (0xB, 1 << 32), pytest.param(0x5, BAD_VALUE, id="B072")],
    )
    def test_with_mbec(self, guest: Any, mask: int, status: int) -> None:
        enable(guest, mbec=True)
        protect(guest)
        enter(guest, 1)
        assert self.modify(guest, mask, G) == status

    @pytest.mark.parametrize("vtl", [0, 0x10])
    def test_from_vtl_0(self, guest: Any, vtl: int) -> None:
        assert self.modify(guest, 0x1 | vtl << 32, G) == PARAMETER

    def test_b066_another_partition_by_reading(self, make_guest: MakeGuest) -> None:
        statuses = {}
        for name in ("hyperv", "kvm", "xen", "openvmm"):
            guest = make_guest(reading=name)
            enable(guest)
            enter(guest, 1)
            statuses[name] = self.modify(guest, 0x1, G, partition=5)
        assert statuses == {"hyperv": 0x0D, "kvm": 0x0D, "xen": 0x0D, "openvmm": 6}

    def test_a110_which_vtl_is_named_by_reading(self, make_guest: MakeGuest) -> None:
        found = {}
        for name in ("hyperv", "kvm", "xen", "openvmm"):
            guest = make_guest(reading=name)
            enable(guest)
            protect(guest)
            enter(guest, 1)
            found[name] = (self.modify(guest, 0x1000000000, G), allowed(guest, G))
        refused = (PARAMETER, 0xF)
        assert found == {
            "hyperv": refused,
            "kvm": (1 << 32, 0),
            "xen": refused,
            "openvmm": refused,
        }

    @pytest.mark.parametrize("budget", [1, 7, 512])
    def test_any_budget(self, secure: Any, budget: int) -> None:
        secure.dispatcher.rep_budget = budget
        pages = tuple(range(0x20, 0x60))
        control = PROTECT | len(pages) << 32
        secure.partition.memory.write(0x8000, struct.pack("<66Q", SELF, 0x3, *pages))
        while (outcome := secure.attempt(control, 0x8000, 0)).kind.name == "CONTINUE":
            control = outcome.value
        assert outcome.value == len(pages) << 32
        assert {allowed(secure, page) for page in pages} == {0x3}


class TestSwitches:
    @pytest.mark.parametrize(("control", "value", "active", "expected"), VTL_SWITCHES)
    def test_decision(
        self, guest: Any, control: int, value: int, active: int, expected: Outcome
    ) -> None:
        enable(guest)
        enter(guest, active)
        guest.registers.rax = value
        assert guest.attempt(control, 0, 0) == expected

    def test_b098_without_a_higher_vtl(self, guest: Any) -> None:
        guest.partition.vsm.enable_partition_vtl(1, mbec=False)
        assert guest.attempt(0x11, 0, 0) == UNDEFINED_OPCODE
