"""The actions that a VTL leaves in its assist page for its return to a lower one."""

import struct

import pytest
from tests.guests.assembly import put, put_word, write_apic, write_msr
from tests.guests.kit import GuestRun
from tests.guests.layout import EVENTS
from tests.guests.vtl import assist_page, enable, run_vtls, store, vtl_call, vtl_return

SIGNAL_EVENT = 1
ACTIONS = assist_page(1) + 368
VECTOR = 0x52
FOREVER = f"returning:\n{vtl_return(1)}\njmp returning"


def action(sint: int, flag: int, *, kind: int = SIGNAL_EVENT, vp: int = 0, vtl: int = 0) -> bytes:
    return struct.pack("<QIBBH", kind, vp, vtl, sint, flag)


def returning(*actions: bytes, fast: int = 1) -> GuestRun:
    """VTL 1 leaves actions and returns; VTL 0 shows how often its SINTs were signalled before it
    enabled interrupts and after, and VTL 1 shows its list when it is called again."""
    words = struct.unpack(f"<{2 * len(actions)}Q", b"".join(actions))
    fill = "\n".join(store(ACTIONS + 8 * number, word) for number, word in enumerate(words))
    shown = "\n".join(put_word(ACTIONS + 8 * number) for number in range(len(words)))
    return run_vtls(
        f"""
        {write_apic(0xF0, 0x1FF)}
        {write_msr(0x40000082, EVENTS | 1)}
        {write_msr(0x40000080, 1)}
        {write_msr(0x40000092, VECTOR)}
        {write_msr(0x40000093, VECTOR + 1)}
        {vtl_call()}
        {vtl_call()}
        {put("rbx")}
        sti
        nop
        cli
        {vtl_call()}
        """,
        f"""
        {vtl_return(1)}
        {fill}
        mov ebx, 77
        {vtl_return(fast)}
        {shown}
        {FOREVER}
        """,
    )


def flags(run: GuestRun, sint: int) -> list[int]:
    """The event flags of a SINT of VTL 0 that are set."""
    value = int.from_bytes(run.memory(EVENTS + 256 * sint, 256), "little")
    return [flag for flag in range(2048) if value >> flag & 1]


@pytest.mark.parametrize("fast", [0, 1])
def test_events_are_signalled_at_the_return_and_the_list_is_taken_away(fast: int) -> None:
    run = returning(action(2, 5), action(3, 2047), action(2, 64), fast=fast)
    assert run.words(7) == [77, 0, 0, 0, 0, 0, 0]
    assert (flags(run, 2), flags(run, 3)) == ([5, 64], [2047])
    assert run.interrupts() == {VECTOR: 1, VECTOR + 1: 1}


def test_the_list_ends_where_the_type_is_unknown() -> None:
    run = returning(action(2, 5), action(2, 6, kind=2), action(2, 7))
    assert flags(run, 2) == [5]
    assert run.interrupts() == {VECTOR: 1}
    assert run.words(7)[1:] == [0] * 6


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(action(16, 1), id="sint"),
        pytest.param(action(2, 2048), id="flag"),
        pytest.param(action(2, 1, vp=1), id="no-such-processor"),
        pytest.param(action(2, 1, vtl=2), id="higher-level"),
        pytest.param(action(2, 1, vtl=200), id="no-such-level"),
        pytest.param(action(4, 1), id="masked"),
    ],
)
def test_what_cannot_be_signalled_is_left_out(odd: bytes) -> None:
    run = returning(odd, action(3, 9))
    assert (flags(run, 2), flags(run, 3)) == ([], [9])
    assert run.interrupts() == {VECTOR + 1: 1}


def test_an_event_of_the_returning_level_enters_it_again_at_once() -> None:
    run = run_vtls(
        f"{vtl_call()}\nmov ebx, 1\n{put('rbx')}",
        f"""
        {write_msr(0x40000082, EVENTS + 0x1000 | 1)}
        {write_msr(0x40000092, VECTOR)}
        {store(ACTIONS, SIGNAL_EVENT)}
        {store(ACTIONS + 8, int.from_bytes(action(2, 3, vtl=1)[8:], "little"))}
        {vtl_return(1)}
        {put_word(assist_page(1) + 8)}
        sti
        nop
        cli
        {FOREVER}
        """,
    )
    reason, last = run.words(2)
    assert (reason & 0xFFFFFFFF, last) == (2, 1)
    assert run.interrupts() == {VECTOR: 1}


def test_a_level_has_no_say_in_a_higher_one() -> None:
    events = EVENTS + 0x2000
    run = run_vtls(
        f"{vtl_call()}\nmov ebx, 1\n{put('rbx')}",
        f"""
        {enable(2, "secure_2")}
        {vtl_call()}
        {store(ACTIONS, SIGNAL_EVENT)}
        {store(ACTIONS + 8, int.from_bytes(action(2, 3, vtl=2)[8:], "little"))}
        {FOREVER}
        """,
        f"""
        {write_msr(0x40000082, events | 1)}
        {write_msr(0x40000092, VECTOR)}
        {vtl_return(1)}
        mov ebx, 2
        {put("rbx")}
        """,
    )
    assert run.words(1) == [1]
    assert run.machine.partition.memory.read(events, 4096, 2) == bytes(4096)
