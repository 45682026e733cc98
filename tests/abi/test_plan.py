"""Gates and register forms of the real calls, by the conformance cases and the readings."""

from collections.abc import Callable
from typing import Any

import pytest

from hypercall.abi.outcome import UNDEFINED_OPCODE, Outcome, OutcomeKind
from hypercall.abi.plan import Plan, make_plan
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.privileges import (
    ExtendedCapability,
    Feature,
    NestedFeature,
    Privilege,
    Recommendation,
)
from hypercall.tlfs.status import HvStatus

ALL_PRIVILEGES = 2**64 - 1
ALL_RECOMMENDATIONS = Recommendation.all()
NO_XMM = Feature(0)


def plan_for(
    world: Any, control: int, *, long_mode: bool = True, privileges: int = ALL_PRIVILEGES
) -> Plan:
    world.privileges = privileges
    handlers = {each.code: lambda vp, *arguments: HvStatus.SUCCESS for each in DECLARATIONS}
    return make_plan(control, long_mode, world, DECLARATIONS, handlers)


def refusal(status: int) -> Outcome:
    return Outcome(OutcomeKind.COMPLETE, status)


@pytest.mark.parametrize(
    ("control", "missing"),
    [
        pytest.param(0x5C, Privilege.POST_MESSAGES, id="A031"),
        pytest.param(0x5D, Privilege.SIGNAL_EVENTS, id="A033"),
        pytest.param(0x8001, Privilege.ENABLE_EXTENDED_HYPERCALLS, id="A048"),
        pytest.param(0x100000050, Privilege.ACCESS_VP_REGISTERS, id="get-registers"),
        pytest.param(0x99, Privilege.START_VIRTUAL_PROCESSOR, id="start"),
        pytest.param(0x1000D, Privilege.ACCESS_VSM, id="enable-partition-vtl"),
    ],
)
def test_privilege(make_world: Callable[..., Any], control: int, missing: Privilege) -> None:
    world = make_world()
    assert plan_for(world, control).refusal is None
    plan = plan_for(world, control, privileges=ALL_PRIVILEGES & ~int(missing))
    assert plan.refusal == refusal(HvStatus.ACCESS_DENIED)


@pytest.mark.parametrize("name", ["xen", "openvmm"])
def test_missing_extended_privilege_elsewhere(make_world: Callable[..., Any], name: str) -> None:
    plan = plan_for(make_world(name), 0x8001, privileges=0)
    assert plan.refusal == refusal(HvStatus.INVALID_HYPERCALL_CODE)


@pytest.mark.parametrize(
    ("control", "missing"),
    [
        pytest.param(0x02, Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH, id="A037"),
        pytest.param(0x13, Recommendation.EX_PROCESSOR_MASKS, id="A039"),
        pytest.param(0x0B, Recommendation.SYNTHETIC_CLUSTER_IPI, id="A041"),
        pytest.param(0x15, Recommendation.EX_PROCESSOR_MASKS, id="A043-without"),
    ],
)
def test_recommendations_are_gates_like_kvm_only(
    make_world: Callable[..., Any], control: int, missing: Recommendation
) -> None:
    for name, expected in (("hyperv", None), ("kvm", refusal(HvStatus.ACCESS_DENIED))):
        world = make_world(name)
        world.configuration.recommendations = ALL_RECOMMENDATIONS
        assert plan_for(world, control).refusal is None
        world.configuration.recommendations = ALL_RECOMMENDATIONS & ~missing
        assert plan_for(world, control).refusal == expected


@pytest.mark.parametrize("retries", [0, 0xFFFFFFFF])
def test_a044_long_spin_wait_without_a_retry_count(
    make_world: Callable[..., Any], retries: int
) -> None:
    world = make_world("kvm")
    world.configuration.spin_retry_count = retries
    assert plan_for(world, 0x10008).refusal == refusal(HvStatus.ACCESS_DENIED)
    world = make_world()
    world.configuration.spin_retry_count = retries
    assert plan_for(world, 0x10008).refusal is None


def test_a049_fast_extended_call_like_kvm(make_world: Callable[..., Any]) -> None:
    assert plan_for(make_world("kvm"), 0x18001).refusal == refusal(HvStatus.INVALID_PARAMETER)
    plan = plan_for(make_world(), 0x18001)
    assert plan.refusal is None
    assert plan.output_pair == 0


def test_b170_a_capability_that_is_off_is_an_unknown_code(make_world: Callable[..., Any]) -> None:
    world = make_world()
    assert plan_for(world, 0x100008006).refusal == refusal(HvStatus.INVALID_HYPERCALL_CODE)
    world.configuration.extended_capabilities = ExtendedCapability.MEMORY_HEAT_HINT_ASYNC
    assert plan_for(world, 0x100008006).refusal is None


def test_without_debugging_support_kvm_knows_no_such_code_whatever_the_privileges(
    make_world: Callable[..., Any],
) -> None:
    world = make_world("kvm")
    for code in (0x69, 0x6A, 0x6B):
        for privileges in (0, ALL_PRIVILEGES):
            plan = plan_for(world, code, privileges=privileges)
            assert plan.refusal == refusal(HvStatus.INVALID_HYPERCALL_CODE)
    world.configuration.features = Feature.GUEST_DEBUGGING
    assert plan_for(world, 0x69, privileges=0).refusal == refusal(HvStatus.ACCESS_DENIED)
    assert plan_for(world, 0x69).refusal is None
    plan = plan_for(make_world(), 0x69, privileges=0)
    assert plan.refusal == refusal(HvStatus.ACCESS_DENIED)


@pytest.mark.parametrize("name", ["kvm", "xen", "openvmm"])
def test_without_nested_features_public_hypervisors_know_no_such_flush(
    make_world: Callable[..., Any], name: str
) -> None:
    world = make_world(name)
    for code in (0xAF, 0x1_0000_00B0):
        assert plan_for(world, code).refusal == refusal(HvStatus.INVALID_HYPERCALL_CODE)
    world.configuration.nested_features = NestedFeature.FLUSH_GUEST_PHYSICAL_ADDRESS
    assert plan_for(world, 0xAF).refusal is None
    world.configuration.nested_features = NestedFeature.ENLIGHTENED_NPT_TLB
    assert plan_for(world, 0xAF).refusal is None


def test_b140_only_like_qemu_the_reset_of_a_debug_session_has_an_output(
    make_world: Callable[..., Any],
) -> None:
    for name, size in (("kvm", 24), ("hyperv", 0)):
        world = make_world(name)
        world.configuration.features = Feature.GUEST_DEBUGGING
        assert plan_for(world, 0x6B).output_size == size
        assert plan_for(world, 0x1006B).output_size == 0


@pytest.mark.parametrize(
    ("control", "name", "expected"),
    [
        pytest.param(0x10002, "hyperv", UNDEFINED_OPCODE, id="A069-without-feature"),
        pytest.param(0x1000B, "hyperv", None, id="A052-without-feature"),
        pytest.param(0x10015, "kvm", UNDEFINED_OPCODE, id="fits-but-kvm-counts-the-call"),
        pytest.param(0x10009, "hyperv", refusal(2), id="unknown"),
    ],
)
def test_without_xmm_input(
    make_world: Callable[..., Any], control: int, name: str, expected: Outcome | None
) -> None:
    world = make_world(name)
    world.configuration.recommendations = ALL_RECOMMENDATIONS
    world.configuration.features = NO_XMM
    assert plan_for(world, control).refusal == expected


@pytest.mark.parametrize(
    ("control", "name", "status"),
    [
        pytest.param(0x10002, "xen", 5, id="B039"),
        pytest.param(0x30015, "xen", 5, id="B113"),
        pytest.param(0x1005C, "hyperv", 3, id="B123"),
        pytest.param(0x10069, "kvm", 5, id="B130"),
        pytest.param(0x0000000A00030014, "hyperv", 3, id="B112"),
        pytest.param(0x0001000200000003, "kvm", 3, id="B047"),
        pytest.param(0x0000000100000008, "hyperv", 3, id="B052"),
        pytest.param(0x000000000000009A, "hyperv", 3, id="B151"),
        pytest.param(0x0000000100000099, "hyperv", 3, id="B148"),
    ],
)
def test_control_words(
    make_world: Callable[..., Any], control: int, name: str, status: int
) -> None:
    world = make_world(name)
    world.configuration.recommendations = ALL_RECOMMENDATIONS
    world.configuration.features |= Feature.GUEST_DEBUGGING
    assert plan_for(world, control).refusal == refusal(status)


def test_a_list_flush_may_start_anywhere_but_on_kvm(make_world: Callable[..., Any]) -> None:
    plan = plan_for(make_world(), 0x0001000200000003)
    assert plan.refusal is None
    assert (plan.rep_start, plan.rep_count) == (1, 2)


@pytest.mark.parametrize(
    ("name", "control", "mask", "status"),
    [
        pytest.param("hyperv", 0x0B, 0xFFFFFF0000000000, 5, id="B058"),
        pytest.param("hyperv", 0x1000B, 0xFFFFFF0000000000, 5, id="B058-fast"),
        pytest.param("kvm", 0x1000B, 0xFFFFFFFF00000000, 3, id="B063-kvm"),
        pytest.param("kvm", 0x0B, 0, 5, id="memory-form-kvm"),
        pytest.param("kvm", 0x10015, 0, 5, id="set-kvm"),
        pytest.param("xen", 0x1000B, 0xFFFFFFFF00000000, 5, id="B063-xen"),
        pytest.param("kvm", 0x5D, 0, 5, id="reserved-fields-kvm"),
        pytest.param("hyperv", 0x5D, 0xFFFF000000000000, 5, id="reserved-fields"),
    ],
)
def test_what_must_be_zero(
    make_world: Callable[..., Any], name: str, control: int, mask: int, status: int
) -> None:
    world = make_world(name)
    world.configuration.recommendations = ALL_RECOMMENDATIONS
    plan = plan_for(world, control)
    assert plan.refusal is None
    assert plan.reserved_mask == mask
    if mask:
        assert plan.reserved_outcome == refusal(status)
