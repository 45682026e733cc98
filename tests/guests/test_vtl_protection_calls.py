"""How VTL 1 sets protections; the ids are those of the case list."""

from typing import Any

import pytest
from tests.guests.assembly import (
    call,
    put,
)
from tests.guests.kit import GuestRun
from tests.guests.layout import (
    DATA,
    INPUT,
)
from tests.guests.protections import (
    CODE,
    ENABLE_MBEC,
    EXECUTING,
    PAGE,
    RW,
    R,
    allow_r10,
)
from tests.guests.vtl import (
    ALL,
    PARTITION_CONFIG,
    enable_protection,
    get_register,
    handle_intercepts,
    intercepts,
    protect,
    run_vtls,
    set_register,
    store,
    vtl_call,
    vtl_return,
)

RETURN_FOREVER = f"returning:\n{vtl_return(1)}\njmp returning"


def allow_code(page: int) -> str:
    """Let VTL 0 execute the image, the interrupt stubs, the rest of the kit's code and a page."""
    return f"""
        mov r14, 0x100
    allowing:
        mov r10, r14
        {allow_r10()}
        inc r14
        cmp r14, 0x120
        jb allowing
        {protect(page, ALL)}
    """


def test_the_default_mask_holds_for_pages_without_their_own() -> None:
    allowed = DATA + 0x30000
    run = run_vtls(
        f"""
        {vtl_call()}
        mov eax, {allowed}
        call rax
        mov eax, {CODE}
        call rax
        """,
        f"{enable_protection(RW)}\n{allow_code(allowed)}\n{handle_intercepts(protect(CODE, ALL))}",
        memory={CODE: b"\xc3", allowed: b"\xc3"},
    )
    (violation,) = intercepts(run)
    assert (violation["guest_physical_address"], violation["access_type"]) == (CODE, EXECUTING)


def test_the_default_mask_is_fixed_once_protection_is_on_a109() -> None:
    run = run_vtls(
        vtl_call(),
        f"""
        {set_register(PARTITION_CONFIG, 1 | 7 << 1, own=1)}
        {put("rax")}
        {set_register(PARTITION_CONFIG, 1 | ALL << 1, own=1)}
        {put("rax")}
        {set_register(PARTITION_CONFIG, 1 | RW << 1, own=1)}
        {put("rax")}
        {set_register(PARTITION_CONFIG, ALL << 1, own=1)}
        {put("rax")}
        {get_register(PARTITION_CONFIG, own=1)}
        {put("rax")}
        {RETURN_FOREVER}
        """,
    )
    # Kernel execution alone is no default either.
    assert run.words(5) == [0x50, 0x1_0000_0000, 0x50, 0x50, 1 | ALL << 1]


def modify(control: int, partition: int, target: int, flags: int, *pages: int) -> str:
    stores = "\n".join(store(INPUT + 16 + 8 * n, page) for n, page in enumerate(pages))
    return f"""
        {store(INPUT, partition)}
        {store(INPUT + 8, target << 32 | flags)}
        {stores}
        {call(control, INPUT)}
        {put("rax")}
    """


def run_in_vtl_1(text: str, **rest: Any) -> GuestRun:
    return run_vtls(vtl_call(), f"{enable_protection()}\n{text}\n{RETURN_FOREVER}", **rest)


@pytest.mark.parametrize(
    ("target", "flags", "result", "partition"),
    [
        pytest.param(0x12, 1, 6, -1, id="B065"),
        pytest.param(0, 1, 0xD, 5, id="B066"),
        pytest.param(0, 5, 0x50, -1, id="B069"),
        pytest.param(0, 0, 0x1_0000_0000, -1, id="B073"),
        pytest.param(0, 2, 0x50, -1, id="write-only"),
        pytest.param(0, 0x8001, 0x50, -1, id="adjustable"),
        pytest.param(0x10, 1, 5, -1, id="B077"),
        pytest.param(0x11, 1, 0x1_0000_0000, -1, id="own-vtl-by-number"),
    ],
)
def test_modify_vtl_protection_mask(target: int, flags: int, result: int, partition: int) -> None:
    run = run_in_vtl_1(modify(0x1_0000_000C, partition, target, flags, 0x900))
    assert run.words(1) == [result]


def test_protection_needs_the_vtls_consent_b067() -> None:
    run = run_vtls(vtl_call(), f"{modify(0x1_0000_000C, -1, 0, 1, 0x900)}\n{RETURN_FOREVER}")
    assert run.words(1) == [6]


def test_target_0_names_the_restricted_level_for_kvm_b077() -> None:
    run = run_in_vtl_1(modify(0x1_0000_000C, -1, 0x10, 1, 0x900), like="kvm")
    assert run.words(1) == [0x1_0000_0000]


def test_kernel_execution_alone_is_refused_with_mbec_b072() -> None:
    run = run_in_vtl_1(modify(0x1_0000_000C, -1, 0, 5, 0x900), flags=ENABLE_MBEC)
    assert run.words(1) == [0x50]


def test_a_list_stops_at_a_page_that_is_no_memory() -> None:
    run = run_vtls(
        f"{vtl_call()}\nmov rbx, {PAGE}\nmov [rbx], rbx",
        f"""
        {enable_protection()}
        {modify(0x3_0000_000C, -1, 0, R, PAGE >> 12, 0x90000, (PAGE >> 12) + 1)}
        {handle_intercepts(protect(PAGE, ALL))}
        """,
    )
    assert run.words(1) == [0x1_0000_0005]
    assert len(intercepts(run)) == 1


def test_vtl_0_has_nobody_to_protect_from() -> None:
    run = run_vtls(modify(0x1_0000_000C, -1, 0, 1, 0x900), "")
    assert run.words(1) == [5]
