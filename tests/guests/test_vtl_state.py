"""What a virtual trust level has to itself, and what all of a processor share."""

import struct
from dataclasses import replace

import pytest
from tests.guests.assembly import (
    catch,
    put,
    put_fault,
    put_word,
    read_msr,
    write_msr,
)
from tests.guests.contexts import LONG_MODE
from tests.guests.layout import (
    DATA,
    HYPERCALL_PAGE,
    SHARED,
    TSC_PAGE,
    WINDOW,
)
from tests.guests.paging import KERNEL_PAGE, page_of, window, window_entry
from tests.guests.vtl import (
    RAW_CALL,
    RAW_RETURN,
    run_vtls,
    stack,
    store,
    vtl_call,
    vtl_return,
)

from hypercall.tlfs.initial_context import SegmentRegister, TableRegister

CODE = DATA + 0x8000
NONE = (1 << 64) - 1
FOREVER = f"again:\n{vtl_return(1)}\njmp again"


# --- the initial context ---------------------------------------------------------------------


def test_the_initial_context_is_applied_exactly() -> None:
    data = SegmentRegister(0, 0xFFFFFFFF, 0x28, 0xC0F3)
    context = replace(
        LONG_MODE,
        rflags=0x4_0246 & ~0x200,
        ds=data,
        es=data,
        fs=replace(data, base=0x1234_5000),
        gs=replace(data, base=0xFFFF_8000_1234_5678),
        idtr=TableRegister(0x123, 0x11_2233),
        gdtr=TableRegister(0x456, 0x44_5566),
        ldtr=SegmentRegister(0x7000, 0x17, 0x40, 0x82),
        cr0=LONG_MODE.cr0 | 0x10000,
        cr4=0x6A0,
        cr3=LONG_MODE.cr3 | 0x18,
        pat=0x0007_0106_0007_0106,
    )
    out = SHARED
    run = run_vtls(
        f"mov rbx, 0x1234\n{vtl_call()}",
        f"""
        mov [{out}], rsp
        mov rsp, {stack(1)}
        pushfq
        pop qword ptr [{out + 8}]
        mov rax, cr0
        mov [{out + 16}], rax
        mov rax, cr3
        mov [{out + 24}], rax
        mov rax, cr4
        mov [{out + 32}], rax
        {read_msr(0xC0000080)}
        mov [{out + 40}], rax
        {read_msr(0x277)}
        mov [{out + 48}], rax
        {read_msr(0xC0000100)}
        mov [{out + 56}], rax
        {read_msr(0xC0000101)}
        mov [{out + 64}], rax
        mov [{out + 72}], rbx
        sgdt [{out + 80}]
        sidt [{out + 96}]
        xor eax, eax
        str ax
        mov [{out + 112}], rax
        sldt ax
        mov [{out + 120}], rax
        mov ax, ds
        mov [{out + 128}], rax
        mov ax, fs
        mov [{out + 136}], rax
        mov ax, ss
        mov [{out + 144}], rax
        mov rax, dr7
        mov [{out + 152}], rax
        mov eax, 1
        mov ecx, 0x12
        {write_msr(0x40000000, 0x8100 << 48)}
        {write_msr(0x40000001, HYPERCALL_PAGE | 1)}
        {vtl_return(1)}
        """,
        context=context,
        begun=False,
    )
    got = run.memory_words(out, 20)
    assert got[:10] == [
        stack(1),
        context.rflags,
        context.cr0,
        context.cr3,
        context.cr4,
        context.efer,
        context.pat,
        context.fs.base,
        context.gs.base,
        0x1234,
    ]
    tables = run.memory(out + 80, 32)
    assert struct.unpack_from("<HQ", tables) == (context.gdtr.limit, context.gdtr.base)
    assert struct.unpack_from("<HQ", tables, 16) == (context.idtr.limit, context.idtr.base)
    selectors = [context.tr, context.ldtr, context.ds, context.fs, context.ss]
    assert [word & 0xFFFF for word in got[14:19]] == [each.selector for each in selectors]
    assert got[19] == 0x400


# --- private and shared state ----------------------------------------------------------------

PRIVATE_MSRS = {
    0x10: None,
    0x174: (0x10, 0x20),
    0x175: (0x1000, 0x2000),
    0x176: (0x3000, 0x4000),
    0x277: (0x0007_0406_0007_0406, 0x0106_0406_0007_0406),
    0xC0000081: (0x10_0008 << 32, 0x23_0010 << 32),
    0xC0000082: (0x111000, 0x222000),
    0xC0000083: (0x333000, 0x444000),
    0xC0000084: (0x200, 0x600),
    0xC0000100: (0x5_0000, 0x6_0000),
    0xC0000101: (0x7_0000, 0x8_0000),
    0xC0000102: (0x9_0000, 0xA_0000),
    0xC0000103: (3, 4),
    0x40000072: (0x20, 0x30),
    0x40000073: (0x2C_0001, 0x2C_1001),
    0x40000080: (1, 0),
    0x40000082: (0x27_0001, 0x27_1001),
    0x40000083: (0x23_0001, 0x23_2001),
    0x40000090: (0x10055, 0x10066),
    0x4000009F: (0x10077, 0x10088),
    0x400000B0: (0x1_0000, 0x2_0000),
    0x400000B1: (0x55, 0x66),
    0x40000021: (0x20_1001, 0x20_2001),
}


@pytest.mark.parametrize("msr", [msr for msr, pair in PRIVATE_MSRS.items() if pair], ids=hex)
def test_private_msrs(msr: int) -> None:
    pair = PRIVATE_MSRS[msr]
    assert pair is not None
    show = f"{read_msr(msr)}\n{put('rax')}"
    run = run_vtls(
        f"{write_msr(msr, pair[0])}\n{vtl_call()}\n{show}\n{vtl_call()}\n{show}",
        f"{show}\n{write_msr(msr, pair[1])}\n{vtl_return(1)}\n{show}\n{vtl_return(1)}",
    )
    initial, *others = run.words(4)
    assert initial not in pair or msr in (0x277, 0x40000080)
    assert others == [pair[0], pair[1], pair[0]]


def test_private_registers() -> None:
    show = f"""
        pushfq
        pop rax
        and eax, 0xCD5
        {put("rax", "rsp")}
        mov rax, cr3
        {put("rax")}
        mov rax, cr8
        {put("rax")}
        mov rax, dr7
        {put("rax")}
        mov rax, cr4
        {put("rax")}
    """
    run = run_vtls(
        f"""
        mov rax, {LONG_MODE.cr3 | 8}
        mov cr3, rax
        mov eax, 5
        mov cr8, rax
        mov eax, 0x401
        mov dr7, rax
        stc
        std
        {RAW_CALL.replace("xor eax, eax", "mov eax, 0")}
        {show}
        cld
        """,
        f"""
        mov rax, cr4
        or rax, 0x80
        mov cr4, rax
        mov eax, 0x404
        mov dr7, rax
        push 0x46
        popfq
        {show}
        push 0x8D7
        popfq
        mov eax, 1
        mov ecx, 0x12
        vmcall
        """,
    )
    flags_1, rsp_1, cr3_1, cr8_1, dr7_1, cr4_1, *lower = run.words(12)
    flags_0, rsp_0, cr3_0, cr8_0, dr7_0, cr4_0 = lower
    assert (flags_1 & 0x44, rsp_1, cr3_1) == (0x44, stack(1), LONG_MODE.cr3)
    assert (cr8_1, dr7_1, cr4_1) == (0, 0x404, 0x6A0)
    assert flags_0 & 0x401 == 0x401
    assert (cr3_0, cr8_0, dr7_0, cr4_0) == (LONG_MODE.cr3 | 8, 5, 0x401, 0x620)
    assert rsp_0 != rsp_1


def test_shared_registers_are_shared() -> None:
    names = ("rbx", "rdx", "rsi", "rdi", "rbp", *(f"r{number}" for number in range(8, 15)))
    load = "\n".join(f"mov {name}, {0x10 + n}" for n, name in enumerate(names))
    run = run_vtls(
        f"""
        mov rax, 0x123456789
        movq xmm7, rax
        mov rax, 0x4000
        mov dr2, rax
        mov rax, 0x9876
        mov cr2, rax
        fld1
        {load}
        {RAW_CALL}
        {put("rbx", "r14")}
        movq rax, xmm15
        {put("rax")}
        mov rax, dr3
        {put("rax")}
        mov rax, cr2
        {put("rax")}
        """,
        f"""
        {put(*names)}
        movq rax, xmm7
        {put("rax")}
        mov rax, dr2
        {put("rax")}
        mov rax, cr2
        {put("rax")}
        fistp qword ptr [{SHARED}]
        {put_word(SHARED)}
        {write_msr(0x40000000, 0x8100 << 48)}
        {write_msr(0x40000001, HYPERCALL_PAGE | 1)}
        mov rbx, 0xAAA
        mov r14, 0xBBB
        movq xmm15, rbx
        mov dr3, r14
        mov cr2, rbx
        {RAW_RETURN}
        """,
        begun=False,
    )
    words = run.words(21)
    assert words[:12] == [0x10 + n for n in range(12)]
    assert words[12:16] == [0x123456789, 0x4000, 0x9876, 1]
    assert words[16:21] == [0xAAA, 0xBBB, 0xAAA, 0xBBB, 0xAAA]


def test_each_level_has_its_own_overlay_pages() -> None:
    tsc = put_word(TSC_PAGE + 8)
    page = put_word(HYPERCALL_PAGE)
    run = run_vtls(
        f"{write_msr(0x40000021, TSC_PAGE | 1)}\n{tsc}\n{page}\n{vtl_call()}\n{tsc}\n{page}",
        f"""
        {page}
        {tsc}
        {write_msr(0x40000000, 0x8100 << 48)}
        {write_msr(0x40000001, 0x203001)}
        {write_msr(0x40000021, TSC_PAGE | 1)}
        {put_word(0x203000)}
        {tsc}
        {RAW_RETURN}
        """,
        begun=False,
    )
    tsc_0, page_0, ram, ram_at_tsc, page_1, tsc_1, tsc_again, page_again = run.words(8)
    assert (ram, ram_at_tsc) == (0, 0)
    assert tsc_0 == tsc_1 == tsc_again != 0
    assert page_0 == page_1 == page_again != 0


def test_hypercalls_of_a_level_need_its_own_page() -> None:
    run = run_vtls(
        vtl_call(),
        f"""
        {catch("refused", "mov ecx, 0x12; mov eax, 1; vmcall")}
        {put_fault()}
        {write_msr(0x40000000, 0x8100 << 48)}
        {write_msr(0x40000001, 0x203001)}
        {RAW_RETURN}
        """,
        begun=False,
    )
    assert run.words(1) == [6]


# --- translations ----------------------------------------------------------------------------


def test_a_switch_does_not_lose_the_other_levels_translations() -> None:
    old, new = DATA + 0x100000, DATA + 0x101000
    read = put_word(WINDOW)
    run = run_vtls(
        f"""
        {read}
        {store(window_entry(0), new | KERNEL_PAGE)}
        {vtl_call()}
        {read}
        {vtl_call()}
        {read}
        mov rax, {WINDOW}
        invlpg [rax]
        {read}
        """,
        f"{read}\n{vtl_return(1)}\n{store(window_entry(0), old | KERNEL_PAGE)}\n{read}\n"
        f"{vtl_return(1)}",
        memory=window(old | KERNEL_PAGE) | {old: page_of(1), new: page_of(2)},
    )
    one, two = (int.from_bytes(bytes([byte]) * 8, "little") for byte in (1, 2))
    # VTL 1 walks the tables at its first access, and keeps what it found as VTL 0 does.
    assert run.words(6) == [one, two, one, two, one, one]
