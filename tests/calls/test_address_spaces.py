import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.calls.trust_levels import enable, enter

from hypercall.abi.outcome import OutcomeKind
from hypercall.calls.address_spaces import flush_virtual_address_space
from hypercall.partition.configuration import (
    DEFAULT_FEATURES,
    PartitionConfiguration,
    ProcessorIdentity,
)
from hypercall.partition.effects import TranslationFlush
from hypercall.partition.standalone import standalone_partition
from hypercall.partition.virtual_processor import VirtualProcessorVtl
from hypercall.tlfs.privileges import Feature
from hypercall.tlfs.registers import RegisterName as R

MakeGuest = Callable[..., Any]

SWITCH, SPACE, LIST, SPACE_EX, LIST_EX = 0x01, 0x02, 0x03, 0x13, 0x14
ALL_PROCESSORS, ALL_SPACES, NON_GLOBAL, EXTENDED = 1, 2, 4, 8
CR3 = 0x12345000
SUCCESS, INPUT, PARAMETER, DENIED = 0, 3, 5, 6


def flushes(guest: Any) -> list[TranslationFlush]:
    found = [arguments[0] for arguments in guest.effects.named("flush_translations")]
    guest.effects.clear()
    return found


def targets(flush: TranslationFlush) -> set[int]:
    return {vp.index for vp in flush.targets}


def test_a_space_flush_names_targets_and_space(guest: Any) -> None:
    assert guest.call(SPACE, CR3, 0, 0b0110) == SUCCESS
    (flush,) = flushes(guest)
    assert targets(flush) == {1, 2}
    assert (flush.vtl, flush.address_space, flush.ranges) == (0, CR3, None)
    assert not flush.keep_globals


def test_the_register_form_means_the_same(guest: Any) -> None:
    assert guest.fast(SPACE, CR3, NON_GLOBAL, 0b1000) == SUCCESS
    (flush,) = flushes(guest)
    assert targets(flush) == {3}
    assert flush.keep_globals


def test_all_processors_and_all_spaces_ignore_mask_and_space(guest: Any) -> None:
    assert guest.call(SPACE, (1 << 64) - 1, ALL_PROCESSORS | ALL_SPACES, 0) == SUCCESS
    (flush,) = flushes(guest)
    assert targets(flush) == {0, 1, 2, 3}
    assert flush.address_space is None


def test_targets_are_vp_indexes_whatever_the_apic_ids_are(make_guest: MakeGuest) -> None:
    processors = (ProcessorIdentity(2, 0), ProcessorIdentity(0, 1), ProcessorIdentity(1, 2))
    guest = make_guest(processors=processors)
    guest.call(SPACE, CR3, 0, 1 << 2, vp=2)
    (flush,) = flushes(guest)
    assert [vp.apic_id for vp in flush.targets] == [0]


def test_processors_that_do_not_exist_are_ignored(guest: Any) -> None:
    assert guest.call(SPACE, CR3, 0, 1 << 63) == SUCCESS
    assert flushes(guest) == []
    assert guest.call(SPACE, CR3, 0, 1 << 63 | 1) == SUCCESS
    assert targets(flushes(guest)[0]) == {0}


@pytest.mark.parametrize(
    ("reading", "status", "expected"),
    [
        ("hyperv", PARAMETER, []),
        ("openvmm", PARAMETER, []),
        ("kvm", SUCCESS, [{0, 1, 2, 3}]),
        ("xen", SUCCESS, []),
    ],
)
def test_mask_zero(
    make_guest: MakeGuest, reading: str, status: int, expected: list[set[int]]
) -> None:
    guest = make_guest(reading=reading)
    assert guest.call(SPACE, CR3, 0, 0) == status
    assert [targets(flush) for flush in flushes(guest)] == expected


@pytest.mark.parametrize(
    ("reading", "status"), [("hyperv", PARAMETER), ("openvmm", PARAMETER), ("kvm", 0), ("xen", 0)]
)
def test_an_empty_sparse_set(make_guest: MakeGuest, reading: str, status: int) -> None:
    guest = make_guest(reading=reading)
    assert guest.call(SPACE_EX, CR3, 0, 0, 0) == status
    assert flushes(guest) == []
    assert guest.call(SPACE_EX, CR3, ALL_PROCESSORS, 0, 0) == SUCCESS
    assert targets(flushes(guest)[0]) == {0, 1, 2, 3}


@pytest.mark.parametrize("flags", [1 << 5, 1 << 10, 1 << 63, EXTENDED, 1 << 4, 1 << 8])
def test_undefined_flags_of_a_space_flush(make_guest: MakeGuest, flags: int) -> None:
    strict, tolerant = make_guest(), make_guest(reading="kvm")
    assert strict.call(SPACE, CR3, flags, 1) == PARAMETER
    assert strict.effects.effects == []
    assert tolerant.call(SPACE, CR3, flags, 1) == SUCCESS
    assert targets(flushes(tolerant)[0]) == {0}


@pytest.mark.parametrize("space", [1 << 52, 1 << 63 | 0x1000, 1 << 40])
def test_an_address_space_with_reserved_bits(make_guest: MakeGuest, space: int) -> None:
    guest = make_guest()
    assert guest.call(SPACE, space, ALL_PROCESSORS, 0) == PARAMETER
    assert guest.call(LIST | 1 << 32, space, ALL_PROCESSORS, 0, 0x1000) == PARAMETER
    assert guest.call(SPACE, space, ALL_PROCESSORS | ALL_SPACES, 0) == SUCCESS
    assert make_guest(reading="kvm").call(SPACE, space, ALL_PROCESSORS, 0) == SUCCESS


def test_a_list_flush_names_its_ranges(guest: Any) -> None:
    result = guest.call(LIST | 3 << 32, CR3, 0, 1, 0x1000, 0x7F0000002003, 0x0000800000000000)
    assert result == 3 << 32
    (flush,) = flushes(guest)
    assert flush.ranges == ((0x1000, 1), (0x7F0000002000, 4), (0x0000800000000000, 1))


def test_a_range_holds_up_to_4096_pages(guest: Any) -> None:
    assert guest.call(LIST | 1 << 32, CR3, 0, 1, 0x1FFF) == 1 << 32
    assert flushes(guest)[0].ranges == ((0x1000, 4096),)


def test_a_page_full_of_ranges(guest: Any) -> None:
    count = 509
    words = [0x1000 * n for n in range(count)]
    assert guest.call(LIST | count << 32, 0, 3, 0, *words) == count << 32
    (flush,) = flushes(guest)
    assert flush.ranges is not None
    assert len(flush.ranges) == count


def test_a_list_in_registers(guest: Any) -> None:
    assert guest.fast(LIST | 1 << 32, 0, ALL_SPACES, 4, 0x5000) == 1 << 32
    (flush,) = flushes(guest)
    assert (targets(flush), flush.ranges) == ({2}, ((0x5000, 1),))


def test_extended_ranges(guest: Any) -> None:
    flags = ALL_PROCESSORS | ALL_SPACES | EXTENDED
    elements = (0x400800, 0x40001801, 0x1002)
    assert guest.call(LIST | 3 << 32, 0, flags, 0, *elements) == 3 << 32
    assert flushes(guest)[0].ranges == (
        (0x400000, 512),
        (0x40000000, 2 * 512 * 512),
        (0x1000, 3),
    )


def test_extended_ranges_are_a_feature(make_guest: MakeGuest) -> None:
    without = Feature(
        DEFAULT_FEATURES & ~Feature.EXTENDED_GVA_RANGES_FOR_FLUSH_VIRTUAL_ADDRESS_LIST
    )
    guest = make_guest(features=without)
    assert guest.call(LIST | 1 << 32, 0, 3 | EXTENDED, 0, 0x400800) == PARAMETER
    guest = make_guest(features=without, reading="kvm")
    assert guest.call(LIST | 1 << 32, 0, 3 | EXTENDED, 0, 0x400800) == 1 << 32
    assert flushes(guest)[0].ranges == ((0x400000, 0x801),), "the flag is ignored"


def test_non_global_is_accepted_on_a_list(guest: Any) -> None:
    assert guest.call(LIST | 1 << 32, CR3, NON_GLOBAL, 1, 0x1000) == 1 << 32
    assert flushes(guest)[0].keep_globals


class TestSets:
    def test_sparse_banks(self, make_guest: MakeGuest) -> None:
        processors = tuple(ProcessorIdentity(index, index) for index in (0, 5, 65, 130))
        guest = make_guest(processors=processors)
        assert guest.call(SPACE_EX | 2 << 17, CR3, 0, 0, 0x5, 0x21, 0x4) == SUCCESS
        assert targets(flushes(guest)[0]) == {0, 5, 130}
        assert guest.fast(SPACE_EX | 1 << 17, 0, ALL_SPACES, 0, 2, 2) == SUCCESS
        assert targets(flushes(guest)[0]) == {65}

    def test_format_all(self, guest: Any) -> None:
        assert guest.call(SPACE_EX, CR3, 0, 1, 0) == SUCCESS
        assert targets(flushes(guest)[0]) == {0, 1, 2, 3}
        assert guest.call(LIST_EX | 1 << 32, 0, ALL_SPACES, 1, 0, 0x9000) == 1 << 32
        (flush,) = flushes(guest)
        assert (targets(flush), flush.ranges) == ({0, 1, 2, 3}, ((0x9000, 1),))

    def test_a_list_follows_the_banks(self, guest: Any) -> None:
        result = guest.call(LIST_EX | 1 << 32 | 1 << 17, 0, ALL_SPACES, 0, 1, 0b10, 0x9001)
        assert result == 1 << 32
        (flush,) = flushes(guest)
        assert (targets(flush), flush.ranges) == ({1}, ((0x9000, 2),))

    @pytest.mark.parametrize(
        ("reading", "status"), [("hyperv", PARAMETER), ("kvm", INPUT), ("openvmm", PARAMETER)]
    )
    def test_banks_that_do_not_match_the_mask(
        self, make_guest: MakeGuest, reading: str, status: int
    ) -> None:
        guest = make_guest(reading=reading)
        assert guest.call(SPACE_EX, 0, ALL_SPACES, 0, 1, 1) == status
        assert guest.call(LIST_EX | 1 << 32, 0, ALL_SPACES, 0, 1, 0x1000) == status
        assert flushes(guest) == []

    def test_an_unknown_format(self, make_guest: MakeGuest) -> None:
        assert make_guest().call(SPACE_EX | 1 << 17, 0, 2, 2, 1, 1) == PARAMETER
        assert make_guest(reading="kvm").call(SPACE_EX | 1 << 17, 0, 2, 2, 1, 1) == SUCCESS


class TestOtherVtls:
    CROSS = Feature(DEFAULT_FEATURES | Feature.CROSS_VTL_FLUSH)
    USE_TARGET, VTL0, VTL1 = 1 << 4, 1 << 8, 1 << 9

    def guest(self, make_guest: MakeGuest) -> Any:
        guest = make_guest(features=self.CROSS)
        vp = guest.vp()
        vp.vtls[1] = VirtualProcessorVtl(vp, 1)
        return guest

    def test_a_flush_is_for_the_callers_vtl(self, make_guest: MakeGuest) -> None:
        guest = self.guest(make_guest)
        guest.vp().active_vtl = 1
        assert flush_virtual_address_space(guest.vp(), CR3, 0, 1) == SUCCESS
        assert flushes(guest)[0].vtl == 1

    def test_target_vtls(self, make_guest: MakeGuest) -> None:
        guest = self.guest(make_guest)
        both = self.USE_TARGET | self.VTL0 | self.VTL1
        assert guest.call(SPACE, CR3, both, 1) == DENIED
        assert guest.call(SPACE, CR3, self.USE_TARGET, 1) == PARAMETER
        assert guest.call(SPACE, CR3, self.VTL0, 1) == PARAMETER
        assert flushes(guest) == []
        guest.vp().active_vtl = 1
        assert flush_virtual_address_space(guest.vp(), CR3, both, 1) == SUCCESS
        assert [flush.vtl for flush in flushes(guest)] == [0, 1]


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_any_parameters_flush_existing_processors_or_are_refused(
    space: int, flags: int, mask: int
) -> None:
    box = standalone_partition(PartitionConfiguration(memory_size=1 << 20))
    status = flush_virtual_address_space(box.partition.bootstrap, space, flags, mask)
    flushed = box.effects.named("flush_translations")
    if status:
        above = flags >> 4 & 1 and flags >> 9 & 1
        assert status in ((PARAMETER, DENIED) if above else (PARAMETER,))
        assert flushed == []
    else:
        assert len(flushed) == int(bool(flags & 1 or mask & 1))


class TestSwitch:
    LONG = (R.EFER, 0x500)

    def guest(self, make_guest: MakeGuest, *registers: tuple[int, int]) -> Any:
        guest = make_guest()
        for name, value in registers:
            guest.effects.registers[0, 0, name] = value
        return guest

    @pytest.mark.parametrize(
        ("space", "status"),
        [
            pytest.param(0x1000, SUCCESS, id="B028"),
            pytest.param(1 << 52, PARAMETER, id="B029"),
            pytest.param(1 << 40, PARAMETER, id="beyond-the-address-width"),
            pytest.param(0x1ABC, SUCCESS, id="process-context-id"),
            pytest.param(0x1018, SUCCESS, id="caching-bits"),
            pytest.param(1 << 63 | 0x1000, PARAMETER, id="B032"),
            pytest.param(0x1_0000_1000, SUCCESS, id="above-4-gib"),
        ],
    )
    def test_in_long_mode(self, make_guest: MakeGuest, space: int, status: int) -> None:
        guest = self.guest(make_guest, self.LONG)
        assert guest.fast(SWITCH, space) == status
        switched = [(guest.vp(), 0, space)] if status == SUCCESS else []
        assert guest.effects.named("set_address_space") == switched
        assert flushes(guest) == []

    def test_without_paging(self, make_guest: MakeGuest) -> None:
        guest = self.guest(make_guest, (R.CR0, 0x11))
        assert guest.fast(SWITCH, 0x1234) == SUCCESS
        assert guest.fast(SWITCH, 1 << 32) == PARAMETER, "CR3 has 32 bits there"

    @pytest.mark.parametrize(
        ("entries", "status"),
        [
            ((0x2001, 0x3001, 0, 0xFFFF_FFFF_FFFF_FFFE), SUCCESS),
            ((0x2001, 0x3003, 0, 0), PARAMETER),
            ((0x2001, 1 << 40 | 1, 0, 0), PARAMETER),
            ((0x2001 | 1 << 63, 0, 0, 0), PARAMETER),
        ],
    )
    def test_with_pae_paging(
        self, make_guest: MakeGuest, entries: tuple[int, ...], status: int
    ) -> None:
        guest = self.guest(make_guest, (R.CR0, 0x8000_0011), (R.CR4, 0x20))
        guest.partition.memory.write(0x5020, struct.pack("<4Q", *entries))
        assert guest.fast(SWITCH, 0x5020) == status

    def test_with_pae_paging_where_there_is_no_memory(self, make_guest: MakeGuest) -> None:
        guest = self.guest(make_guest, (R.CR0, 0x8000_0011), (R.CR4, 0x20))
        assert guest.fast(SWITCH, 0x8000_0000) == PARAMETER

    def test_it_is_the_active_vtls_register(self, guest: Any) -> None:
        enable(guest)
        enter(guest, 1)
        guest.effects.registers[0, 1, R.EFER] = 0x500
        assert guest.fast(SWITCH, 0x7000) == SUCCESS
        assert guest.effects.named("set_address_space") == [(guest.vp(), 1, 0x7000)]


class TestLockedTlb:
    """A098: a flush waits while a higher VTL holds a TLB locked that it has to reach."""

    @pytest.fixture
    def locked(self, guest: Any) -> Any:
        enable(guest, 1, (0, 1))
        enter(guest, 1, vp=1)
        state = guest.vp(1).vtls[1]
        guest.partition.registers.write(state, R.VSM_VP_SECURE_CONFIG_VTL0, 2)
        guest.effects.clear()
        return guest

    def attempt(self, guest: Any, mask: int, flags: int = ALL_SPACES) -> OutcomeKind:
        guest.partition.memory.write(0x8000, struct.pack("<3Q", 0, flags, mask))
        kind: OutcomeKind = guest.attempt(SPACE, 0x8000, 0).kind
        return kind

    def test_until_the_bit_is_cleared(self, locked: Any) -> None:
        assert self.attempt(locked, 0b10) is OutcomeKind.SUSPEND
        assert locked.effects.named("suspend") == [(locked.vp(),)]
        assert self.attempt(locked, 0b11) is OutcomeKind.SUSPEND
        assert flushes(locked) == []
        state = locked.vp(1).vtls[1]
        locked.partition.registers.write(state, R.VSM_VP_SECURE_CONFIG_VTL0, 0)
        assert locked.effects.named("resume") == [(locked.vp(),), (locked.vp(),)]
        assert self.attempt(locked, 0b11) is OutcomeKind.COMPLETE
        assert targets(flushes(locked)[0]) == {0, 1}

    def test_until_the_return(self, locked: Any) -> None:
        assert self.attempt(locked, 0b10) is OutcomeKind.SUSPEND
        locked.partition.vsm.vtl_return(locked.vp(1), True)
        assert locked.effects.named("resume") == [(locked.vp(),)]
        assert self.attempt(locked, 0b10) is OutcomeKind.COMPLETE
        assert not locked.vp(1).vtls[1].secure.locks_translations(0)

    def test_processors_that_are_not_locked_are_reached(self, locked: Any) -> None:
        assert self.attempt(locked, 0b1101) is OutcomeKind.COMPLETE

    def test_it_does_not_bind_who_holds_it(self, locked: Any) -> None:
        enter(locked, 1)
        locked.partition.memory.write(0x8000, struct.pack("<3Q", 0, ALL_SPACES | 0x110, 0b10))
        assert locked.attempt(SPACE, 0x8000, 0).kind is OutcomeKind.COMPLETE
        assert flushes(locked)[0].vtl == 0

    def test_a_list_waits_too(self, locked: Any) -> None:
        words = struct.pack("<4Q", 0, ALL_SPACES, 0b10, 0x9000)
        locked.partition.memory.write(0x8000, words)
        assert locked.attempt(LIST | 1 << 32, 0x8000, 0).kind is OutcomeKind.SUSPEND
