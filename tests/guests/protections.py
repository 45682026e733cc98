"""VTL 1 guards a page from VTL 0."""

from typing import Any

from tests.guests.assembly import call
from tests.guests.kit import GuestRun
from tests.guests.layout import DATA, INPUT
from tests.guests.vtl import (
    ALL,
    READ,
    WRITE,
    enable_protection,
    handle_intercepts,
    must_succeed,
    protect,
    run_vtls,
    store,
    vtl_call,
)

PAGE = DATA + 0x10000
CODE = DATA + 0x20000

R, RW = READ, READ | WRITE
ENABLE_MBEC = 1
READING, WRITING, EXECUTING = 0, 1, 2


def guard(
    normal: str,
    mask: int,
    *,
    page: int = PAGE,
    grant: str | None = None,
    before: str = "",
    **rest: Any,
) -> GuestRun:
    """Run text of VTL 0 while VTL 1 guards a page, which it grants at the first violation."""
    granting = protect(page, ALL) if grant is None else grant
    return run_vtls(
        f"{before}\n{vtl_call()}\n{normal}",
        f"{enable_protection()}\n{protect(page, mask)}\n{handle_intercepts(granting)}",
        **rest,
    )


def allow_r10() -> str:
    """Allow lower VTLs everything in the page whose number is in R10."""
    return f"""
        {store(INPUT, -1)}
        {store(INPUT + 8, ALL)}
        mov r11, {INPUT + 16}
        mov [r11], r10
        {call(0x1_0000_000C, INPUT)}
        {must_succeed()}
    """
