"""Virtual trust levels that guest code disables, or puts back to their beginning."""

from tests.guests.assembly import (
    call,
    put,
    read_msr,
    write_msr,
)
from tests.guests.layout import (
    DATA,
    SHARED,
)
from tests.guests.vtl import (
    PARTITION_STATUS,
    SELF,
    VP_STATUS,
    enable,
    get_register,
    must_succeed,
    run_vtls,
    vtl_call,
    vtl_return,
)

CODE = DATA + 0x8000
NONE = (1 << 64) - 1
FOREVER = f"again:\n{vtl_return(1)}\njmp again"


def test_a_level_is_disabled_and_enabled_anew() -> None:
    mark = "mov eax, {}\n" + put("rax")
    disable = "{}\nmov rbx, rax\n" + put("rbx")
    run = run_vtls(
        f"""
        {vtl_call()}
        {mark.format(10)}
        {vtl_call()}
        {mark.format(11)}
        """,
        f"""
        {mark.format(20)}
        cmp byte ptr [{SHARED}], 0
        jne second_time
        inc byte ptr [{SHARED}]
        {enable(2, "secure_2")}
        {vtl_call()}
    second_time:
        {FOREVER}
        """,
        f"""
        {disable.format(call(0x1000E, -1, 1))}
        {disable.format(call(0x10010, -1, SELF | 1 << 32))}
        {disable.format(call(0x10010, -1, SELF | 1 << 32))}
        {get_register(VP_STATUS, own=2)}
        {put("rax")}
        {disable.format(call(0x1000E, -1, 1))}
        {get_register(PARTITION_STATUS, own=2)}
        {put("rax")}
        {vtl_return(1)}
        {enable(1, "secure")}
        {vtl_return(1)}
        """,
    )
    # Once it is enabled again VTL 2 returns to it.
    status = 2 | 0b101 << 16
    assert run.words(10) == [20, 0x51, 0, 0x51, status, 0, 2 << 16 | 0b101, 10, 20, 11]


def test_scrub_only_lets_a_level_start_anew() -> None:
    mark = "mov eax, {}\n" + put("rax")
    run = run_vtls(
        f"{vtl_call()}\n{mark.format(10)}\n{vtl_call()}\n{mark.format(11)}",
        f"""
        {read_msr(0xC0000100)}
        {put("rax")}
        {write_msr(0xC0000100, 0x7000)}
        cmp byte ptr [{SHARED}], 0
        jne second_time
        inc byte ptr [{SHARED}]
        {enable(2, "secure_2")}
        {vtl_call()}
    second_time:
        {FOREVER}
        """,
        f"{call(0x10010, -1, SELF | 1 << 32 | 1 << 40)}\n{must_succeed()}\n{vtl_return(1)}\n"
        f"{vtl_return(1)}",
    )
    # From VTL 2 the return goes to VTL 1 at its initial context again.
    assert run.words(3) == [0, 0, 10]
