import struct
from collections.abc import Callable
from typing import Any

import pytest
from tests.calls.trust_levels import enable, enter

from hypercall.partition.configuration import DEFAULT_PRIVILEGES
from hypercall.tlfs.privileges import Privilege
from hypercall.tlfs.registers import RegisterName as R

MakeGuest = Callable[..., Any]

GET, SET = 0x50, 0x51
OWN_PARTITION = (1 << 64) - 1
OWN_VP = 0xFFFFFFFE


def get(guest: Any, *names: int, vp: int = OWN_VP, vtl: int = 0) -> int:
    padded = [*names, *[0] * (len(names) % 2)]
    words = [low | high << 32 for low, high in zip(padded[::2], padded[1::2], strict=True)]
    result: int = guest.call(GET | len(names) << 32, OWN_PARTITION, vp | vtl << 32, *words)
    return result


def set_(guest: Any, *pairs: tuple[int, int], vp: int = OWN_VP, vtl: int = 0) -> int:
    words = [
        word for name, value in pairs for word in (name, 0, value & (1 << 64) - 1, value >> 64)
    ]
    result: int = guest.call(SET | len(pairs) << 32, OWN_PARTITION, vp | vtl << 32, *words)
    return result


def values(guest: Any, count: int) -> list[int]:
    return [low | high << 64 for low, high in struct.iter_unpack("<QQ", guest.output(16 * count))]


def test_reading_ones_own_registers(guest: Any) -> None:
    guest.effects.registers[0, 0, R.RIP] = 0x1234
    guest.effects.registers[0, 0, R.CS] = 0xA09B0010FFFFFFFF << 64
    assert get(guest, R.RIP, R.CS, R.VP_INDEX) == 3 << 32
    assert values(guest, 3) == [0x1234, 0xA09B0010FFFFFFFF << 64, 0]


def test_another_processors_registers(guest: Any) -> None:
    assert set_(guest, (R.RAX, 5), (R.DR0, 6), vp=2) == 2 << 32
    assert guest.effects.registers == {(2, 0, R.RAX): 5, (2, 0, R.DR0): 6}
    assert get(guest, R.VP_INDEX, R.RAX, vp=2) == 2 << 32
    assert values(guest, 2) == [2, 5]


def test_a_failure_keeps_what_came_before(guest: Any) -> None:
    assert set_(guest, (R.RAX, 1), (R.CR0, 1 << 40), (R.RBX, 3)) == 1 << 32 | 0x50
    assert guest.effects.registers == {(0, 0, R.RAX): 1}
    guest.effects.registers[0, 0, R.RBX] = 9
    assert get(guest, R.RBX, 0xDEAD, R.RBX) == 1 << 32 | 5
    assert values(guest, 2) == [9, 0]


def test_who_is_meant(guest: Any) -> None:
    assert get(guest, R.RAX, vp=77) == 0x0E
    assert guest.call(GET | 1 << 32, 42, OWN_VP, R.RAX) == 0x0D
    assert guest.call(GET | 1 << 32, 1, OWN_VP, R.RAX) == 1 << 32, "by the partition's id"
    assert get(guest, R.RAX, vtl=0x11) == 6
    assert get(guest, R.RAX, vtl=0x1F) == 5
    assert get(guest, R.RAX, vtl=0x20) == 5
    assert get(guest, R.RAX, vtl=0x10) == 1 << 32
    assert set_(guest, (R.RAX, 1), vp=77) == 0x0E


def test_a_read_only_register(guest: Any) -> None:
    assert set_(guest, (R.VP_INDEX, 3)) == 5


@pytest.mark.parametrize(("reading", "result"), [("hyperv", 1 << 32 | 5), ("kvm", 2 << 32)])
def test_reserved_words_of_an_element(make_guest: MakeGuest, reading: str, result: int) -> None:
    guest = make_guest(reading=reading)
    first = (R.RAX, 0, 7, 0)
    for second in ((R.RBX | 1 << 32, 0, 8, 0), (R.RBX, 1 << 63, 8, 0)):
        words = (OWN_PARTITION, OWN_VP, *first, *second)
        assert guest.call(SET | 2 << 32, *words) == result
    assert guest.effects.registers[0, 0, R.RAX] == 7


def test_in_registers(guest: Any) -> None:
    guest.effects.registers[0, 0, R.RSP] = 0x77
    assert guest.fast(GET | 1 << 32, OWN_PARTITION, OWN_VP, R.RSP) == 1 << 32
    assert guest.registers.written == {2: struct.pack("<QQ", 0x77, 0)}
    assert guest.fast(SET | 1 << 32, OWN_PARTITION, OWN_VP, R.RDI, 0, 8, 0) == 1 << 32
    assert guest.effects.registers[0, 0, R.RDI] == 8


def test_a_side_effect_of_a_synthetic_register(guest: Any) -> None:
    assert set_(guest, (R.SIMP, 0x10001), (R.SINT2, 0x62), vp=1) == 2 << 32
    assert guest.partition.memory.overlay_pages() == [1, 0x10]
    assert guest.vp(1).current.synic.sints[2] == 0x62


def test_without_the_privilege(make_guest: MakeGuest) -> None:
    guest = make_guest(privileges=Privilege(DEFAULT_PRIVILEGES & ~Privilege.ACCESS_VP_REGISTERS))
    assert get(guest, R.RAX) == 6
    assert set_(guest, (R.RAX, 1)) == 6


@pytest.mark.parametrize("budget", [1, 2, 512])
def test_any_budget(guest: Any, budget: int) -> None:
    guest.dispatcher.rep_budget = budget
    control = GET | 5 << 32
    names = struct.pack("<QQ5I", OWN_PARTITION, OWN_VP, *[R.VP_INDEX] * 4, R.INITIAL_APIC_ID)
    guest.partition.memory.write(0x8000, names)
    while (outcome := guest.attempt(control, 0x8000, 0x9000, vp=3)).kind.name == "CONTINUE":
        control = outcome.value
    assert outcome.value == 5 << 32
    assert values(guest, 5) == [3] * 5


class TestOtherVtls:
    def test_a_lower_vtls_registers(self, guest: Any) -> None:
        enable(guest)
        enter(guest, 1)
        assert set_(guest, (R.RIP, 0x1234), vtl=0x10) == 1 << 32
        assert guest.effects.named("write_register") == [(guest.vp(), 0, R.RIP, 0x1234)]
        assert set_(guest, (R.RIP, 0x5678)) == 1 << 32
        assert guest.effects.named("write_register")[1] == (guest.vp(), 1, R.RIP, 0x5678)

    def test_a_vtl_that_the_processor_does_not_have(self, guest: Any) -> None:
        enable(guest)
        enter(guest, 1)
        assert get(guest, R.RIP, vp=1, vtl=0x11) == 0x51

    def test_an_exception_for_a_lower_vtl(self, guest: Any) -> None:
        enable(guest)
        enter(guest, 1)
        event = 1 | 1 << 8 | 14 << 16 | 2 << 32 | 0xDEAD << 64
        assert set_(guest, (R.PENDING_EVENT0, event), vtl=0x10) == 1 << 32
        assert guest.effects.named("inject_exception") == [(guest.vp(), 0, 14, 2, 0xDEAD)]

    def test_a_write_that_waits(self, guest: Any) -> None:
        enable(guest, 1, (0, 1))
        enter(guest, 1)
        enter(guest, 1, vp=1)
        assert set_(guest, (R.VSM_VP_SECURE_CONFIG_VTL0, 2), vp=1) == 1 << 32
        words = (OWN_PARTITION, OWN_VP, R.RBX, 0, 5, 0, R.VSM_VP_WAIT_FOR_TLB_LOCK, 0, 1, 0)
        guest.partition.memory.write(0x8000, struct.pack("<10Q", *words))
        first = guest.attempt(SET | 2 << 32, 0x8000, 0)
        assert (first.kind.name, first.value) == ("CONTINUE", SET | 2 << 32 | 1 << 48)
        assert guest.attempt(first.value, 0x8000, 0).kind.name == "SUSPEND"
        guest.partition.vsm.vtl_return(guest.vp(1), True)
        assert guest.effects.named("resume")
        assert guest.attempt(first.value, 0x8000, 0).value == 2 << 32

    def test_ones_own_by_reading(self, make_guest: MakeGuest) -> None:
        results = {}
        for name in ("hyperv", "kvm", "xen", "openvmm"):
            guest = make_guest(reading=name)
            enable(guest)
            own = get(guest, R.VP_INDEX, R.RAX), set_(guest, (R.RAX, 1))
            enter(guest, 1)
            results[name] = (*own, get(guest, R.RAX, vtl=0x10))
        allowed = (2 << 32, 1 << 32, 1 << 32)
        assert results == {
            "hyperv": allowed,
            "kvm": allowed,
            "xen": allowed,
            "openvmm": (1 << 32 | 6, 6, 1 << 32),
        }
