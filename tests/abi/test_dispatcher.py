"""The calling convention by the synthetic calls of the conformance cases.

The ids of the parameters are those of the cases: A rows are backed by a public implementation's
test, B rows are read from prose or source.
"""

from collections.abc import Callable
from struct import pack, unpack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.abi.vtl_switches import VTL_SWITCHES

from hypercall.abi.dispatcher import Dispatcher
from hypercall.abi.outcome import (
    SUSPEND,
    UNDEFINED_OPCODE,
    Outcome,
    OutcomeKind,
)
from hypercall.abi.plan import Plan
from hypercall.abi.reply import RETRY, Handler, Reply, RepReply
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.control import ControlWord
from hypercall.tlfs.privileges import Feature, Privilege
from hypercall.tlfs.status import HvStatus

P = 0x1000
OUT = 0x2000
READ_ONLY = 0x3000
UNREADABLE = 0x4000
CODE, INPUT, ALIGNMENT, PARAMETER, DENIED = (
    HvStatus.INVALID_HYPERCALL_CODE,
    HvStatus.INVALID_HYPERCALL_INPUT,
    HvStatus.INVALID_ALIGNMENT,
    HvStatus.INVALID_PARAMETER,
    HvStatus.ACCESS_DENIED,
)
XMM_INPUT = Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT
XMM_OUTPUT = Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_OUTPUT

U64 = st.integers(0, 2**64 - 1)


def completed(status: int, reps: int = 0) -> Outcome:
    return Outcome(OutcomeKind.COMPLETE, status | reps << 32)


def words(*values: int) -> bytes:
    return pack(f"<{len(values)}Q", *values)


SIMPLE_CASES = [
    pytest.param(0x0000000000001006, 0, 0, 0, id="A001-memory"),
    pytest.param(0x0000000000011006, 0, 0, 0, id="A001-fast"),
    pytest.param(0x0000000300001002, P, OUT, INPUT, id="A006"),
    pytest.param(0x0001000000001002, P, OUT, INPUT, id="A007"),
    pytest.param(0x0000000000001003, P, 0, INPUT, id="A008"),
    pytest.param(0x0002000200001003, P, 0, INPUT, id="rep-start-at-count"),
    pytest.param(0x000000000000BEEF, 0, 0, CODE, id="A017"),
    pytest.param(0x000000000800BEEF, 0, 0, CODE, id="unknown-code-before-reserved-bits"),
    pytest.param(0x0000000000001011, P, 0, CODE, id="declared-without-handler"),
    pytest.param(0x0000000000001002, P + 4, OUT, ALIGNMENT, id="A018"),
    pytest.param(0x0000000000001002, P, OUT + 4, ALIGNMENT, id="A019"),
    pytest.param(0x0000000000001002, P + 0xFF8, OUT, ALIGNMENT, id="A020"),
    pytest.param(0x0000000000001002, P, OUT + 0xFF8, ALIGNMENT, id="A021"),
    pytest.param(0x0000000700011004, 0, 0, INPUT, id="A022"),
    pytest.param(0x0000000008001006, 0, 0, INPUT, id="B003"),
    pytest.param(0x0000100000001006, 0, 0, INPUT, id="B003-bit-44"),
    pytest.param(0x1000000000001006, 0, 0, INPUT, id="B005"),
    pytest.param(0x0000000080001006, 0, 0, INPUT, id="B006"),
    pytest.param(0x0000000000021001, P, 0, INPUT, id="variable-header-on-a-call-without-one"),
    pytest.param(0x0000000000001001, P, 7, 0, id="B020"),
    pytest.param(0x0000000000001001, 0x9000, 0, INPUT, id="B021"),
    pytest.param(0x0000000000001001, 0x4000, 0, INPUT, id="B021-protected"),
    pytest.param(0x0000000000001002, P, 0x9000, INPUT, id="output-unmapped"),
    pytest.param(0x0000000000001002, P, 0x3000, INPUT, id="output-protected"),
    pytest.param(0x0000000000001001, 1 << 36, 0, ALIGNMENT, id="input-outside-gpa-space"),
    pytest.param(0x0000000000001002, P, 1 << 63, ALIGNMENT, id="output-outside-gpa-space"),
    pytest.param(0x000000000000100B, P + 4, 0, DENIED, id="B022"),
    pytest.param(0x000000000800100B, P, 0, DENIED, id="privilege-before-control-word"),
    pytest.param(0x000000000001100A, P, 0, INPUT, id="fast-on-a-call-without-register-form"),
    pytest.param(0x0000000000001FFF, 0, 0, CODE, id="unknown-code-of-another-family"),
    pytest.param(0x0000025800001003, P, 0, ALIGNMENT, id="list-of-600-elements"),
]


@pytest.mark.parametrize(("control", "input", "output", "status"), SIMPLE_CASES)
@pytest.mark.parametrize("long_mode", [True, False], ids=["64", "32"])
def test_statuses(
    world: Any, control: int, input: int, output: int, status: int, long_mode: bool
) -> None:
    world.registers.long_mode = long_mode
    before = bytes(world.memory.ram)
    assert world.dispatch(control, input, output) == completed(status)
    assert world.registers.pairs_written == []
    if status:
        assert world.seen == []
        assert world.memory.ram == before


def test_a003_fast_input_changes_no_register(world: Any) -> None:
    world.registers.load(words(*range(1, 15)))
    before = world.registers.contents()
    assert world.dispatch(0x0000000000011001) == completed(0)
    assert world.seen == [(0x1001, (1, 2))]
    assert world.registers.contents() == before


@pytest.mark.parametrize("long_mode", [True, False], ids=["64", "32"])
def test_a004_output_is_written_and_nothing_else(world: Any, long_mode: bool) -> None:
    world.registers.long_mode = long_mode
    world.memory.ram[:] = b"\xaa" * len(world.memory.ram)
    world.memory.ram[P + 0xFF0 : P + 0x1000] = words(5, 6)
    expected = bytearray(world.memory.ram)
    expected[OUT + 0xFF0 : OUT + 0x1000] = words(~5 & 2**64 - 1, ~6 & 2**64 - 1)
    assert world.dispatch(0x0000000000001002, P + 0xFF0, OUT + 0xFF0) == completed(0)
    assert world.memory.ram == expected


def test_a023_fast_rep_call_at_the_limit_of_the_registers(world: Any) -> None:
    elements = words(*range(10, 16))
    world.registers.load(words(1, 2) + elements)
    assert world.dispatch(0x0000000600011004) == completed(0, 6)
    contents = world.registers.contents()
    assert contents[:64] == words(1, 2) + elements
    assert contents[64:112] == bytes(byte ^ 0xFF for byte in elements)


def test_a024_half_of_the_last_register_pair_becomes_zero(world: Any) -> None:
    world.registers.load(words(*range(1, 15)))
    world.fail_at = 5
    assert world.dispatch(0x0000000600011004) == completed(DENIED, 5)
    output = unpack("<6Q", world.registers.contents()[64:])
    assert output[:5] == tuple(value ^ (2**64 - 1) for value in range(3, 8))
    assert output[5] == 0


def test_a024_memory_output_ends_at_the_failed_element(world: Any) -> None:
    world.memory.ram[P : P + 64] = words(*range(8))
    world.memory.ram[OUT : OUT + 64] = b"\xaa" * 64
    world.fail_at = 5
    assert world.dispatch(0x0000000600001004, P, OUT) == completed(DENIED, 5)
    assert world.memory.ram[OUT : OUT + 40] == bytes(
        byte ^ 0xFF for byte in world.memory.ram[P + 16 : P + 56]
    )
    assert world.memory.ram[OUT + 40 : OUT + 64] == b"\xaa" * 24


def test_a025_variable_header_lies_between_header_and_elements(world: Any) -> None:
    data = words(1, 2, 7, 8, 9, 20, 21)
    world.memory.ram[P : P + len(data)] = data
    assert world.dispatch(0x1008 | 3 << 17 | 2 << 32, P) == completed(0, 2)
    assert world.seen == [(0x1008, (1, 2, words(7, 8, 9), words(20, 21)))]


def test_variable_header_in_registers(world: Any) -> None:
    world.registers.load(words(1, 2, 7, 8, 9, 20, 21))
    assert world.dispatch(0x1008 | 1 << 16 | 3 << 17 | 2 << 32) == completed(0, 2)
    assert world.seen == [(0x1008, (1, 2, words(7, 8, 9), words(20, 21)))]


@pytest.fixture
def vtl_world(world: Any) -> Any:
    """A world with the real declarations, whose caller has VTL 1 and may use it."""
    world.privileges = int(Privilege.ACCESS_VSM)
    world.vp.vtls = {0: None, 1: None}
    observer = world.dispatcher.observer
    handlers = {0x11: decide_vtl_call, 0x12: decide_vtl_return}
    world.dispatcher = Dispatcher(world, DECLARATIONS, handlers)
    world.dispatcher.observer = observer
    return world


def decide_vtl_call(vp: Any, value: int) -> HvStatus:
    refused = value or max(vp.vtls) <= vp.active_vtl
    return HvStatus.INVALID_PARAMETER if refused else HvStatus.SUCCESS


def decide_vtl_return(vp: Any, value: int) -> HvStatus:
    refused = value > 1 or not vp.active_vtl
    return HvStatus.INVALID_PARAMETER if refused else HvStatus.SUCCESS


@pytest.mark.parametrize(("control", "control_input", "active_vtl", "expected"), VTL_SWITCHES)
def test_vtl_switches(
    vtl_world: Any, control: int, control_input: int, active_vtl: int, expected: Outcome
) -> None:
    vtl_world.registers.rax = control_input
    vtl_world.vp.active_vtl = active_vtl
    assert vtl_world.dispatch(control) == expected


def test_b098_vtl_call_without_a_higher_vtl(vtl_world: Any) -> None:
    vtl_world.vp.vtls = {0: None}
    assert vtl_world.dispatch(0x11) == UNDEFINED_OPCODE


def test_vtl_switch_without_a_handler(vtl_world: Any) -> None:
    vtl_world.dispatcher = Dispatcher(vtl_world, DECLARATIONS, {})
    assert vtl_world.dispatch(0x11) == UNDEFINED_OPCODE


@pytest.mark.parametrize(
    ("input", "output", "seen"),
    [(UNREADABLE, 0x1000, (UNREADABLE, False)), (0x1000, READ_ONLY, (READ_ONLY, True))],
)
def test_parameters_that_somebody_hears_of(
    world: Any, input: int, output: int, seen: tuple[int, bool]
) -> None:
    assert world.dispatch(0x1002, input, output).status == HvStatus.INVALID_HYPERCALL_INPUT
    assert world.protected == [seen]
    world.intercepting = True
    assert world.dispatch(0x1002, input, output) == SUSPEND
    assert world.seen == []


def test_parameters_that_nobody_hears_of(make_world: Any) -> None:
    world = make_world("openvmm")
    world.intercepting = True
    assert world.dispatch(0x1002, UNREADABLE, 0x1000).status == HvStatus.INVALID_HYPERCALL_INPUT
    assert world.protected == []


def test_vtl_switch_without_privilege(vtl_world: Any) -> None:
    vtl_world.privileges = 0
    assert vtl_world.dispatch(0x11) == UNDEFINED_OPCODE


class TestCallerMode:
    def test_b008_cpl_3(self, world: Any) -> None:
        world.registers.cpl = 3
        assert world.dispatch(0x1006) == UNDEFINED_OPCODE

    def test_real_mode(self, world: Any) -> None:
        world.registers.protected_mode = False
        assert world.dispatch(0x1006) == UNDEFINED_OPCODE

    def test_interface_not_established(self, world: Any) -> None:
        world.enabled = False
        assert world.dispatch(0x1006) == UNDEFINED_OPCODE
        world.enabled = True
        assert world.dispatch(0x1006) == completed(0)

    def test_mode_comes_before_everything(self, world: Any) -> None:
        world.registers.cpl = 1
        assert world.dispatch(0xF800_0000_0000_BEEF) == UNDEFINED_OPCODE
        assert world.seen == []


class TestRegisterForm:
    def test_b017_output_starts_at_the_pair_after_the_input(self, world: Any) -> None:
        world.registers.load(words(*range(1, 15)))
        assert world.dispatch(0x11007) == completed(0)
        contents = unpack("<14Q", world.registers.contents())
        ones = 2**64 - 1
        assert contents == (1, 2, 3, 4, ones ^ 1, ones ^ 2, ones ^ 3, 0, *range(9, 15))
        assert world.registers.pairs_written == [2, 3]

    def test_b018_registers_past_the_input_are_ignored(self, world: Any) -> None:
        world.registers.load(words(1, 2, 3 | 0xFFFF << 32) + b"\xff" * 88)
        assert world.dispatch(0x11007) == completed(0)
        assert world.seen == [(0x1007, (1, 2, 3))]

    def test_xmm_input_without_the_feature(self, world: Any) -> None:
        world.configuration.features = XMM_OUTPUT
        assert world.dispatch(0x0000000100011003) == UNDEFINED_OPCODE
        assert world.dispatch(0x11001) == completed(0)

    def test_output_without_the_feature(self, world: Any) -> None:
        world.configuration.features = XMM_INPUT
        assert world.dispatch(0x11002) == UNDEFINED_OPCODE

    def test_32_bit_caller_may_use_xmm_for_input_but_has_no_output(self, world: Any) -> None:
        world.registers.long_mode = False
        world.registers.load(words(1, 2, 3))
        assert world.dispatch(0x0000000100011003) == completed(0, 1)
        assert world.seen == [(0x1003, (1, 2, words(3)))]
        assert world.dispatch(0x11002) == UNDEFINED_OPCODE

    def test_one_word_size_does_not_decide_for_the_other(self, world: Any) -> None:
        assert world.dispatch(0x11002) == completed(0)
        world.registers.long_mode = False
        assert world.dispatch(0x11002) == UNDEFINED_OPCODE
        world.registers.long_mode = True
        assert world.dispatch(0x11002) == completed(0)

    def test_fast_input_fills_all_registers(self, world: Any) -> None:
        world.registers.load(words(*range(14)))
        assert world.dispatch(0x0000000C00011003) == completed(0, 12)
        assert world.seen == [(0x1003, (0, 1, words(*range(2, 14))))]
        assert world.dispatch(0x0000000D00011003) == completed(INPUT)


class TestReservedFields:
    @pytest.mark.parametrize("fast", [0, 0x10000], ids=["memory", "fast"])
    def test_must_be_zero(self, world: Any, fast: int) -> None:
        bad = words(5 | 1 << 40)
        world.memory.ram[P : P + 8] = bad
        word = int.from_bytes(bad, "little") if fast else P
        assert world.dispatch(0x100C | fast, word) == completed(PARAMETER)
        assert world.seen == []

    @pytest.mark.parametrize("fast", [0, 0x10000], ids=["memory", "fast"])
    def test_what_lies_behind_the_structure_is_no_field(self, world: Any, fast: int) -> None:
        world.memory.ram[P : P + 16] = words(5, 2**64 - 1)
        word = 5 if fast else P
        assert world.dispatch(0x100C | fast, word, 2**64 - 1) == completed(0)
        assert world.seen == [(0x100C, (5,))]


class TestCountedData:
    def test_input(self, world: Any) -> None:
        world.memory.ram[P : P + 16] = pack("<II", 5, 9) + b"abcdefgh"
        assert world.dispatch(0x100D, P) == completed(0)
        assert world.seen == [(0x100D, (5, 9, b"abcde"))]

    @pytest.mark.parametrize("count", [4089, 0xFFFF_FFFF, 4081])
    def test_too_much_input_or_across_the_page(self, world: Any, count: int) -> None:
        offset = 8 if count == 4081 else 0
        world.memory.ram[P + offset : P + offset + 8] = pack("<II", count, 0)
        assert world.dispatch(0x100D, P + offset) == completed(PARAMETER)

    def test_output(self, world: Any) -> None:
        world.memory.ram[P : P + 8] = words(16)
        world.memory.ram[OUT : OUT + 32] = b"\xaa" * 32
        world.answers[0x100E] = Reply(HvStatus.SUCCESS, words(3) + b"abc")
        assert world.dispatch(0x100E, P, OUT) == completed(0)
        assert world.memory.ram[OUT : OUT + 12] == words(3) + b"abc\xaa"

    def test_output_across_the_page(self, world: Any) -> None:
        world.memory.ram[P : P + 8] = words(17)
        assert world.dispatch(0x100E, P, OUT + 0xFE8) == completed(PARAMETER)


class TestAnswers:
    def test_status(self, world: Any) -> None:
        world.answers[0x1001] = HvStatus.INVALID_VP_INDEX
        assert world.dispatch(0x1001, P) == completed(HvStatus.INVALID_VP_INDEX)
        assert world.dispatch(0x11001, 1, 2) == completed(HvStatus.INVALID_VP_INDEX)

    def test_a_failing_call_may_write_output(self, world: Any) -> None:
        world.answers[0x1002] = Reply(HvStatus.INSUFFICIENT_BUFFERS, words(7))
        world.memory.ram[OUT : OUT + 24] = b"\xaa" * 24
        assert world.dispatch(0x1002, P, OUT) == completed(HvStatus.INSUFFICIENT_BUFFERS)
        assert world.memory.ram[OUT : OUT + 24] == words(7, 0) + b"\xaa" * 8

    @pytest.mark.parametrize("control", [0x1001, 0x11001, 0x0000000200001003])
    def test_retry(self, world: Any, control: int) -> None:
        world.answers[control & 0xFFFF] = RETRY
        assert world.dispatch(control, P) == SUSPEND

    def test_a_rep_call_without_progress_waits(self, world: Any) -> None:
        world.answers[0x1003] = RepReply(0)
        assert world.dispatch(0x0000000200001003, P) == SUSPEND

    def test_plain_status_of_a_rep_call(self, world: Any) -> None:
        world.answers[0x1003] = HvStatus.SUCCESS
        assert world.dispatch(0x0000000200001003, P) == completed(0, 2)
        world.answers[0x1003] = PARAMETER
        assert world.dispatch(0x0000000200001003, P) == completed(PARAMETER, 0)

    def test_more_output_than_room_is_a_mistake_of_the_handler(self, world: Any) -> None:
        world.answers[0x1002] = Reply(HvStatus.SUCCESS, bytes(17))
        with pytest.raises(ValueError, match="HvCallSyntheticInputOutput"):
            world.dispatch(0x1002, P, OUT)


class TestContinuation:
    def test_start_index_advances_and_the_result_counts_all(self, world: Any) -> None:
        world.dispatcher.rep_budget = 2
        world.memory.ram[P : P + 56] = words(1, 2, 10, 11, 12, 13, 14)
        first = world.dispatch(0x0000000500001003, P)
        assert first == Outcome(OutcomeKind.CONTINUE, 0x0002000500001003)
        second = world.dispatch(first.value, P)
        assert second == Outcome(OutcomeKind.CONTINUE, 0x0004000500001003)
        assert world.dispatch(second.value, P) == completed(0, 5)
        assert [arguments[-1] for _, arguments in world.seen] == [
            words(10, 11),
            words(12, 13),
            words(14),
        ]

    def test_a_handler_may_complete_less_than_the_budget(self, world: Any) -> None:
        world.answers[0x1003] = RepReply(1)
        assert world.dispatch(0x0000000300001003, P).value == 0x0001000300001003

    def test_a_page_that_vanishes_in_between(self, world: Any) -> None:
        assert world.dispatch(0x0002000500001003, 0x9000) == completed(INPUT, 2)

    @pytest.mark.parametrize("code", [0x1003, 0x1004, 0x1009])
    @pytest.mark.parametrize("fast", [0, 0x10000], ids=["memory", "fast"])
    @given(count=st.integers(1, 6), budget=st.integers(1, 7), fail_at=st.integers(0, 8))
    @settings(max_examples=30, deadline=None)
    def test_any_budget_gives_what_one_entry_gives(
        self,
        make_world: Callable[..., Any],
        code: int,
        fast: int,
        count: int,
        budget: int,
        fail_at: int,
    ) -> None:
        results = []
        for size in (512, budget):
            world = make_world()
            world.dispatcher.rep_budget = size
            world.fail_at = fail_at
            data = words(*range(0x0101010101010101, 0x0101010101010101 + 14))
            world.memory.ram[P : P + 112] = data
            world.registers.load(data)
            control = code | fast | count << 32
            outcome = world.complete(control, *(() if fast else (P, OUT)))
            results.append((outcome, world.registers.xmm, bytes(world.memory.ram)))
        assert results[0] == results[1]
        assert results[0][0].reps_completed == min(count, fail_at)


class TestReadings:
    @pytest.mark.parametrize(
        ("name", "control", "input", "output", "expected"),
        [
            pytest.param("openvmm", 0x1002, P + 0xFF8, OUT, INPUT, id="A020-openvmm"),
            pytest.param("openvmm", 0x1002, P, OUT + 0xFF8, INPUT, id="A021-openvmm"),
            pytest.param("openvmm", 0x1002, P + 4, OUT, ALIGNMENT, id="A018-openvmm"),
            pytest.param("openvmm", 0x80001006, 0, 0, 0, id="B006-openvmm"),
            pytest.param("openvmm", 0x8001006, 0, 0, 0, id="B003-openvmm"),
            pytest.param("openvmm", 0x1001, 1 << 36, 0, INPUT, id="outside-gpa-space-openvmm"),
            pytest.param("kvm", 0x800BEEF, 0, 0, INPUT, id="reserved-before-code-kvm"),
            pytest.param("kvm", 0x1002, P + 0xFF8, OUT + 1, 0, id="A020-kvm"),
            pytest.param("xen", 0x1001, 0x9000, 0, PARAMETER, id="B021-xen"),
            pytest.param("xen", 0x300001002, P, OUT, 0, id="A006-xen"),
            pytest.param("xen", 0x1003, P, 0, 0, id="A008-xen"),
            pytest.param("xen", 0x1000000001003, P, 0, 0, id="rep-start-beyond-count-xen"),
            pytest.param("xen", 0x1100A, P, 0, PARAMETER, id="fast-unsupported-xen"),
        ],
    )
    def test_like(
        self,
        make_world: Callable[..., Any],
        name: str,
        control: int,
        input: int,
        output: int,
        expected: int,
    ) -> None:
        assert make_world(name).dispatch(control, input, output).value == expected

    def test_overlap_only_where_it_is_refused(self, make_world: Callable[..., Any]) -> None:
        assert make_world().dispatch(0x1002, P, P + 8) == completed(0)
        strict = make_world(overlap=ALIGNMENT)
        assert strict.dispatch(0x1002, P, P + 8) == completed(ALIGNMENT)
        assert strict.dispatch(0x1002, P + 8, P) == completed(ALIGNMENT)
        assert strict.dispatch(0x1002, P, P + 16) == completed(0)

    def test_register_pairs_of_32_bit_callers_like_openvmm(
        self, make_world: Callable[..., Any]
    ) -> None:
        world = make_world("openvmm")
        world.registers.long_mode = False
        assert world.dispatch(0x0000000100011003, 1, 2) == completed(INPUT)
        assert world.dispatch(0x11002, 1, 2) == completed(INPUT)


class TestRecords:
    def test_of_a_rep_call(self, make_world: Callable[..., Any]) -> None:
        world = make_world()
        world.observe()
        world.dispatcher.rep_budget = 1
        world.memory.ram[P : P + 32] = words(1, 2, 3, 4)
        world.complete(0x0000000200001004, P, OUT)
        first, second = world.records
        assert first.continued
        assert first.result is None
        assert first.declaration.name == "HvCallSyntheticRepOutput"
        assert (first.vp_index, first.vtl, first.fast) == (3, 0, False)
        assert first.input == words(1, 2, 3, 4)
        assert first.output == words(3 ^ 2**64 - 1)
        assert second.output == words(4 ^ 2**64 - 1)
        assert second.result == 2 << 32
        assert not second.continued
        assert second.control == 0x0001000200001004

    def test_of_a_fault_and_a_refusal(self, make_world: Callable[..., Any]) -> None:
        world = make_world()
        world.observe()
        world.dispatch(0xBEEF, 1, 2)
        world.registers.cpl = 3
        world.dispatch(0x11001, 1, 2)
        refused, faulted = world.records
        assert refused.declaration is None
        assert (refused.input_register, refused.output_register) == (1, 2)
        assert refused.result == 2
        assert faulted.fault == "#UD"
        assert faulted.result is None
        assert faulted.input == words(1, 2)

    def test_times(self, make_world: Callable[..., Any]) -> None:
        world = make_world()
        ticks = iter(range(100, 200))
        dispatcher = Dispatcher(
            world, DECLARATIONS, {8: lambda vp, count: HvStatus.SUCCESS}, now=ticks.__next__
        )
        dispatcher.observer = world.records.append
        dispatcher.dispatch(world.vp, 0x10008, 1, 0, world.registers)
        assert (world.records[0].entered_at, world.records[0].left_at) == (100, 101)


def test_plans_do_not_pile_up(make_world: Callable[..., Any]) -> None:
    world = make_world()
    for number in range(10_000):
        world.dispatch(0x1006 | (number & 0xFFF) << 32 | (number >> 12) << 48)
    plans = world.dispatcher._plans_64
    assert 0 < len(plans) <= 4096


def test_forgetting_plans_takes_up_a_new_configuration(make_world: Callable[..., Any]) -> None:
    world = make_world()
    assert world.dispatch(0x100B, P) == completed(DENIED)
    world.privileges = int(Privilege.POST_MESSAGES)
    world.dispatcher.forget_plans()
    assert world.dispatch(0x100B, P) == completed(0)


CODES = st.sampled_from([0x1000 + number for number in range(20)] + [0x11, 0x12]) | st.integers(
    0, 0xFFFF
)
CONTROLS = U64 | st.builds(
    lambda code, fast, variable, count, start: (
        ControlWord(code, fast, variable, rep_count=count, rep_start=start).value
    ),
    CODES,
    st.booleans(),
    st.integers(0, 12),
    st.integers(0, 40),
    st.integers(0, 3),
)
ADDRESSES = U64 | st.integers(0, 0xA000) | st.sampled_from([P, OUT, P + 8, P + 0xFF0])


@pytest.mark.parametrize("name", ["hyperv", "kvm", "xen", "openvmm"])
@given(
    control=CONTROLS,
    input=ADDRESSES,
    output=ADDRESSES,
    xmm=st.binary(min_size=96, max_size=96),
    page=st.binary(max_size=64),
    long_mode=st.booleans(),
    observed=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_nothing_that_a_guest_passes_raises(
    make_world: Callable[..., Any],
    name: str,
    control: int,
    input: int,
    output: int,
    xmm: bytes,
    page: bytes,
    long_mode: bool,
    observed: bool,
) -> None:
    world = make_world(name)
    if observed:
        world.observe()
    world.memory.ram[P : P + len(page)] = page
    world.registers.xmm = xmm
    world.registers.long_mode = long_mode
    outcome = world.dispatcher.dispatch(world.vp, control, input, output, world.registers)
    assert isinstance(outcome, Outcome)
    if outcome.kind is OutcomeKind.COMPLETE:
        assert outcome.reps_completed <= ControlWord.parse(control).rep_count
        assert outcome.value & ~0x00000FFF0000FFFF == 0


@given(
    code=st.sampled_from([declaration.code for declaration in DECLARATIONS]),
    upper=st.integers(0, 2**48 - 1),
    input=ADDRESSES,
    output=ADDRESSES,
)
@settings(max_examples=200, deadline=None)
def test_every_declared_call_can_be_dispatched(
    make_world: Callable[..., Any], code: int, upper: int, input: int, output: int
) -> None:
    world = make_world()
    world.privileges = 2**64 - 1
    world.configuration.extended_capabilities = 2**64 - 1
    handlers = {each.code: lambda vp, *arguments: HvStatus.SUCCESS for each in DECLARATIONS}
    dispatcher = Dispatcher(world, DECLARATIONS, handlers)
    for control in (code | upper << 16, code, code | 1 << 32, code | 1 << 16):
        outcome = dispatcher.dispatch(world.vp, control, input, output, world.registers)
        assert isinstance(outcome, Outcome)


def test_a_rep_call_that_ends_before_its_end(world: Any) -> None:
    world.answers[0x1003] = RepReply(2, ends=True)
    assert world.dispatch(0x0000000500001003, P) == completed(0, 2)
    assert world.dispatch(0x0001000500001003, P) == completed(0, 3)
    world.answers[0x1003] = RepReply(2)
    assert world.dispatch(0x0000000500001003, P).kind is OutcomeKind.CONTINUE


def test_another_handler_stands_before_those_of_the_calls(world: Any) -> None:
    assert world.dispatch(0x0000000000001006) == completed(0)
    asked: list[int] = []

    def choose(plan: Plan) -> Handler:
        asked.append(plan.call.code)
        return plan.handler if plan.call.code == 0x1001 else lambda *_: DENIED

    world.dispatcher.interpose(choose)
    assert world.dispatch(0x0000000000001006) == completed(DENIED)
    assert world.dispatch(0x0000000000001001, P) == completed(0)
    # Refused calls and unknown ones have no handler to replace.
    assert world.dispatch(0x0000000008001006) == completed(INPUT)
    assert world.dispatch(0x000000000000BEEF) == completed(CODE)
    assert asked == [0x1006, 0x1001]
    world.dispatcher.interpose(None)
    assert world.dispatch(0x0000000000001006) == completed(0)
