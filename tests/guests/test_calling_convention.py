"""Who may call, through what, and what becomes of the caller's registers and instruction."""

import struct
from collections.abc import Sequence

import pytest
from tests.guests.assembly import (
    KEPT,
    call,
    catch,
    leave,
    put,
    put_byte,
    put_fault,
    put_word,
    read_msr,
    user_mode,
    write_apic,
    write_msr,
)
from tests.guests.hypercalls import UNDEFINED_OPCODE, Caller, Row
from tests.guests.kit import Guest, assemble, run_guest
from tests.guests.layout import DATA, HYPERCALL_PAGE, INPUT, OUTPUT, SHARED
from tests.guests.narrow_code import GO_TO_16_BITS, code_16, result_16

from hypercall.partition.hypercall_page import CONTENT

GENERAL_PROTECTION = 13
ENABLE = HYPERCALL_PAGE | 1


class TestWhoMayCall:
    @pytest.mark.parametrize("control", [0x2, 0x10002, 0xBEEF, 0x11, 0x8001])
    def test_user_code_may_not(self, control: int) -> None:
        answer = Caller("user").make(Row(control)).only
        assert answer.vector == UNDEFINED_OPCODE
        assert answer.rip == HYPERCALL_PAGE

    def test_nobody_before_the_page_is_enabled(self) -> None:
        run = run_guest(f"{catch('early', 'vmcall')}\n{put_fault()}", hypercalls=False)
        assert run.words(1) == [UNDEFINED_OPCODE]

    def test_nobody_after_the_guest_has_withdrawn_its_identity(self) -> None:
        withdraw = write_msr(0x40000000, 0)
        run = run_guest(
            f"{withdraw}\n{catch('late', 'vmcall')}\n{put_fault()}\n{read_msr(0x40000001)}\n"
            f"{put('rax')}"
        )
        assert run.words(3) == [UNDEFINED_OPCODE, 0, HYPERCALL_PAGE]

    def test_real_mode_may_not(self) -> None:
        assert far_from_long_mode(real_mode=True) == UNDEFINED_OPCODE

    def test_16_bit_protected_mode_may(self) -> None:
        assert far_from_long_mode(real_mode=False) == 2

    @pytest.mark.parametrize("instruction", ["vmcall", "vmmcall"])
    def test_the_instruction_may_stand_anywhere(self, instruction: str) -> None:
        run = run_guest(f"mov ecx, 0xBEEF\n{instruction}\n{put('rax')}")
        assert run.words(1) == [2]

    @pytest.mark.parametrize("prefix", [".byte 0x66", ".byte 0xF3", ".byte 0xF2", "lock"])
    def test_a_prefix_makes_it_undefined(self, prefix: str) -> None:
        run = run_guest(f"mov ecx, 0xBEEF\n{catch('odd', f'{prefix}{chr(10)}vmcall')}{put_fault()}")
        assert run.words(1) == [UNDEFINED_OPCODE]

    def test_an_instruction_across_two_pages(self) -> None:
        code = assemble("mov ecx, 0xBEEF\nvmcall\nret", DATA)
        start = DATA + 0x1000 - code.index(b"\x0f\x01\xc1") - 1
        text = f"mov eax, {start}\ncall rax\n{put('rax')}"
        assert run_guest(text, memory={start: code}).words(1) == [2]


def far_from_long_mode(*, real_mode: bool) -> int:
    """Leave long mode for 16-bit code, make an unknown call; returns the vector or the result."""
    call = "mov eax, 0xBEEF\nxor edx, edx\nvmcall"
    return result_16(run_guest(GO_TO_16_BITS, memory=code_16(call, real_mode=real_mode)))


class TestRegisters:
    @pytest.mark.parametrize("control", [0xBEEF, 0x2, 0x1000B, 0x8001, 0x18001])
    def test_a_64_bit_call_changes_the_result_alone(self, control: int) -> None:
        xmm = tuple(range(100, 112))
        row = Row(control, (0, 3, 0), xmm=xmm)
        if control == 0x1000B:
            row = Row(control, input=0xFE, output=0, xmm=xmm)
        answer = Caller().make(row).only
        expected = KEPT | {"rcx": control, "rdx": row.input, "r8": row.output}
        if control == 0x18001:
            expected |= {"rdx": answer.registers["rdx"], "r8": 0}
        assert {name: answer.registers[name] for name in expected} == expected
        assert answer.xmm == struct.pack("<12Q", *xmm)
        assert answer.flags & ~0x8D5 == 2

    def test_a_32_bit_call_changes_edx_and_eax_alone(self) -> None:
        answer = Caller("32").make(Row(0x1_0000_0003, (0, 3, 0, 0x400000))).only
        assert answer.result == 0x1_0000_0000
        names = ("rcx", "rbx", "rsi", "rdi", "rbp")
        values = (INPUT, 0, OUTPUT, 0, HYPERCALL_PAGE)
        assert tuple(answer.registers[name] for name in names) == values

    def test_flags_survive_a_call(self) -> None:
        carry = "stc\nstd\nmov ecx, 0xBEEF\nmov eax, 0x200000\ncall rax\npushfq\npop rax\ncld\n"
        run = run_guest(carry + put("rax"))
        assert run.words(1)[0] & 0x401 == 0x401

    def test_output_starts_in_the_first_free_register_pair(self) -> None:
        """Case B017: 20 bytes of input, so that output begins at XMM1."""
        # One APIC id: a header of 16 bytes, an element of 4.
        xmm = (0, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)
        row = Row(0x1_0001_009A, input=2**64 - 1, output=0, xmm=xmm)
        answer = Caller().make(row).only
        assert answer.result == 0x1_0000_0000
        assert struct.unpack("<12Q", answer.xmm) == (0, 7, 0, 0, *xmm[4:])

    def test_the_size_of_the_register_form(self) -> None:
        """Cases A022 and A023, with a header of 16 bytes and 4 bytes each way."""
        # 11 elements: 60 bytes in four pairs, and 44 bytes in three: seven pairs are too few
        # for the next step, in which either side takes one more.
        most, more = (
            Caller()
            .make(
                Row(0xB_0001_009A, input=2**64 - 1, output=0),
                Row(0xD_0001_009A, input=2**64 - 1, output=0),
            )
            .answers
        )
        assert most.result == 0xB_0000_0000
        assert more.result == 3


class TestPage:
    def test_its_content_hides_memory_and_gives_it_back(self) -> None:
        run = run_guest(
            f"""
            {put_word(HYPERCALL_PAGE)}
            {write_msr(0x40000000, 1 << 63)}
            {write_msr(0x40000001, ENABLE)}
            {put_word(HYPERCALL_PAGE)}
            {write_msr(0x40000001, HYPERCALL_PAGE)}
            {put_word(HYPERCALL_PAGE)}
            {write_msr(0x40000001, ENABLE + 0x1000)}
            {put_word(HYPERCALL_PAGE)}
            {put_word(HYPERCALL_PAGE + 0x1000)}
            """,
            hypercalls=False,
            memory={HYPERCALL_PAGE: struct.pack("<Q", 0x1234)},
        )
        code = int.from_bytes(CONTENT[:8], "little")
        assert run.words(5) == [0x1234, code, 0x1234, 0x1234, code]

    def test_a_write_to_it_is_refused(self) -> None:
        run = run_guest(
            f"{catch('store', f'mov byte ptr [{HYPERCALL_PAGE + 5}], 1')}\n{put_fault()}\n"
            f"{put_byte(HYPERCALL_PAGE + 5)}\n{write_msr(0x40000001, 0)}\n"
            f"{put_byte(HYPERCALL_PAGE + 5)}"
        )
        assert run.words(4) == [GENERAL_PROTECTION, 0, CONTENT[5], 0]

    def test_calls_may_come_from_elsewhere_while_it_is_enabled(self) -> None:
        run = run_guest(f"mov ecx, 0xBEEF\nvmcall\n{put('rax')}")
        assert run.words(1) == [2]

    def test_a_page_moved_under_running_code(self) -> None:
        # The old place is called until the very moment that it is moved away.
        run = run_guest(
            f"{call(0xBEEF)}\n{put('rax')}\n{write_msr(0x40000001, ENABLE + 0x1000)}\n"
            f"mov ecx, 0xBEEF\nmov eax, {HYPERCALL_PAGE + 0x1000}\ncall rax\n{put('rax')}\n"
            f"{put_byte(HYPERCALL_PAGE)}"
        )
        assert run.words(3) == [2, 2, 0]

    def test_it_cannot_be_parameters_output(self) -> None:
        answer = Caller().make(Row(0x8001, output=HYPERCALL_PAGE)).only
        assert answer.status == 3

    def test_a_locked_register(self) -> None:
        """Case B013."""
        run = run_guest(
            f"{write_msr(0x40000001, ENABLE | 2)}\n"
            f"{catch('locked', write_msr(0x40000001, 0))}\n{put_fault()}\n"
            f"{read_msr(0x40000001)}\n{put('rax')}"
        )
        assert run.words(3) == [GENERAL_PROTECTION, 0, ENABLE | 2]

    def test_it_needs_an_identity(self) -> None:
        """Case B010."""
        run = run_guest(
            f"{write_msr(0x40000001, ENABLE)}\n{read_msr(0x40000001)}\n{put('rax')}",
            hypercalls=False,
        )
        assert run.words(1) == [HYPERCALL_PAGE]


class TestContinuation:
    """A rep call that takes longer than its budget goes back to the guest in between."""

    # A timer of 20 us interrupts the call; what its handler sees of the call is in RCX and RIP.
    HOOK = """
        jmp behind_hook
    hook:
        mov rbx, 0x113110
        mov rdx, [rsp + 16]
        mov [rbx], rdx
        mov rdx, [rsp + 56]
        mov [rbx + 8], rdx
        ret
    behind_hook:
    """

    @pytest.mark.parametrize("mode", ["64", "32"])
    @pytest.mark.parametrize("budget", [1, 7, 64, 512])
    def test_the_result_is_that_of_the_whole(self, mode: str, budget: int) -> None:
        count = 200
        ids = [0] * (count // 2)
        caller = Caller(mode)
        row = Row(count << 32 | 0x9A, (-1, 0, *ids))
        calls = caller.make(row, rep_budget=budget)
        assert calls.only.result == count << 32
        entries = -(-count // budget)
        assert calls.run.result.exits["hypercalls"] == entries

    def test_the_start_index_advances_and_the_instruction_stays(self) -> None:
        records: list[tuple[int, int | None, bool]] = []
        caller = Caller()
        count = 10
        words = (-1, 0, *[0] * 5)
        run_with_records(caller, Row(count << 32 | 0x9A, words), 4, records)
        first = count << 32 | 0x9A
        assert [record[0] for record in records] == [first, first | 4 << 48, first | 8 << 48]
        assert [record[2] for record in records] == [True, True, False]
        assert records[-1][1] == count << 32

    def test_output_in_registers_grows_over_the_entries(self) -> None:
        row = Row(0x5_0001_009A, input=2**64 - 1, output=0, xmm=(1 << 32, 3 << 32 | 2, 1))
        caller = Caller(cpus=4, configuration={"shuffle_vp_index": 4})
        whole = caller.make(row).only
        parts = caller.make(row, rep_budget=1).only
        assert whole.result == parts.result == 0x5_0000_0000
        assert whole.xmm == parts.xmm

    def test_an_error_in_a_later_part_counts_all_reps(self) -> None:
        words: Sequence[int] = (-1, 0, 0, 0, 0, 0xDEAD << 32)
        calls = Caller().make(Row(8 << 32 | 0x9A, words), rep_budget=3)
        assert (calls.only.status, calls.only.reps) == (5, 7)

    def test_an_interrupt_is_taken_in_between(self) -> None:
        count = 100
        words = struct.pack("<2Q", 2**64 - 1, 0) + bytes(4 * count)
        text = f"""
            {self.HOOK}
            mov qword ptr [0x114000 + 8 * 0x60], hook
            {write_apic(0xF0, 0x1FF)}
            {write_apic(0x320, 0x60)}
            {write_apic(0x3E0, 0xB)}
            sti
            mov r14, 1000
        until_interrupted:
            {write_apic(0x380, 30)}
            {call(count << 32 | 0x9A, INPUT, OUTPUT)}
            {put("rax")}
            mov r15, 0x1E0000
            sub r14, 1
            jz never
            mov rbx, 0x113110
            mov rdx, [rbx + 8]
            mov edx, edx
            cmp rdx, {HYPERCALL_PAGE}
            jne until_interrupted
            mov rdx, [rbx]
            shr rdx, 48
            jz until_interrupted
            ret
        never:
            {leave(1)}
        """
        guest = Guest(text, memory={INPUT: words}).machine()
        guest.dispatcher.rep_budget = 1
        result = guest.run(1_000_000_000)
        assert result.exit_code == 0
        memory = guest.partition.memory
        assert memory.read_u64(0x1E0000) == count << 32
        control, rip = memory.read_u64(0x113110), memory.read_u64(0x113118)
        assert rip == HYPERCALL_PAGE
        assert 0 < control >> 48 < count
        assert control & (1 << 44) - 1 == count << 32 | 0x9A


def run_with_records(
    caller: Caller, row: Row, budget: int, records: list[tuple[int, int | None, bool]]
) -> None:
    """Make a call and note control word, result and continuation of each of its entries."""
    text = f"{call(row.control, row.input, row.output)}\n{put('rax')}"
    data = struct.pack(f"<{len(row.words)}Q", *(word % (1 << 64) for word in row.words))
    machine = Guest(text, memory={row.input: data}).machine()
    machine.dispatcher.rep_budget = budget
    machine.trace.subscribe(
        lambda event: (
            records.append((event.record.control, event.record.result, event.record.continued))
            if hasattr(event, "record")
            else None
        )
    )
    machine.run(100_000_000)
    assert caller.mode == "64"


def test_user_mode_and_back() -> None:
    """The kit's way to user mode, without which a test of user calls shows nothing."""
    run = run_guest(
        f"""
        {
            catch(
                "came_back",
                user_mode("in_user_mode")
                + "in_user_mode:"
                + chr(10)
                + "mov ax, cs"
                + chr(10)
                + f"mov [{SHARED}], ax"
                + chr(10)
                + "hlt",
            )
        }
        {put_fault()}
        {put_word(SHARED)}
        """
    )
    assert run.words(3) == [GENERAL_PROTECTION, 0, 0x33]
