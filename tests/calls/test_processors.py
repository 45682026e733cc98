import struct
from collections.abc import Callable
from typing import Any

import pytest
from tests.calls.trust_levels import enable, enter

from hypercall.partition.configuration import DEFAULT_PRIVILEGES, processors_in_order
from hypercall.partition.virtual_processor import RunState
from hypercall.tlfs.privileges import Privilege
from hypercall.tlfs.registers import RegisterName as R

MakeGuest = Callable[..., Any]

SPIN, START, INDEXES = 0x08, 0x99, 0x9A
SELF = (1 << 64) - 1
CODE = 0xA09B0010FFFFFFFF
DATA = 0xC0930018FFFFFFFF
CONTEXT = [
    *(0x100000, 0x200000, 2),
    *(0, CODE, 0, DATA, 0, DATA, 0, DATA, 0, DATA, 0, DATA),
    *(0x300000, 0x008B002800000067, 0, 0x0082000000000000),
    *(0x0FFF000000000000, 0x301000, 0x007F000000000000, 0x302000),
    *(0xD00, 0x80050033, 0x1000, 0x20, 0x0007040600070406),
]


def changed(position: int, value: int) -> list[int]:
    return [*CONTEXT[:position], value, *CONTEXT[position + 1 :]]


class TestSpin:
    def test_the_caller_yields(self, guest: Any) -> None:
        assert guest.fast(SPIN, 0xFFFF_FFFF_0000_1000, vp=2) == 0
        assert guest.effects.named("yield_turn") == [(guest.vp(2),)]

    @pytest.mark.parametrize(
        ("reading", "count", "status"),
        [("kvm", 0, 6), ("kvm", 0xFFFFFFFF, 6), ("kvm", 4096, 0), ("hyperv", 0, 0)],
    )
    def test_kvm_gates_it_by_the_retry_count(
        self, make_guest: MakeGuest, reading: str, count: int, status: int
    ) -> None:
        guest = make_guest(reading=reading, spin_retry_count=count)
        assert guest.fast(SPIN, 1) == status
        assert len(guest.effects.named("yield_turn")) == (status == 0)


class TestStart:
    def start(self, guest: Any, *words: int, vp: int = 0) -> int:
        result: int = guest.call(START, *words, vp=vp)
        return result

    def test_the_processor_starts_with_the_context(self, guest: Any) -> None:
        assert self.start(guest, SELF, 2, *CONTEXT) == 0
        ((vp, vtl, context),) = guest.effects.named("start_processor")
        assert (vp, vtl) == (guest.vp(2), 0)
        assert (context.rip, context.rsp, context.cr3) == (0x100000, 0x200000, 0x1000)
        assert (context.cs.selector, context.cs.attributes) == (0x10, 0xA09B)
        assert (context.idtr.base, context.idtr.limit) == (0x301000, 0xFFF)
        assert context.gdtr.base == 0x302000
        assert vp.run_state is RunState.RUNNING

    def test_the_number_is_a_vp_index(self, make_guest: MakeGuest) -> None:
        guest = make_guest(processors=processors_in_order(4, shuffle_vp_index=5))
        caller = guest.partition.bootstrap.index
        target = next(vp for vp in guest.partition.processors if vp.index != vp.apic_id)
        target = target if target.index != caller else guest.partition.processors[1]
        assert self.start(guest, SELF, target.index, *CONTEXT, vp=caller) == 0
        assert guest.effects.named("start_processor")[0][0] is target

    def test_who_cannot_be_started(self, guest: Any) -> None:
        assert self.start(guest, 42, 1, *CONTEXT) == 0x0D
        assert self.start(guest, SELF, 9, *CONTEXT) == 0x0E
        assert self.start(guest, SELF, 0, *CONTEXT) == 0x0E
        assert self.start(guest, SELF, 0xFFFFFFFE, *CONTEXT) == 0x0E
        assert self.start(guest, SELF, 0xFFFFFFFF, *CONTEXT) == 0x0E
        assert guest.effects.named("start_processor") == []

    def test_in_which_vtl(self, guest: Any) -> None:
        assert self.start(guest, SELF, 1 | 1 << 32, *CONTEXT) == 6
        assert self.start(guest, SELF, 1 | 3 << 32, *CONTEXT) == 5
        assert self.start(guest, SELF, 1 | 0x10 << 32, *CONTEXT) == 5
        assert self.start(guest, SELF, 1 | 1 << 40, *CONTEXT) == 5, "reserved"

    @pytest.mark.parametrize(
        "context",
        [
            changed(24, 0x80000010),
            changed(2, 0),
            changed(0, 1 << 63),
            changed(25, 1 << 52),
            changed(4, 0),
            changed(27, 0x0102030405060708),
        ],
        ids=["CR0", "RFLAGS", "RIP", "CR3", "CS", "PAT"],
    )
    def test_a_context_that_cannot_run(self, make_guest: MakeGuest, context: list[int]) -> None:
        guest = make_guest()
        assert self.start(guest, SELF, 1, *context) == 0x50
        assert guest.vp(1).run_state is RunState.WAITING_FOR_START_UP
        assert self.start(make_guest(reading="openvmm"), SELF, 1, *context) == 0

    def test_a_running_processor(self, make_guest: MakeGuest) -> None:
        for reading, status in (("hyperv", 0), ("openvmm", 0x15)):
            guest = make_guest(reading=reading)
            assert self.start(guest, SELF, 1, *CONTEXT) == 0
            assert self.start(guest, SELF, 1, *CONTEXT) == status

    def test_the_register_form_has_no_room(self, guest: Any) -> None:
        assert guest.fast(START, SELF, 1) == 3

    def test_without_the_privilege(self, make_guest: MakeGuest) -> None:
        guest = make_guest(
            privileges=Privilege(DEFAULT_PRIVILEGES & ~Privilege.START_VIRTUAL_PROCESSOR)
        )
        assert self.start(guest, SELF, 1, *CONTEXT) == 6
        assert guest.call(INDEXES | 1 << 32, SELF, 0, 0) == 6


class TestIndexes:
    def test_ids_are_packed_in_and_out(self, make_guest: MakeGuest) -> None:
        guest = make_guest(processors=processors_in_order(4, shuffle_vp_index=5))
        by_apic_id = guest.partition.by_apic_id
        result = guest.call(
            INDEXES | 3 << 32, SELF, 0, 2 | 1 << 32, 2, vp=guest.partition.bootstrap.index
        )
        assert result == 3 << 32
        expected = [by_apic_id[number].index for number in (2, 1, 2)]
        assert list(struct.unpack("<3I", guest.output(12))) == expected

    def test_an_unknown_id_ends_the_list(self, guest: Any) -> None:
        assert guest.call(INDEXES | 2 << 32, SELF, 0, 1 | 0xDEAD << 32) == 1 << 32 | 5
        assert struct.unpack("<2I", guest.output(8)) == (1, 0)

    def test_in_registers(self, guest: Any) -> None:
        assert guest.fast(INDEXES | 1 << 32, SELF, 0, 3) == 1 << 32
        assert guest.registers.written == {2: struct.pack("<4I", 3, 0, 0, 0)}

    def test_what_is_refused(self, guest: Any) -> None:
        assert guest.call(INDEXES, SELF, 0, 0) == 3
        assert guest.call(INDEXES | 1 << 32, 42, 0, 0) == 0x0D
        assert guest.call(INDEXES | 1 << 32, SELF, 1, 0) == 6
        assert guest.call(INDEXES | 1 << 32, SELF, 7, 0) == 5

    def test_a_budget_of_one_changes_nothing(self, guest: Any) -> None:
        guest.dispatcher.rep_budget = 1
        control = INDEXES | 3 << 32
        guest.partition.memory.write(0x8000, struct.pack("<2Q3I", SELF, 0, 3, 2, 1))
        attempts = 0
        while True:
            outcome = guest.attempt(control, 0x8000, 0x9000)
            attempts += 1
            if outcome.kind.name == "COMPLETE":
                break
            control = outcome.value
        assert (attempts, outcome.value) == (3, 3 << 32)
        assert struct.unpack("<3I", guest.output(12)) == (3, 2, 1)


class TestStartInVtls:
    def start(self, guest: Any, vp: int, vtl: int, *, caller: int = 0) -> int:
        result: int = guest.call(START, SELF, vp | vtl << 32, *CONTEXT, vp=caller)
        return result

    def test_the_vtl_has_to_be_enabled_on_the_processor(self, guest: Any) -> None:
        enable(guest)
        enter(guest, 1)
        assert self.start(guest, 1, 1) == 0x15

    def test_the_vtl_has_to_be_enabled_at_all(self, guest: Any) -> None:
        enable(guest, 2)
        enter(guest, 2)
        assert self.start(guest, 1, 1) == 0x51

    def test_start_in_a_vtl_above_0(self, guest: Any) -> None:
        enable(guest, 1, (0, 1))
        enter(guest, 1)
        assert self.start(guest, 1, 1) == 0
        vp = guest.vp(1)
        assert (vp.active_vtl, vp.run_state) == (1, RunState.RUNNING)
        assert guest.effects.named("start_processor")[0][:2] == (vp, 1)
        guest.partition.vsm.vtl_return(vp, True)
        assert vp.run_state is RunState.WAITING_FOR_START_UP, "VTL 0 was not started"

    def test_the_highest_prepared_vtl_runs_first(self, guest: Any) -> None:
        enable(guest, 1, (0, 1))
        enter(guest, 1)
        assert self.start(guest, 1, 0) == 0
        vp = guest.vp(1)
        assert vp.active_vtl == 1
        assert guest.effects.named("start_processor")[0][:2] == (vp, 0)
        guest.partition.vsm.vtl_return(vp, True)
        assert (vp.active_vtl, vp.run_state) == (0, RunState.RUNNING)
        assert self.start(guest, 1, 0) == 0
        assert vp.active_vtl == 0, "VTL 1 has had its first entry"

    def test_b144_denied_to_lower_vtls(self, guest: Any) -> None:
        enable(guest)
        guest.partition.registers.write(
            guest.vp().vtls[1], R.VSM_PARTITION_CONFIG, 0xF << 1 | 1 << 6
        )
        assert self.start(guest, 1, 0) == 6
        enter(guest, 1)
        assert self.start(guest, 1, 0) == 0

    def test_a_higher_vtl_by_reading(self, make_guest: MakeGuest) -> None:
        statuses = {}
        for name in ("hyperv", "kvm", "xen", "openvmm"):
            guest = make_guest(reading=name)
            enable(guest, 1, (0, 1))
            statuses[name] = self.start(guest, 1, 1)
        assert statuses == {"hyperv": 6, "kvm": 5, "xen": 6, "openvmm": 6}


class TestIndexesInVtls:
    def test_processors_that_have_the_vtl(self, guest: Any) -> None:
        enable(guest, 1, (0, 2))
        assert guest.call(INDEXES | 1 << 32, SELF, 1, 2) == 6, "B153"
        enter(guest, 1)
        assert guest.call(INDEXES | 2 << 32, SELF, 1, 2 | 1 << 32) == 1 << 32 | 5
        assert guest.output(4) == b"\x02\0\0\0"
        assert guest.call(INDEXES | 1 << 32, SELF, 2, 2) == 6

    def test_a_vtl_that_is_not_enabled(self, guest: Any) -> None:
        enable(guest, 2)
        enter(guest, 2)
        assert guest.call(INDEXES | 1 << 32, SELF, 1, 2) == 0x51
