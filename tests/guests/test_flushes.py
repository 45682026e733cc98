"""The flush calls: a changed translation stays in use until it is flushed, on each processor."""

import struct
from collections.abc import Sequence

import pytest
from tests.guests.assembly import follow_steps, put, put_byte, start_others, step
from tests.guests.hypercalls import Caller, Row
from tests.guests.kit import run_guest
from tests.guests.layout import AP_MAIN, DATA, WINDOW
from tests.guests.paging import USER_PAGE, page_of, window, window_entry

from hypercall.partition.configuration import processors_in_order

OLD, NEW = 0x11, 0x22
SHUFFLE = 1
OWN, OTHER = (identity.index for identity in processors_in_order(2, shuffle_vp_index=SHUFFLE))
PAGES = window(DATA | USER_PAGE) | {DATA: page_of(OLD), DATA + 0x1000: page_of(NEW)}
CHANGE = f"mov rax, {DATA + 0x1000 | USER_PAGE}\nmov [{window_entry(0)}], rax"
LOOK = put_byte(WINDOW)


def forms(targets: int, *, everyone: bool = False) -> dict[str, Row]:
    """A flush of the window's first page, by every call in every form.

    Args:
        targets: the mask of VP indexes.
        everyone: ask for all processors by flag or format instead.
    """
    flags = 3 if everyone else 2
    mask = 0 if everyone else targets
    sparse = (1, 0) if everyone else (0, 1)
    banks = () if everyone else (targets,)
    size = len(banks) << 17
    # All the banks and lists that follow the two registers go to XMM.
    space = (0, flags, mask)
    space_ex = (0, flags, *sparse, *banks)
    return {
        "space": Row(0x2, space),
        "space-fast": in_registers(0x10002, space),
        "list": Row(0x1_0000_0003, (*space, WINDOW)),
        "list-fast": in_registers(0x1_0001_0003, (*space, WINDOW)),
        "space-ex": Row(0x13 | size, space_ex),
        "space-ex-fast": in_registers(0x10013 | size, space_ex),
        "list-ex": Row(0x1_0000_0014 | size, (*space_ex, WINDOW)),
        "list-ex-fast": in_registers(0x1_0001_0014 | size, (*space_ex, WINDOW)),
    }


def in_registers(control: int, words: Sequence[int]) -> Row:
    return Row(control, input=words[0], output=words[1], xmm=words[2:])


NAMES = tuple(forms(1))


def two_processors(mode: str, row: Row) -> tuple[list[int], list[int]]:
    """What both processors see before a change, after it, and after the call."""
    caller = Caller(
        mode,
        before=f"""
            mov qword ptr [{AP_MAIN}], application
            {start_others(1)}
            {LOOK}
            {step(1)}
            {CHANGE}
            {LOOK}
            {step(2)}
        """,
        after=f"""
            {LOOK}
            {step(3)}
            ret
        application:
            {follow_steps(LOOK)}
        """,
        cpus=2,
        configuration={"shuffle_vp_index": SHUFFLE},
        memory=PAGES,
    )
    calls = caller.make(row)
    assert calls.only.status == 0
    return calls.run.words(3, 0), calls.run.words(3, 1)


def test_the_shuffle_tells_index_and_apic_id_apart() -> None:
    assert (OWN, OTHER) == (1, 0)


@pytest.mark.parametrize("mode", ["64", "32"])
@pytest.mark.parametrize("name", NAMES)
def test_flush_of_the_own_processor(name: str, mode: str) -> None:
    own, other = two_processors(mode, forms(1 << OWN)[name])
    assert own == [OLD, OLD, NEW]
    assert other == [OLD, OLD, OLD]


@pytest.mark.parametrize("mode", ["64", "32"])
@pytest.mark.parametrize("name", NAMES)
def test_flush_of_the_other_processor(name: str, mode: str) -> None:
    own, other = two_processors(mode, forms(1 << OTHER)[name])
    assert own == [OLD, OLD, OLD]
    assert other == [OLD, OLD, NEW]


@pytest.mark.parametrize("name", NAMES)
def test_flush_of_everyone(name: str) -> None:
    own, other = two_processors("64", forms(0, everyone=True)[name])
    assert own == [OLD, OLD, NEW]
    assert other == [OLD, OLD, NEW]


def test_a_list_flush_of_a_distant_page_leaves_the_translation() -> None:
    own, other = two_processors("64", Row(0x1_0000_0003, (0, 3, 0, 0x7F00_0000_0000)))
    assert own == [OLD, OLD, OLD]
    assert other == [OLD, OLD, OLD]


def test_a_range_covers_its_additional_pages() -> None:
    own, other = two_processors("64", Row(0x1_0000_0003, (0, 3, 0, (WINDOW - 0x5000) | 5)))
    assert own == [OLD, OLD, NEW]
    assert other == [OLD, OLD, NEW]


def test_a_list_beyond_what_is_dropped_page_by_page() -> None:
    words = (0, 3, 0, *range(DATA, DATA + 100 * 4096, 4096), WINDOW)
    own, other = two_processors("64", Row(101 << 32 | 3, words))
    assert own == [OLD, OLD, NEW]
    assert other == [OLD, OLD, NEW]


@pytest.mark.parametrize(
    "flush",
    [
        f"invlpg [{WINDOW}]",
        "mov rax, cr3\nmov cr3, rax",
        "mov rax, cr4\nxor rax, 0x80\nmov cr4, rax",
    ],
    ids=["invlpg", "cr3", "cr4"],
)
def test_the_processors_own_flushes(flush: str) -> None:
    text = f"{LOOK}\n{CHANGE}\n{LOOK}\n{flush}\n{LOOK}"
    assert run_guest(text, memory=PAGES).words(3) == [OLD, OLD, NEW]


def test_only_a_write_of_cr4_drops_global_translations() -> None:
    memory = PAGES | {window_entry(0): struct.pack("<Q", DATA | USER_PAGE | 0x100)}
    enable = "mov rax, cr4\nor rax, 0x80\nmov cr4, rax"
    disable = "mov rax, cr4\nand rax, 0xFFFFFFFFFFFFFF7F\nmov cr4, rax"
    run = run_guest(f"{enable}\n{LOOK}\n{CHANGE}\n{disable}\n{LOOK}", memory=memory)
    assert run.words(2) == [OLD, NEW]


def test_a_translation_that_faulted_is_not_kept() -> None:
    absent = PAGES | {window_entry(0): struct.pack("<Q", 0)}
    run = run_guest(
        f"""
        mov qword ptr [0x113038], absent
        mov [0x113040], rsp
        mov al, [{WINDOW}]
        ud2
    absent:
        mov qword ptr [0x113038], 0
        mov rax, [0x113018]
        {put("rax")}
        {CHANGE}
        {LOOK}
        """,
        memory=absent,
    )
    assert run.words(2) == [WINDOW, NEW]
