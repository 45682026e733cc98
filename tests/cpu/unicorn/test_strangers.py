"""States of an engine that somebody made up: what would harm the host is not kept."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from tests.cpu.rig import CODE, RAM, Rig
from tests.guests.assembly import put, write_msr
from tests.guests.kit import run_guest
from tests.guests.layout import HYPERCALL_PAGE
from tests.guests.vtl import vtl_call, vtl_guest, vtl_return

from hypercall.cpu.unicorn.engine import Engine

NEVER = (1 << 64) - 1
TLB = 2176
ENTRY = 88
IN_RAM, IN_ARENA, ELSEWHERE = 1, 2, 3
BREAKPOINTS = 5464
# Offsets in the saved fields of a context.
INTERRUPT_REQUEST, TABLE, PENDING, LOCAL_COUNT, LOCAL = 0, 4, 16, 544, 548

State = dict[str, Any]


def saved_by(rig: Rig) -> State:
    """A state with some translations."""
    rig.run("mov eax, [0x9000]\nmov [0xA000], eax\nmov ecx, 3")
    return rig.engine.save()


def entries(tlb: bytes) -> dict[int, tuple[int, ...]]:
    """The entries of a saved TLB: mode and index, and the words."""
    words = [struct.unpack_from("<11Q", tlb, at) for at in range(TLB, len(tlb), ENTRY)]
    return {each[0]: each[1:] for each in words}


def with_entry(state: State, *words: int) -> State:
    """The state with one more entry in the TLB of its first context.

    Args:
        state: the state.
        words: mode and index, the comparators for read, write and code, the physical page and the
            distance as it is saved, and the address in the library's tables.
    """
    index, read, write, code, physical, distance, place = words
    more = struct.pack("<11Q", index, read, write, code, physical, distance, 0, 0, NEVER, place, 0)
    context = dict(state["contexts"][0])
    context["tlb"] += more
    return {**state, "contexts": [context, *state["contexts"][1:]]}


def with_field(state: State, part: str, offset: int, data: bytes) -> State:
    """The state with other bytes in a part of its first context."""
    context = dict(state["contexts"][0])
    context[part] = context[part][:offset] + data + context[part][offset + len(data) :]
    return {**state, "contexts": [context, *state["contexts"][1:]]}


def honest_states() -> list[tuple[Engine, State]]:
    """States of guests that use what there is to be kept."""
    overlay = run_guest(f"mov rax, {HYPERCALL_PAGE}\nmov rax, [rax]\n{write_msr(0x40000073, 0)}")
    floating = run_guest("fld1\nfldpi\npush 0x7BF\nfldcw [rsp]\npop rax\nmovd xmm3, eax")
    level = vtl_guest(f"mov ebx, 1\n{vtl_call()}\n{put('rbx')}", vtl_return(1)).machine()
    level.run(300_000)
    return [
        (each, each.save())
        for each in (overlay.machine.engine, floating.machine.engine, level.engine)
    ]


def test_what_an_engine_saved_is_kept() -> None:
    for engine, state in honest_states():
        safe = engine.made_safe(state)
        for name in ("tables", "msr_map", "pages", "stores", "count", "current"):
            assert safe[name] == state[name], name
        assert len(state["contexts"]) == len(safe["contexts"])
        for before, after in zip(state["contexts"], safe["contexts"], strict=True):
            assert after["state"] == before["state"]
            assert after["fields"] == before["fields"]
            # Only the translations of device pages go.
            kept = {
                index: words
                for index, words in entries(before["tlb"]).items()
                if words[4] & 0xFFF != ELSEWHERE
            }
            assert kept
            assert entries(after["tlb"]) == kept


def test_a_translation_of_two_pages_at_once_goes() -> None:
    """The library adds one distance to the addresses of loads and of stores."""
    rig = Rig()
    state = saved_by(rig)
    honest = (2 << 60 | 0x40, 0x40000, 0x40000, NEVER, 0x40000, 0x40000 | IN_RAM, 0)
    assert 2 << 60 | 0x40 in entries(
        rig.engine.made_safe(with_entry(state, *honest))["contexts"][0]["tlb"]
    )
    for change in (
        {2: 0x7FFF_0004_0000},
        {1: 0x7FFF_0004_0000},
        {3: 0x140_000},
        {1: 0x40200},
        {2: 0x40200},
        {3: 0x40100},
        {5: RAM | IN_RAM},
        {5: 1 << 40 | IN_ARENA},
        {5: 0x40000 | ELSEWHERE},
        {0: 3 << 60 | 0x40},
    ):
        words = [change.get(index, word) for index, word in enumerate(honest)]
        safe = rig.engine.made_safe(with_entry(state, *words))
        assert 2 << 60 | 0x40 not in entries(safe["contexts"][0]["tlb"]), change


def test_what_an_entry_says_of_the_librarys_tables_is_made_anew() -> None:
    rig = Rig()
    words = (2 << 60 | 0x123456, 0x40000, 0x40000, NEVER, NEVER - 0xFFF, 0x60000 | IN_RAM, 1 << 50)
    safe = rig.engine.made_safe(with_entry(saved_by(rig), *words))
    found = entries(safe["contexts"][0]["tlb"])[2 << 60 | 0x40]
    assert found[3] == 0x60000
    assert found[8] == 0x20000


def test_a_state_of_other_pages_runs_on() -> None:
    rig = Rig()
    state = saved_by(rig)
    words = (2 << 60 | 0x9, 0x9000, 0x9000, NEVER, 0, 0x40000 | IN_RAM, 0)
    rig.ram[0x40000:0x40004] = b"\1\2\3\4"
    rig.engine.restore(with_entry(state, *words), False)
    rig.run("mov ecx, [0x9000]")
    assert rig.engine.get_general(0, 1) == 0x04030201


@pytest.mark.parametrize(
    "entry",
    [RAM, 0xF100000000 - 4096, 0xF100000000 + (1 << 16), 1 << 52, 0xF000000000, 0xF300000000 | 16],
)
def test_a_table_that_leads_out_of_memory_is_refused(entry: int) -> None:
    rig = Rig()
    state = saved_by(rig)
    table = bytearray(state["tables"][0])
    table[80:88] = struct.pack("<Q", entry | 15)
    with pytest.raises(ValueError, match="table"):
        rig.engine.made_safe({**state, "tables": [bytes(table)]})
    with pytest.raises(ValueError, match="no such page"):
        rig.engine.set_entries(0, 10, 1, entry | 15)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(TABLE, 1), (TABLE, -1), (PENDING, 65), (PENDING, -1)],
)
def test_indexes_that_lead_nowhere_are_refused(offset: int, value: int) -> None:
    rig = Rig()
    state = with_field(saved_by(rig), "fields", offset, struct.pack("<i", value))
    with pytest.raises(ValueError, match="context"):
        rig.engine.restore(state, False)


def test_a_fill_in_a_mode_that_there_is_not_is_refused() -> None:
    rig = Rig()
    state = with_field(saved_by(rig), "fields", LOCAL_COUNT, struct.pack("<2I", 1, 3 << 30))
    with pytest.raises(ValueError, match="context"):
        rig.engine.restore(state, False)


def test_requests_that_only_the_library_makes_go() -> None:
    rig = Rig()
    state = with_field(saved_by(rig), "fields", INTERRUPT_REQUEST, struct.pack("<I", 0xFFFFFFFF))
    fields = rig.engine.made_safe(state)["contexts"][0]["fields"]
    assert struct.unpack_from("<I", fields)[0] == 0x302


def test_pointers_of_breakpoints_go() -> None:
    rig = Rig()
    state = with_field(saved_by(rig), "state", BREAKPOINTS, b"\x41" * 32)
    assert rig.engine.made_safe(state)["contexts"][0]["state"][BREAKPOINTS:][:32] == bytes(32)


def test_breakpoints_follow_from_the_debug_registers() -> None:
    rig = Rig()
    rig.run(f"mov eax, {CODE + 0x1000:#x}\nmov dr0, eax\nmov eax, 0x402\nmov dr7, eax")
    state = rig.engine.save()
    assert state["contexts"][0]["state"][BREAKPOINTS:][:32] == bytes(32)
    for own in (True, False):
        other = rig if own else Rig()
        other.engine.restore(state, own)
        other.code("nop\nnop\nhlt", CODE + 0x1000)
        # Without a table of interrupts #DB ends in a triple fault.
        other.run(f"mov eax, {CODE + 0x1000:#x}\njmp eax")
        assert other.exits.named("triple_fault"), own


def test_a_large_table_is_cut() -> None:
    rig = Rig()
    state = saved_by(rig)
    tlb = bytearray(state["contexts"][0]["tlb"])
    for mode in range(3):
        struct.pack_into("<Q", tlb, 2128 + 16 * mode, ((1 << 22) - 1) << 6)
    safe = rig.engine.made_safe(
        {**state, "contexts": [{**state["contexts"][0], "tlb": bytes(tlb)}]}
    )
    masks = [
        struct.unpack_from("<Q", safe["contexts"][0]["tlb"], 2128 + 16 * mode)[0]
        for mode in range(3)
    ]
    assert sum((mask >> 6) + 1 for mask in masks) <= 1 << 22
    rig.engine.restore(safe, False)
    rig.run("mov ecx, 5")
    assert rig.engine.get_general(0, 1) == 5


def test_more_contexts_than_the_machine_can_have_are_refused() -> None:
    rig = Rig()
    state = saved_by(rig)
    with pytest.raises(ValueError, match="more contexts"):
        rig.engine.restore({**state, "contexts": state["contexts"] * 2}, False)


def test_all_msrs_but_the_processors_own_exit() -> None:
    rig = Rig()
    state = {**saved_by(rig), "msr_map": bytes(3 * 4096)}
    rig.engine.restore(state, False)
    rig.run("mov ecx, 0x1B\nwrmsr\nmov ecx, 0x40000000\nwrmsr")
    assert [index for index, _ in rig.exits.named("write_msr")] == [0x1B, 0x40000000]


def test_numbers_of_what_there_is_not() -> None:
    """The numbers come from objects, whose state may be a stranger's too."""
    engine = Rig().engine
    acts: tuple[Callable[[], object], ...] = (
        lambda: engine.get_general(1, 0),
        lambda: engine.get_rip(-1),
        lambda: engine.set_table(0, 5),
        lambda: engine.set_table(7, 0),
        lambda: engine.flush(9),
        lambda: engine.flush_range(9, 0, 1),
        lambda: engine.set_interrupt(9, True),
        lambda: engine.set_nmi(9),
        lambda: engine.takes_nmi(9),
        lambda: engine.inject(9, 13, 0),
        lambda: engine.pending_injection(9),
        lambda: engine.set_user_execution(9, True),
        lambda: engine.set_time_stamp_offset(9, 1),
        lambda: engine.intercept_writes(9, 0, 0),
        lambda: engine.reset_context(9),
        lambda: engine.add_context(9),
        lambda: engine.get_entry(9, 0),
        lambda: engine.set_entries(9, 0, 1, 15),
        lambda: engine.translate(9, 0),
    )
    for act in acts:
        with pytest.raises(IndexError):
            act()
    writes: tuple[Callable[[], object], ...] = (
        lambda: engine.host_wrote("ram", RAM, 1),
        lambda: engine.host_wrote("arena", 1 << 40, 1),
        lambda: engine.forget_written(RAM - 4096, 8192),
    )
    for write in writes:
        with pytest.raises(ValueError, match="within"):
            write()
