"""Registers of VTL 0 whose accesses VTL 1 intercepts; ids are those of the case list."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from tests.guests.assembly import catch, put, put_fault, read_msr, write_msr
from tests.guests.kit import GuestRun, assemble
from tests.guests.layout import DATA_64, POINTERS, SHARED
from tests.guests.vtl import (
    CR0_MASK,
    CR4_MASK,
    CR_INTERCEPT_CONTROL,
    get_register,
    handle_intercepts,
    intercepts,
    must_succeed,
    run_vtls,
    set_register,
    skip_instruction,
    vtl_call,
    vtl_return,
)

from hypercall.tlfs.messages import MessageType
from hypercall.tlfs.registers import RegisterName

APIC_BASE = 0x1B
READ, WRITE = 0, 1
PENDING_EVENT = 0x10004


def intercept(
    control: int,
    normal: str,
    *,
    handler: str,
    masks: Mapping[int, int] | None = None,
    before: str = "",
) -> GuestRun:
    settings = {**(masks or {}), CR_INTERCEPT_CONTROL: control}
    set_up = "\n".join(
        f"{set_register(name, value, own=1)}\n{must_succeed()}" for name, value in settings.items()
    )
    return run_vtls(f"{before}\n{vtl_call()}\n{normal}", f"{set_up}\n{handle_intercepts(handler)}")


def stop_intercepting() -> str:
    return f"{set_register(CR_INTERCEPT_CONTROL, 0, own=1)}\n{must_succeed()}"


def test_the_control_register_reads_back_a120() -> None:
    run = run_vtls(
        vtl_call(),
        f"""
        {set_register(CR_INTERCEPT_CONTROL, 0x1000, own=1)}
        {must_succeed()}
        {get_register(CR_INTERCEPT_CONTROL, own=1)}
        {put("rax")}
        {set_register(CR_INTERCEPT_CONTROL, 1 << 25, own=1)}
        {put("rax")}
        {get_register(CR0_MASK, own=1)}
        {put("rax")}
        {vtl_return(1)}
        """,
    )
    assert run.words(3) == [0x1000, 0x50, (1 << 64) - 1]


def test_vtl_0_intercepts_nothing() -> None:
    run = run_vtls(f"{set_register(CR_INTERCEPT_CONTROL, 0x1000, own=0)}\n{put('rax')}", "")
    assert run.words(1) == [6]


@dataclass(frozen=True)
class Msr:
    """An MSR with the bits for its read and its write, and a value that it can have."""

    index: int
    read: int | None
    write: int | None
    value: int


MSRS = {
    "A119-apic-base": Msr(APIC_BASE, 11, 12, 0xFEE00900),
    "misc-enable": Msr(0x1A0, 3, 4, 1),
    "lstar": Msr(0xC0000082, 5, 6, 0xFFFF_8000_0012_3456),
    "star": Msr(0xC0000081, 7, 8, 0x23_0010 << 32),
    "cstar": Msr(0xC0000083, 9, 10, 0x123456),
    "efer": Msr(0xC0000080, 13, 14, 0xD01),
    "sysenter-cs": Msr(0x174, None, 19, 0x10),
    "sysenter-eip": Msr(0x176, None, 20, 0x5000),
    "sysenter-esp": Msr(0x175, None, 21, 0x6000),
    "sfmask": Msr(0xC0000084, None, 22, 0x700),
    "tsc-aux": Msr(0xC0000103, None, 23, 7),
}


@pytest.mark.parametrize("msr", MSRS.values(), ids=MSRS)
def test_a_write_of_an_msr(msr: Msr) -> None:
    assert msr.write is not None
    run = intercept(
        1 << msr.write,
        f"""
        mov r14, 0x1414
        {write_msr(msr.index, msr.value ^ (0x800 if msr.index == 0xC0000080 else 0))}
        {read_msr(msr.index)}
        {put("rax", "r14")}
        """,
        before=write_msr(msr.index, msr.value) + "\n" + write_msr(0x175, 0x6000),
        handler=skip_instruction(2),
    )
    assert run.words(2) == [msr.value, 0x1414]
    (told,) = intercepts(run)
    written = msr.value ^ (0x800 if msr.index == 0xC0000080 else 0)
    assert told.kind is MessageType.X64_MSR_INTERCEPT
    assert told["msr_number"] == msr.index
    assert told["access_type"] == WRITE
    assert told["rdx"] << 32 | told["rax"] & 0xFFFFFFFF == written
    assert told.length == 2


@pytest.mark.parametrize(
    "msr", [msr for msr in MSRS.values() if msr.read is not None], ids=lambda msr: hex(msr.index)
)
def test_a_read_of_an_msr(msr: Msr) -> None:
    assert msr.read is not None
    run = intercept(
        1 << msr.read,
        f"{write_msr(msr.index, msr.value)}\n{read_msr(msr.index)}\n{put('rax')}",
        handler=stop_intercepting(),
    )
    assert run.words(1) == [msr.value]
    (told,) = intercepts(run)
    assert (told["msr_number"], told["access_type"]) == (msr.index, READ)


@pytest.mark.parametrize("msr", MSRS.values(), ids=MSRS)
def test_what_is_trapped_but_not_intercepted_works(msr: Msr) -> None:
    """VTL 1 itself, and VTL 0 while only the other direction is intercepted."""
    direction = msr.write if msr.read is None else msr.read
    assert direction is not None
    show = f"{read_msr(msr.index)}\n{put('rax')}"
    run = run_vtls(
        f"{vtl_call()}\n{write_msr(msr.index, msr.value) if msr.read is not None else ''}",
        f"""
        {set_register(CR_INTERCEPT_CONTROL, 1 << direction, own=1)}
        {must_succeed()}
        {write_msr(msr.index, msr.value)}
        {show}
        {handle_intercepts("")}
        """,
    )
    assert run.words(1) == [msr.value]
    assert intercepts(run) == []


def test_a_trapped_msr_refuses_what_the_processor_refuses() -> None:
    run = intercept(
        1 << 5 | 1 << 13,
        f"""
        {catch("address", write_msr(0xC0000082, 1 << 62))}
        {put_fault()}
        {catch("reserved", write_msr(0xC0000080, 0x8000_0D01))}
        {put_fault()}
        {catch("mode", write_msr(0xC0000080, 0x801))}
        {put_fault()}
        """,
        handler="",
    )
    assert run.words(6) == [13, 0] * 3
    assert intercepts(run) == []


def test_trapped_efer_still_decides_about_no_execute_and_system_calls() -> None:
    run = intercept(
        1 << 13,
        f"""
        {write_msr(0xC0000080, 0x901)}
        {write_msr(0xC0000082, "target")}
        mov rbp, rsp
        syscall
    target:
        mov rsp, rbp
        {put("rbp")}
        """,
        handler="",
    )
    assert run.words(1) != [0]


@pytest.mark.parametrize(
    ("text", "name", "control", "changed"),
    [
        pytest.param("mov cr0, rax", RegisterName.CR0, 1, 1 << 16, id="cr0"),
        pytest.param("mov cr4, rax", RegisterName.CR4, 2, 1 << 20, id="cr4"),
        pytest.param("mov cr4, r9", RegisterName.CR4, 2, 1 << 20, id="cr4-r9"),
    ],
)
def test_a_write_of_a_control_register(
    text: str, name: RegisterName, control: int, changed: int
) -> None:
    register = "cr0" if name is RegisterName.CR0 else "cr4"
    run = intercept(
        control,
        f"""
        mov rax, {register}
        mov rbx, rax
        xor rax, {changed}
        mov r9, rax
        mov r14, rax
    writing:
        {text}
        mov rax, {register}
        {put("rbx", "r14", "rax")}
        mov rax, writing
        {put("rax")}
        """,
        handler=skip_instruction(len(assemble(text))),
    )
    before, value, after, rip = run.words(4)
    assert after == before
    (told,) = intercepts(run)
    assert told.kind is MessageType.REGISTER_INTERCEPT
    assert told["register_name"] == name
    assert told["rip"] == rip
    assert told.length == len(assemble(text))
    assert int.from_bytes(told["source_value"], "little") == value


def test_a_write_that_the_handler_allows_is_carried_out() -> None:
    run = intercept(
        2,
        f"mov rax, cr4\nmov rbx, rax\nor rax, {1 << 20}\nmov cr4, rbx\nmov cr4, rax\n"
        f"mov rcx, cr4\nmov cr4, rbx\n{put('rcx', 'rbx')}".replace(
            f"or rax, {1 << 20}", "or rax, 128"
        ),
        handler=stop_intercepting(),
    )
    after, before = run.words(2)
    assert after == before | 128
    assert len(intercepts(run)) == 1


@pytest.mark.parametrize(
    ("mask", "told"), [pytest.param(1 << 16, 1, id="wp"), pytest.param(1 << 18, 0, id="am")]
)
def test_masks_leave_out_other_bits_of_cr0(mask: int, told: int) -> None:
    run = intercept(
        1,
        f"mov rax, cr0\nxor rax, {1 << 16}\nmov cr0, rax\nmov rax, cr0\n{put('rax')}",
        masks={CR0_MASK: mask},
        handler=stop_intercepting(),
    )
    assert len(intercepts(run)) == told


def test_masks_leave_out_other_bits_of_cr4() -> None:
    run = intercept(
        2,
        "mov rax, cr4\nor rax, 0x80\nmov cr4, rax\nor rax, 4\nmov cr4, rax",
        masks={CR4_MASK: 4},
        handler=stop_intercepting(),
    )
    (told,) = intercepts(run)
    assert int.from_bytes(told["source_value"], "little") & 0x84 == 0x84


def test_clts_is_a_write_of_cr0() -> None:
    run = intercept(
        1,
        f"clts\nmov rax, cr0\n{put('rax')}",
        before="mov rax, cr0\nor rax, 8\nmov cr0, rax",
        handler=skip_instruction(2),
    )
    assert run.words(1)[0] & 8
    (told,) = intercepts(run)
    assert (told["register_name"], told.length) == (RegisterName.CR0, 2)


@pytest.mark.parametrize(
    ("text", "name", "control"),
    [
        pytest.param(
            f"mov rbx, {POINTERS}\nwriting:\nlgdt [rbx]", RegisterName.GDTR, 15, id="gdtr"
        ),
        pytest.param(
            f"mov rbx, {POINTERS + 16}\nwriting:\nlidt [rbx]", RegisterName.IDTR, 16, id="idtr"
        ),
        pytest.param("xor ebx, ebx\nwriting:\nlldt bx", RegisterName.LDTR, 17, id="ldtr"),
        pytest.param(f"mov ebx, {DATA_64}\nwriting:\nltr bx", RegisterName.TR, 18, id="tr"),
    ],
)
def test_loads_of_descriptor_tables(text: str, name: RegisterName, control: int) -> None:
    run = intercept(
        1 << control,
        f"{text}\nmov rax, writing\n{put('rax')}\nstr ax\nmov [{SHARED}], ax",
        handler=skip_instruction(3),
    )
    (rip,) = run.words(1)
    (told,) = intercepts(run)
    assert (told.kind, told["register_name"]) == (MessageType.REGISTER_INTERCEPT, name)
    assert (told["rip"], told.length) == (rip, 3)
    assert run.memory(SHARED, 1) == b"\x38"


def test_a_handler_refuses_with_an_exception() -> None:
    run = intercept(
        1 << 12,
        f"{catch('refused', write_msr(APIC_BASE, 0xFEE00900))}\n{put_fault()}",
        handler=set_register(PENDING_EVENT, 1 | 1 << 8 | 13 << 16, vtl=0, own=1),
    )
    assert run.words(2) == [13, 0]
