"""Registers of VTL 0 whose accesses VTL 1 intercepts; ids are those of the case list."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from tests.guests.assembly import (
    back_to_64,
    catch,
    compatibility_mode,
    put,
    put_fault,
    put_word,
    read_msr,
    write_msr,
)
from tests.guests.kit import GuestRun, assemble
from tests.guests.layout import DATA, GDT, POINTERS, SHARED, TASK
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


@dataclass(frozen=True)
class TableLoad:
    """One load of a descriptor table register.

    Attributes:
        instruction: it.
        name: the register.
        control: its bit of CrInterceptControl.
        source: the selector, or the linear address of the operand in memory.
        before: text before it.
        memory: whether the operand is in memory.
    """

    instruction: str
    name: RegisterName
    control: int
    source: int
    before: str = ""
    memory: bool = True


GDTR, IDTR, LDTR, TR = (RegisterName[name] for name in ("GDTR", "IDTR", "LDTR", "TR"))
FS_BASE = 0x7654_3000
TABLE_LOADS = {
    "lgdt": TableLoad("lgdt [rbx]", GDTR, 15, POINTERS, f"mov rbx, {POINTERS}"),
    "lgdt-sib": TableLoad(
        "lgdt [r9 + rbp * 4 - 8]", GDTR, 15, POINTERS, f"mov r9, {POINTERS}\nmov ebp, 2"
    ),
    "lidt": TableLoad("lidt [rbx]", IDTR, 16, POINTERS + 16, f"mov rbx, {POINTERS + 16}"),
    "lidt-fs": TableLoad(
        "lidt fs:[rbx]", IDTR, 16, FS_BASE + 8, write_msr(0xC0000100, FS_BASE) + "\nmov ebx, 8"
    ),
    "lldt": TableLoad("lldt bx", LDTR, 17, 0x1238, "mov ebx, 0x55551238", memory=False),
    "lldt-memory": TableLoad("lldt [rbx]", LDTR, 17, SHARED + 8, f"mov ebx, {SHARED + 8}"),
    "ltr": TableLoad("ltr r9w", TR, 18, TASK, f"mov r9d, {TASK}", memory=False),
    "ltr-memory": TableLoad("ltr [rbx + 2]", TR, 18, SHARED + 10, f"mov ebx, {SHARED + 8}"),
}


@pytest.mark.parametrize("load", TABLE_LOADS.values(), ids=TABLE_LOADS)
def test_loads_of_descriptor_tables(load: TableLoad) -> None:
    length = len(assemble(load.instruction))
    run = intercept(
        1 << load.control,
        f"{load.before}\nwriting:\n{load.instruction}\nmov rax, writing\n{put('rax')}\n"
        f"str ax\nmov [{SHARED}], ax",
        handler=skip_instruction(length),
    )
    (rip,) = run.words(1)
    (told,) = intercepts(run)
    assert (told.kind, told["register_name"]) == (MessageType.REGISTER_INTERCEPT, load.name)
    assert (told["rip"], told.length) == (rip, length)
    assert told["flags"] == load.memory
    assert int.from_bytes(told["source_value"], "little") == load.source
    assert run.memory(SHARED, 1) == b"\x38"


def test_a_load_of_narrow_code_adds_the_base_of_its_segment() -> None:
    """In compatibility mode addresses wrap at 32 bits; the handler lets VTL 0 go on behind it."""
    run = intercept(
        1 << 15,
        f"""
        {compatibility_mode("narrow")}
        .code32
    narrow:
        mov ebx, {POINTERS + 0x1000}
        mov ecx, -0x1000
        .byte 0x0F, 0x01, 0x14, 0x0B  # LGDT [EBX + ECX]
        {back_to_64("wide")}
    wide:
        """,
        handler=skip_instruction(4),
    )
    (told,) = intercepts(run)
    assert (told["flags"], told.length) == (1, 4)
    assert int.from_bytes(told["source_value"], "little") == POINTERS


def test_loads_that_nobody_can_be_told_of_are_carried_out() -> None:
    """VTL 1 has neither SINT0 nor an assist page at first, and hears of loads once it has."""
    table = DATA + 0x1000
    load = f"mov rbx, {DATA}\nlgdt [rbx]\nsgdt [{SHARED}]\nmov ax, {TASK}\nmov rbx, {POINTERS}"
    run = run_vtls(
        f"""
        {vtl_call()}
        {load}
        {put_word(SHARED + 2)}
        lgdt [rbx]
        {vtl_call()}
        {load}
        {put_word(SHARED + 2)}
        """,
        f"""
        {write_msr(0x40000090, 0x10000)}
        {write_msr(0x40000073, 0)}
        {set_register(CR_INTERCEPT_CONTROL, 0xF << 15, own=1)}
        {must_succeed()}
        {vtl_return(1)}
        {write_msr(0x40000090, 0x30)}
        {handle_intercepts(skip_instruction(3))}
        """,
        memory={DATA: struct.pack("<HQ", 0x57, table), table: bytes(8) + descriptors()},
    )
    # The second time the intercept's handler leaves the load out.
    assert run.words(2) == [table, GDT]
    assert len(intercepts(run)) == 1


def descriptors() -> bytes:
    """What 64-bit code needs of a descriptor table, behind the null descriptor."""
    words = (0x00CF_9B00_0000_FFFF, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)
    return struct.pack("<3Q", *words)


def test_a_handler_refuses_with_an_exception() -> None:
    run = intercept(
        1 << 12,
        f"{catch('refused', write_msr(APIC_BASE, 0xFEE00900))}\n{put_fault()}",
        handler=set_register(PENDING_EVENT, 1 | 1 << 8 | 13 << 16, vtl=0, own=1),
    )
    assert run.words(2) == [13, 0]
