import random
import struct
from typing import Any

import pytest
from tests.calls.trust_levels import enable, enter

from hypercall.partition.nested_formats import NestedFormat
from hypercall.tlfs.call_flags import TranslateGvaFlags as F
from hypercall.tlfs.registers import RegisterName

CONTROL = 0x52
SELF, OWN_VP = (1 << 64) - 1, 0xFFFFFFFE
LOCKED = 2


def test_without_paging_a_page_is_itself(guest: Any) -> None:
    assert guest.call(CONTROL, SELF, OWN_VP, F.VALIDATE_WRITE, 0x12) == 0
    assert guest.output(16) == bytes((0, 0, 0, 0, 6, 0, 0, 0, 0x12, 0, 0, 0, 0, 0, 0, 0))


def test_padding_is_ignored(guest: Any) -> None:
    assert guest.call(CONTROL, SELF, OWN_VP | 0xFFFFFFFF << 32, 0, 0x12) == 0


@pytest.mark.parametrize(
    ("target", "vp", "locked"), [(0, OWN_VP, True), (1, OWN_VP, False), (0, 1, False)]
)
def test_only_lower_vtls_of_the_caller_are_locked(
    guest: Any, target: int, vp: int, locked: bool
) -> None:
    enable(guest, 1, vps=(0, 1))
    enter(guest, 1)
    flags = F.TLB_FLUSH_INHIBIT | (0x10 | target) << 56
    status = guest.call(CONTROL, SELF, vp, flags, 0x12)
    assert status == (0 if locked else 5)
    state = guest.vp().vtls[1]
    config = guest.partition.registers.read(state, RegisterName.VSM_VP_SECURE_CONFIG_VTL0)
    assert bool(config & LOCKED) is locked


def test_reserved_flags_are_ignored_where_they_are(make_guest: Any) -> None:
    kvm = make_guest(reading="kvm")
    assert kvm.call(CONTROL, SELF, OWN_VP, 1 << 11, 0x12) == 0
    assert make_guest().call(CONTROL, SELF, OWN_VP, 1 << 11, 0x12) == 5


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("nested", [False, True])
def test_whatever_the_guest_has_in_its_registers_and_tables(
    make_guest: Any, seed: int, nested: bool
) -> None:
    """Each call has an answer, and what is no translation leaves the tables as they are."""
    chance = random.Random(seed)
    guest = make_guest()
    partition, effects = guest.partition, guest.effects
    memory = partition.memory
    enable(guest, 1)
    enter(guest, chance.randrange(2))
    if nested:
        partition.nested.register(0x10000 | 0x5E, NestedFormat.EPT)
        partition.nested.run(0x10000, vtl=0)
        for level in range(3):
            memory.write_u64(0x10000 + 4096 * level, 0x10000 + 4096 * (level + 1) | 7)
        memory.write(0x13000, _second_level(chance))
    codes = set()
    for _ in range(80):
        for page in range(4):
            memory.write(0x20000 + 4096 * page, _table(chance))
        for name in REGISTERS:
            effects.write_register(guest.vp(), 0, name, chance.getrandbits(64))
        cr3 = 0x20000 | chance.choice((0, 0x20, chance.getrandbits(40)))
        effects.write_register(guest.vp(), 0, RegisterName.CR3, cr3)
        before = memory.read(0x20000, 0x4000)
        flags = chance.getrandbits(10) & ~F.TLB_FLUSH_INHIBIT | chance.choice((0, 0x10)) << 56
        gva_page = chance.choice((chance.getrandbits(52), chance.getrandbits(36), 0, 1))
        status = guest.call(CONTROL, SELF, OWN_VP, flags, gva_page)
        assert status in (0, 5)
        code = guest.output(4)[0]
        codes.add(code)
        if status or code or not flags & F.SET_PAGE_TABLE_BITS:
            assert memory.read(0x20000, 0x4000) == before
    assert len(codes) >= (3 if nested else 4)


REGISTERS = (
    RegisterName.CR0,
    RegisterName.CR4,
    RegisterName.EFER,
    RegisterName.PAT,
    RegisterName.CS,
    RegisterName.RFLAGS,
)


def _second_level(chance: random.Random) -> bytes:
    """Most pages to themselves, one in eight anywhere or nowhere."""
    entries = [
        chance.getrandbits(64) if not chance.randrange(8) else page << 12 | 6 << 3 | 7
        for page in range(512)
    ]
    return struct.pack("<512Q", *entries)


def _table(chance: random.Random) -> bytes:
    """Entries that lead on, map pages, or mean nothing."""
    entries = [
        chance.choice((0x10000, 0x20000, 0x80000)) + chance.randrange(4) * 4096
        | chance.getrandbits(12)
        | chance.choice((0, 0, 0, chance.getrandbits(64)))
        | 1
        for _ in range(512)
    ]
    return struct.pack("<512Q", *entries)
