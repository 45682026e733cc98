"""Clocks and timers as a guest sees them: they agree, and each timer fires when it should."""

from itertools import pairwise

import pytest
from tests.guests.assembly import (
    let_others_run,
    put,
    put_word,
    read_msr,
    spin,
    start_others,
    write_apic,
    write_msr,
)
from tests.guests.kit import run_guest
from tests.guests.layout import AP_MAIN, MESSAGES, RECOVER, RECOVER_STACK, SHARED, TSC_PAGE

REFERENCE = 0x40000020
CONFIG, COUNT = 0x400000B0, 0x400000B1
ENABLE, PERIODIC, AUTO_ENABLE, DIRECT = 1, 2, 8, 1 << 12
VECTOR = 0x66
HOOK = f"""
    jmp behind_hook
hook:
    {read_msr(REFERENCE)}
    mov rbx, {SHARED}
    mov rcx, [rbx]
    inc qword ptr [rbx]
    and ecx, 31
    mov [rbx + rcx * 8 + 8], rax
    ret
behind_hook:
    mov qword ptr [0x114000 + 8 * {VECTOR}], hook
    {write_apic(0xF0, 0x1FF)}
"""
"""Notes the reference time of each of the first interrupts."""
NOW = read_msr(REFERENCE)
SLACK = 20
"""Units of 100 ns that the entry of a handler takes at most."""
REST = "sti\nhlt\ncli"
RDTSC = "rdtsc\nshl rdx, 32\nmov eax, eax\nor rax, rdx"


def after(units: int) -> str:
    """A count so many units of 100 ns from now."""
    return f"{NOW}\nadd rax, {units}\nmov r13, rax\n{write_msr(COUNT)}"


def direct(flags: int) -> str:
    return write_msr(CONFIG, flags | DIRECT | VECTOR << 4)


class TestClocks:
    def test_the_counters_never_go_back(self) -> None:
        run = run_guest(
            f"""
            mov r14d, 200
            xor r12, r12
            mov r13d, 1
        again:
            {RDTSC}
            cmp rax, r12
            jbe backwards
            mov r12, rax
            sub r14d, 1
            jnz again
            xor r13d, r13d
        backwards:
            {put("r13")}
            """
        )
        assert run.words(1) == [0]

    def test_they_agree(self) -> None:
        """TSC at 1 GHz, the reference counter and the TSC page show one time."""
        run = run_guest(
            f"""
            {write_msr(0x40000021, TSC_PAGE | 1)}
            {spin("pass_time", 100_000)}
            {RDTSC}
            mov r12, rax
            {NOW}
            mov r13, rax
            {RDTSC}
            mov rbx, {TSC_PAGE}
            mul qword ptr [rbx + 8]
            add rdx, [rbx + 16]
            mov r14, rdx
            {read_msr(0x10)}
            {put("r12", "r13", "r14", "rax")}
            {read_msr(0x40000022)}
            {put("rax")}
            """
        )
        tsc, reference, page, msr, frequency = run.words(5)
        assert frequency == 1_000_000_000
        assert 0 <= reference - tsc // 100 <= 10
        assert 0 <= page - reference <= 10
        assert 0 <= msr - tsc < 2_000

    def test_the_sequence_of_the_page_is_valid(self) -> None:
        run = run_guest(f"{write_msr(0x40000021, TSC_PAGE | 1)}\n{put_word(TSC_PAGE)}")
        assert run.words(1)[0] & 0xFFFFFFFF == 1

    def test_rdtscp_names_the_processor(self) -> None:
        run = run_guest(f"{write_msr(0xC0000103, 77)}\nrdtscp\n{put('rcx')}")
        assert run.words(1) == [77]

    def test_a_time_stamp_counter_that_was_written(self) -> None:
        run = run_guest(
            f"{write_msr(0x10, 0x1000_0000_0000)}\n{RDTSC}\n{put('rax')}\n"
            f"{read_msr(0x3B)}\n{put('rax')}\n{write_msr(0x3B, 0)}\n{RDTSC}\n{put('rax')}"
        )
        written, adjustment, restored = run.words(3)
        assert 0x1000_0000_0000 <= written < 0x1000_0000_0000 + 1_000
        assert 0 < 0x1000_0000_0000 - adjustment < 5_000
        assert restored < 10_000


class TestSyntheticTimers:
    def test_one_shot_with_automatic_enable(self) -> None:
        run = run_guest(
            f"{HOOK}\n{direct(AUTO_ENABLE)}\n{after(5000)}\n{REST}\n{put('r13')}\n"
            f"{read_msr(CONFIG)}\n{put('rax')}"
        )
        due, config = run.words(2)
        count, taken = run.memory_words(SHARED, 2)
        assert count == 1
        assert 0 <= taken - due <= SLACK
        assert config & ENABLE == 0

    def test_one_shot_enabled_by_its_configuration(self) -> None:
        run = run_guest(f"{HOOK}\n{after(3000)}\n{direct(ENABLE)}\n{REST}\n{put('r13')}")
        assert run.interrupts() == {VECTOR: 1}
        assert 0 <= run.memory_words(SHARED + 8, 1)[0] - run.words(1)[0] <= SLACK

    def test_a_time_in_the_past(self) -> None:
        run = run_guest(f"{HOOK}\n{direct(AUTO_ENABLE)}\n{write_msr(COUNT, 1)}\n{REST}")
        assert run.interrupts() == {VECTOR: 1}

    def test_periodic(self) -> None:
        period = 2000
        run = run_guest(
            f"{HOOK}\n{write_msr(COUNT, period)}\n{direct(ENABLE | PERIODIC)}\n"
            + REST * 0
            + "\n".join([REST] * 6)
            + f"\n{write_msr(COUNT, 0)}\n{read_msr(CONFIG)}\n{put('rax')}"
        )
        count, *times = run.memory_words(SHARED, 7)
        assert count == 6
        distances = [b - a for a, b in pairwise(times)]
        assert all(abs(distance - period) <= SLACK for distance in distances)
        assert run.words(1)[0] & ENABLE == 0

    @pytest.mark.parametrize("timer", range(4))
    def test_a_message(self, timer: int) -> None:
        sint = 5
        slot = MESSAGES + 256 * sint
        run = run_guest(
            f"""
            {HOOK}
            {write_msr(0x40000080, 1)}
            {write_msr(0x40000083, MESSAGES | 1)}
            {write_msr(0x40000090 + sint, VECTOR)}
            {write_msr(CONFIG + 2 * timer, AUTO_ENABLE | sint << 16)}
            {NOW}
            add rax, 4000
            mov r13, rax
            {write_msr(COUNT + 2 * timer)}
            {REST}
            {put("r13")}
            """
        )
        header, _, index, expiration, delivery = run.memory_words(slot, 5)
        assert header & 0xFFFF_FFFF == 0x80000010
        assert header >> 32 & 0xFF == 24
        assert index == timer
        assert expiration == run.words(1)[0]
        assert 0 <= delivery - expiration <= SLACK

    def test_direct_mode_of_another_processor(self) -> None:
        run = run_guest(
            f"""
            mov qword ptr [{AP_MAIN}], application
            {HOOK}
            {start_others(1)}
            {let_others_run("settle", 20000)}
            ret
        application:
            {direct(AUTO_ENABLE)}
            {after(1000)}
            ret
            """,
            cpus=2,
        )
        assert run.interrupts(0) == {}
        assert run.interrupts(1) == {VECTOR: 1}

    def test_the_boot_processor_spins_while_another_ones_timer_fires(self) -> None:
        """A turn without PAUSE does not hold back a processor that wakes up."""
        run = run_guest(
            f"""
            mov qword ptr [{AP_MAIN}], application
            {HOOK}
            {start_others(1)}
            {spin("settle", 1_000_000)}
            ret
        application:
            {direct(AUTO_ENABLE)}
            {after(1000)}
            mov rax, {SHARED + 0x180}
            mov [rax], r13
            ret
            """,
            cpus=2,
        )
        due = run.memory_words(SHARED + 0x180, 1)[0]
        # It comes with the next turn; turns are 0.1 to 0.5 ms long.
        assert 0 <= run.memory_words(SHARED + 8, 1)[0] - due <= 10_000


class TestApicTimer:
    def test_one_shot(self) -> None:
        run = run_guest(
            f"{HOOK}\n{write_apic(0x320, VECTOR)}\n{write_apic(0x3E0, 0xB)}\n{NOW}\n{put('rax')}\n"
            f"{write_apic(0x380, 20_000)}\n{REST}"
        )
        # 20,000 ticks of 200 MHz are 100 us.
        assert run.interrupts() == {VECTOR: 1}
        assert 0 <= run.memory_words(SHARED + 8, 1)[0] - run.words(1)[0] - 1000 <= SLACK

    def test_periodic(self) -> None:
        run = run_guest(
            f"{HOOK}\n{write_apic(0x320, 0x20000 | VECTOR)}\n{write_apic(0x3E0, 0x3)}\n"
            f"{write_apic(0x380, 5_000)}\n" + "\n".join([REST] * 5)
        )
        # Divided by 16: 5,000 ticks are 400 us.
        count, *times = run.memory_words(SHARED, 6)
        assert count == 5
        assert all(abs(b - a - 4000) <= SLACK for a, b in pairwise(times))

    def test_masked(self) -> None:
        run = run_guest(
            f"{HOOK}\n{write_apic(0x320, 0x10000 | VECTOR)}\n{write_apic(0x380, 100)}\nsti\n"
            f"{spin('pass_time', 10_000)}"
        )
        assert run.interrupts() == {}

    def test_deadline(self) -> None:
        run = run_guest(
            f"{HOOK}\n{write_apic(0x320, 0x40000 | VECTOR)}\n{RDTSC}\nadd rax, 300000\n"
            f"mov r13, rax\n{write_msr(0x6E0)}\n{REST}\n{put('r13')}\n{read_msr(0x6E0)}\n"
            f"{put('rax')}"
        )
        due, rest = run.words(2)
        assert 0 <= run.memory_words(SHARED + 8, 1)[0] - due // 100 <= SLACK
        assert rest == 0

    def test_the_current_count_runs_down(self) -> None:
        look = "mov eax, 0xFEE00390\nmov eax, [rax]"
        run = run_guest(
            f"{write_apic(0x3E0, 0xB)}\n{write_apic(0x380, 1_000_000)}\n"
            f"{spin('pass_time', 10_000)}\n{look}\n{put('rax')}"
        )
        # 10,000 iterations of 5 bytes are 50 us, which are 10,000 ticks.
        assert 0 < 1_000_000 - run.words(1)[0] - 10_000 < 200


class TestRest:
    def test_time_jumps_while_everybody_rests(self) -> None:
        run = run_guest(
            f"{HOOK}\n{direct(AUTO_ENABLE)}\n{after(10_000_000)}\n{REST}",
            limit_ns=2_000_000_000,
        )
        assert run.result.virtual_ns >= 1_000_000_000
        assert run.result.executed < 10_000

    def test_a_request_that_came_before_the_rest(self) -> None:
        run = run_guest(f"{write_apic(0xF0, 0x1FF)}\n{write_apic(0x300, 0x44050)}\n{REST}")
        assert run.interrupts() == {0x50: 1}

    def test_the_idle_register_wakes_with_interrupts_disabled(self) -> None:
        run = run_guest(
            f"{HOOK}\ncli\n{direct(AUTO_ENABLE)}\n{after(3000)}\n{read_msr(0x400000F0)}\n"
            f"{NOW}\nsub rax, r13\n{put('rax')}\nsti\nnop\nnop"
        )
        assert run.words(1)[0] <= SLACK
        assert run.interrupts() == {VECTOR: 1}

    def test_an_nmi_ends_it(self) -> None:
        run = run_guest(
            f"""
            mov qword ptr [{AP_MAIN}], application
            mov qword ptr [{RECOVER}], woken
            mov [{RECOVER_STACK}], rsp
            {start_others(1)}
            cli
            hlt
        woken:
            {put_word(0x113000)}
            ret
        application:
            {spin("settle", 300_000)}
            mov eax, 0xFEE00310
            mov dword ptr [rax], 0
            {write_apic(0x300, 0x400)}
            ret
            """,
            cpus=2,
        )
        assert run.words(1) == [2]

    def test_run_time_counts_what_ran(self) -> None:
        run = run_guest(
            f"{read_msr(0x40000010)}\n{put('rax')}\n{spin('work', 100_000)}\n"
            f"{read_msr(0x40000010)}\n{put('rax')}\n"
            f"{HOOK}\n{direct(AUTO_ENABLE)}\n{after(1_000_000)}\n{REST}\n"
            f"{read_msr(0x40000010)}\n{put('rax')}"
        )
        first, second, third = run.words(3)
        assert 5_000 <= second - first < 5_010
        # The rest is no run time.
        assert third - second < 100
