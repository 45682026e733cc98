"""Guests that mean no good: the host process must neither crash, hang nor grow, nor raise."""

import os
import random
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tests.guests.assembly import (
    call,
    catch,
    leave,
    put,
    put_word,
    start_others,
    write_apic,
    write_msr,
)
from tests.guests.kit import run_guest
from tests.guests.layout import (
    DATA,
    FAULT,
    FAULT_COUNT,
    HYPERCALL_PAGE,
    IDENTITY_TABLES,
    INPUT,
    LOCAL_APIC,
    RECOVER,
    RECOVER_STACK,
    SHARED,
)
from tests.guests.random_code import INSTRUCTIONS, MODES

from hypercall.machine.result import StopReason

ROOT = Path(__file__).parents[2]
HOLE = 0xC000_0000
SECOND = 1_000_000_000
# xorshift64: R14 is the state, and the result is in R14 and RAX.
NEXT_RANDOM = """
    mov rax, r14
    shl rax, 13
    xor r14, rax
    mov rax, r14
    shr rax, 7
    xor r14, rax
    mov rax, r14
    shl rax, 17
    xor r14, rax
    mov rax, r14
"""


@pytest.mark.parametrize("mode", MODES)
def test_random_bytes_as_code(mode: str) -> None:
    count = {"user": 15, "real": 8, "repeated": 20}.get(mode, 40)
    in_a_process(mode, count)


def test_one_instruction_a_thousand_times_in_a_row() -> None:
    """Blocks of code as long as they get: the engine has room for what each instruction needs."""
    in_a_process("instructions", len(INSTRUCTIONS))


def in_a_process(mode: str, count: int) -> None:
    """The last seed that it printed is the one that crashed it."""
    command = [sys.executable, "-m", "tests.guests.random_code", mode, "0", str(count)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment, check=False
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 0, f"{lines[-1:]} {result.stderr[-500:]}"
    assert len(lines) == count


def test_a_null_task_register() -> None:
    """The next change to the kernel's stack finds no task segment."""
    run = run_guest(
        """
        xor eax, eax
        ltr ax
        push 0x2B
        lea rax, [rsp]
        push rax
        push 2
        push 0x33
        lea rax, [rip + user]
        push rax
        iretq
    user:
        int 0x30
        """,
        expect=None,
    )
    assert run.result.reason is StopReason.TRIPLE_FAULT


CODES = (0x02, 0x03, 0x08, 0x0B, 0x13, 0x14, 0x15, 0x50, 0x51, 0x5C, 0x5D, 0x99, 0x9A, 0x8001)
CODES_TABLE = DATA + 0x10000


@pytest.mark.parametrize("cpus", [1, 2])
def test_random_calls(cpus: int) -> None:
    """Random control words, a half of them with real codes, and random parameters."""
    calls = 100_000 // cpus
    # 16 codes; 0x8002 is left out for its time, and 0x51 writes only what a call may write.
    table = struct.pack("<16H", *CODES, 0x11, 0x12)
    pages = random.Random(cpus).randbytes(8192)
    run = run_guest(
        f"""
        mov qword ptr [{RECOVER}], went_wrong
        mov [{RECOVER_STACK}], rsp
        mov r14, 0x1234567
        mov r13d, {calls}
    again:
        {NEXT_RANDOM}
        mov rcx, rax
        test eax, 0x10000000
        jz any_code
        shr rax, 33
        and eax, 15
        movzx eax, word ptr [rax * 2 + {CODES_TABLE}]
        mov cx, ax
        movabs rax, 0x00030007061FFFFF
        and rcx, rax
    any_code:
        {NEXT_RANDOM}
        mov rdx, rax
        {NEXT_RANDOM}
        mov r8, rax
        test eax, 0x40000000
        jz any_address
        and edx, 0xFF8
        add edx, {INPUT}
        and r8d, 0xFF8
        add r8d, {DATA + 0x20000}
    any_address:
        movq xmm0, rax
        movq xmm1, rdx
        mov eax, {HYPERCALL_PAGE}
        call rax
    went_wrong:
        sub r13d, 1
        jnz again
        {put("r13")}
        """,
        cpus=cpus,
        memory={CODES_TABLE: table, INPUT: pages},
        expect=None,
        limit_ns=5 * SECOND,
    )
    # A random write of a register may take the guest anywhere; the machine stays whole.
    assert run.result.reason in set(StopReason)
    calls_made = run.result.exits["hypercalls"]
    assert calls_made > 0
    run.machine.partition.memory.read(0, 4096)


def test_random_calls_without_register_writes_all_come_back() -> None:
    codes = [code for code in CODES if code not in (0x51, 0x99)]
    table = struct.pack("<16H", *codes, 0x11, 0x12, 0x8003, 0x69)
    run = run_guest(
        f"""
        mov qword ptr [{RECOVER}], went_on
        mov [{RECOVER_STACK}], rsp
        mov r14, 0x7654321
        mov r13d, 100000
    again:
        {NEXT_RANDOM}
        mov rcx, rax
        mov rdx, rax
        shr rax, 33
        and eax, 15
        movzx eax, word ptr [rax * 2 + {CODES_TABLE}]
        mov cx, ax
        {NEXT_RANDOM}
        mov rbx, rax
        movabs rax, 0x000100010021FFFF
        and rcx, rax
        mov rdx, rbx
        mov r8, r14
        test ebx, 0x40000000
        jz any_address
        and edx, 0xFF8
        add edx, {INPUT}
        and r8d, 0xFF8
        add r8d, {DATA + 0x20000}
    any_address:
        mov eax, {HYPERCALL_PAGE}
        call rax
    went_on:
        sub r13d, 1
        jnz again
        """,
        memory={CODES_TABLE: table, INPUT: random.Random(0).randbytes(8192)},
        limit_ns=5 * SECOND,
    )
    assert run.result.exits["hypercalls"] + run.memory_words(FAULT_COUNT, 1)[0] >= 100_000


MSR_RANGES = {
    "synthetic": range(0x40000000, 0x40000200),
    "architectural": range(0x2000),
    "extended": range(0xC0000000, 0xC0000200),
}
# What ends the run or the guest's own world: reset, crash, the interrupt command, rest until an
# interrupt, long mode, the APIC's base.
_SKIPPED = (0x40000003, 0x40000105, 0x40000071, 0x400000F0, 0xC0000080, 0x1B)


@pytest.mark.parametrize("name", MSR_RANGES)
@pytest.mark.parametrize("value", [0, 1, 0x0123456789ABCDEF, 2**64 - 1])
def test_every_msr_written_and_read(name: str, value: int) -> None:
    numbers = MSR_RANGES[name]
    skip = "\n".join(f"cmp r13d, {index}\nje next" for index in _SKIPPED)
    run = run_guest(
        f"""
        mov r13d, {numbers.start}
    again:
        {skip}
        mov ecx, r13d
        movabs rax, {value}
        mov rdx, rax
        shr rdx, 32
        {catch("refused_write", "wrmsr")}
        mov ecx, r13d
        {catch("refused_read", "rdmsr")}
    next:
        inc r13d
        cmp r13d, {numbers.stop}
        jb again
        {put("r13")}
        """,
        expect=None,
        limit_ns=SECOND,
    )
    assert run.result.reason is StopReason.DEBUG_EXIT
    assert run.words(1) == [numbers.stop]
    exits = run.result.exits
    # Some are the processor's own and no exit.
    assert exits["msr_writes"] + exits["msr_reads"] >= len(numbers)


def test_unknown_msrs_are_protection_faults() -> None:
    run = run_guest(
        f"mov r13d, 0x400000C0\nagain:\nmov ecx, r13d\n{catch('refused', 'rdmsr')}\n"
        f"inc r13d\ncmp r13d, 0x400000C8\njb again\n{put_word(FAULT_COUNT)}"
    )
    assert run.words(1) == [8]


@pytest.mark.parametrize("seed", range(4))
def test_random_interrupt_commands(seed: int) -> None:
    """Random vectors, delivery modes, shorthands and destinations, from all processors."""
    run = run_guest(
        f"""
        mov qword ptr [{RECOVER}], 0
        {start_others(3)}
        sti
        mov r14, {0x1234567 + seed}
        mov r13d, 3000
    again:
        {NEXT_RANDOM}
        mov ebx, {LOCAL_APIC + 0x310}
        mov [rbx], eax
        shr rax, 20
        mov ebx, {LOCAL_APIC + 0x300}
        mov [rbx], eax
        sub r13d, 1
        jnz again
        """,
        cpus=4,
        expect=None,
    )
    assert run.result.reason in (
        StopReason.DEBUG_EXIT,
        StopReason.TRIPLE_FAULT,
        StopReason.DEADLOCK,
        StopReason.LIMIT,
    )


def resident_bytes() -> int:
    with open("/proc/self/statm") as statistics:
        return int(statistics.read().split()[1]) * resource.getpagesize()


def test_a_flood_of_messages_does_not_grow_the_host() -> None:
    create = "mov eax, 0x10040003\nmov dx, 0x3000\nout dx, eax"
    synic = "\n".join(
        (write_msr(0x40000080, 1), write_msr(0x40000083, 0x230001), write_msr(0x40000093, 0x73))
    )
    message = struct.pack("<3Q", 0x10, 8 << 32 | 1, 0)

    def flood(count: int) -> int:
        run = run_guest(
            f"{synic}\n{create}\nmov r13d, {count}\nagain:\n{call(0x5C, INPUT)}\n"
            f"sub r13d, 1\njnz again\n{put('rax')}",
            memory={INPUT: message},
            limit_ns=10 * SECOND,
        )
        assert run.words(1) == [0x13]
        assert run.result.exits["hypercalls"] == count
        return resident_bytes()

    first = flood(1_000)
    assert flood(1_000_000) - first < 8 << 20


class TestEnds:
    """One guest for each way in which a run can end badly."""

    @pytest.mark.parametrize("target", [HOLE, 0x7FFF_FFFF_F000, LOCAL_APIC, 0xFFFF_FFFF_0000_0000])
    def test_a_jump_to_nowhere(self, target: int) -> None:
        run = run_guest(f"{catch('came_back', f'movabs rax, {target}{chr(10)}jmp rax')}")
        vector, _, rip = run.memory_words(FAULT, 3)
        assert vector in (6, 14)
        assert rip == target

    def test_a_jump_to_nowhere_without_handlers(self) -> None:
        text = f"lidt [{DATA}]\nmov eax, {HOLE}\njmp rax"
        run_guest(text, expect=StopReason.TRIPLE_FAULT)

    def test_an_endless_loop(self) -> None:
        run = run_guest("forever:\njmp forever", expect=StopReason.LIMIT, limit_ns=50_000_000)
        assert run.result.virtual_ns - 50_000_000 < 1_000

    def test_an_endless_loop_of_all_processors(self) -> None:
        text = f"mov qword ptr [0x113050], forever\n{start_others(3)}\nforever:\njmp forever"
        run_guest(text, cpus=4, expect=StopReason.LIMIT, limit_ns=50_000_000)

    def test_a_halt_that_nothing_ends(self) -> None:
        run_guest("cli\nhlt", expect=StopReason.DEADLOCK)

    def test_a_loop_of_exceptions(self) -> None:
        text = f"mov qword ptr [{RECOVER}], again\nmov [{RECOVER_STACK}], rsp\nagain:\nud2"
        run_guest(text, expect=StopReason.LIMIT, limit_ns=2_000_000)

    def test_a_stack_in_a_hole(self) -> None:
        # What is pushed there is lost, and reads as ones.
        run = run_guest(f"mov rsp, {HOLE}\nud2", expect=None)
        assert (run.result.reason, run.result.exit_code) == (StopReason.DEBUG_EXIT, 0xFFFFFFFF)

    def test_a_descriptor_table_in_a_hole(self) -> None:
        pointer = struct.pack("<HQ", 0xFFF, HOLE)
        run_guest(f"lidt [{DATA}]\nud2", expect=StopReason.TRIPLE_FAULT, memory={DATA: pointer})

    @pytest.mark.parametrize(
        "root",
        [HOLE, 0xFF_FFFF_F000, HYPERCALL_PAGE, LOCAL_APIC, DATA, 0x100_0000_0000_0000 - 0x1000],
        ids=["hole", "far", "overlay", "device", "zeros", "beyond"],
    )
    def test_page_tables_that_are_none(self, root: int) -> None:
        run = run_guest(f"movabs rax, {root}\nmov cr3, rax\n{leave(0)}", expect=None)
        assert run.result.reason in (StopReason.TRIPLE_FAULT, StopReason.DEBUG_EXIT)

    def test_page_tables_of_device_and_overlay_pages(self) -> None:
        entries = (HOLE, LOCAL_APIC, HYPERCALL_PAGE, 0xFF_FFFF_F000)
        text = "\n".join(
            f"mov rbx, {IDENTITY_TABLES + 8 + 8 * n}\nmovabs rax, {page | 7}\nmov [rbx], rax\n"
            + catch(f"access_{n}", f"movabs rax, {(n + 1) << 39}\nmov [rax], rax")
            for n, page in enumerate(entries)
        )
        run = run_guest(f"{text}\n{put_word(FAULT_COUNT)}")
        assert run.words(1)[0] >= 3

    def test_page_tables_that_name_themselves(self) -> None:
        """Stores through such a mapping change the tables that translate them."""
        text = f"mov rbx, {IDENTITY_TABLES + 8}\nmov eax, {IDENTITY_TABLES | 7}\nmov [rbx], rax\n"
        own = 1 << 39 | 1 << 30 | 1 << 21 | 1 << 12
        text += catch("gone", f"movabs rdi, {own + 16}\nmov ecx, 510\nmov rax, 0x55AA\nrep stosq")
        run_guest(text)

    def test_garbage_as_descriptor_table(self) -> None:
        table = random.Random(1).randbytes(4096)
        pointer = struct.pack("<HQ", 0xFFF, DATA + 0x1000)
        loads = "\n".join(
            catch(f"load_{n}", f"mov ax, {selector}\nmov ds, ax")
            for n, selector in enumerate(range(8, 256, 8))
        )
        run = run_guest(
            f"lgdt [{DATA}]\n{loads}\n{leave(0)}",
            memory={DATA: pointer, DATA + 0x1000: table},
            expect=None,
        )
        assert run.result.reason in (StopReason.TRIPLE_FAULT, StopReason.DEBUG_EXIT)

    def test_a_hypercall_page_over_everything_that_runs(self) -> None:
        """The overlay hides the code that puts it there."""
        run = run_guest(write_msr(0x40000001, 0x100001) + f"\n{leave(0)}", expect=None)
        assert run.result.reason in set(StopReason)

    @pytest.mark.parametrize("page", [0x0, 0x110000, 0x83000, 0xFEE00000, 0xFF_FFFF_F000])
    def test_overlays_anywhere(self, page: int) -> None:
        text = "\n".join(write_msr(index, page | 1) for index in (0x40000082, 0x40000073))
        run = run_guest(text, expect=None)
        assert run.result.reason in (StopReason.DEBUG_EXIT, StopReason.TRIPLE_FAULT)

    def test_an_initialisation_of_oneself(self) -> None:
        run = run_guest(f"{write_apic(0x300, 0x44500)}\n{leave(0)}", expect=None)
        assert run.result.reason in set(StopReason)

    def test_processors_that_initialise_each_other(self) -> None:
        text = f"""
            mov qword ptr [0x113050], fight
            {start_others(1)}
        fight:
            {write_apic(0x300, 0xC4500)}
            {write_apic(0x300, 0xC4608)}
            inc qword ptr [{SHARED}]
            jmp fight
        """
        run = run_guest(text, cpus=2, expect=None, limit_ns=1_000_000)
        assert run.result.reason in (StopReason.LIMIT, StopReason.TRIPLE_FAULT)
        assert run.memory_words(SHARED, 1)[0] > 0
