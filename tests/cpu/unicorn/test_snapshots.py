"""What the engine saves, and goes back to: itself, or another engine of the same size."""

import struct
from typing import Any

import pytest
from tests.cpu.rig import CODE, RAM, Rig
from tests.cpu.unicorn.gates import gated, taken
from tests.cpu.unicorn.taken import PAGE, How, Taken, both, reset

from hypercall.cpu.unicorn.engine import STATE_REGISTERS, Engine

RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)
CR0, CR2, CR3, CR4 = 0, 2, 3, 4


def registers(engine: Engine, context: int) -> dict[str, Any]:
    """All registers of a context."""
    return {
        "general": [engine.get_general(context, number) for number in range(16)],
        "rip": engine.get_rip(context),
        "rflags": engine.get_rflags(context),
        "segments": [engine.get_segment(context, number) for number in range(10)],
        "control": [engine.get_control(context, number) for number in (CR0, CR2, CR3, CR4)],
        "xmm": engine.get_xmm(context, 0, 16),
        "x87": engine.get_x87(context),
        **{name: engine.get_state(context, name) for name in STATE_REGISTERS},
    }


def fill(engine: Engine, context: int) -> None:
    """Give every register of a context a value that no other one has."""
    seed = (context + 1) << 8
    for number in range(16):
        engine.set_general(context, number, seed << 32 | number + 1)
    engine.set_rip(context, 0x1000 * (context + 1))
    engine.set_rflags(context, 0x8D7 if context else 0x602)
    for number in range(10):
        flags = 0xC09B00 if number == 1 else 0xC09300
        engine.set_segment(context, number, 8 * number, seed << 12 | number, 0xFFFFF, flags)
    engine.set_control(context, CR4, 0x600 | context << 5)
    engine.set_control(context, CR3, 0x7000 + 0x1000 * context)
    engine.set_control(context, CR2, seed << 16)
    engine.set_control(context, CR0, 0x33)
    engine.set_xmm(context, 0, bytes((context * 16 + byte) & 0xFF for byte in range(256)))
    for number in range(8):
        engine.set_x87_register(context, number, bytes([seed >> 8, number] * 5))
    for number, name in enumerate(STATE_REGISTERS):
        if name not in ("efer", "fpu_status"):
            size = STATE_REGISTERS[name][1]
            value = (seed << 40 | seed << 8 | number + 1) & (1 << 8 * size) - 1
            engine.set_state(context, name, value)
    engine.set_state(context, "efer", 0x801)
    engine.set_state(context, "fpu_status", 0x4100)


class TestRegisters:
    @both
    @pytest.mark.parametrize("loaded", [0, 1, 2])
    def test_every_register_of_every_context(self, back: How, loaded: int) -> None:
        rig = Rig(3)
        for context in range(3):
            fill(rig.engine, context)
        rig.engine.switch(loaded)
        before = [registers(rig.engine, context) for context in range(3)]
        assert before[0] != before[1] != before[2]
        rig = back(rig, reset)
        assert rig.engine.current_context == loaded
        assert [registers(rig.engine, context) for context in range(3)] == before

    @both
    def test_flags_that_a_run_left(self, back: How) -> None:
        rig = Rig(2)
        rig.run("mov eax, 5\ncmp eax, 6\nstd")
        rig = back(rig, lambda rig: rig.run("cld\nxor eax, eax"))
        assert rig.engine.get_rflags(0) & 0xCD5 == 0x495
        rig.run("mov ebx, 0\nadc ebx, 0\nmov edi, 0x9000\nstosb")
        assert rig.engine.get_general(0, RBX) == 1
        assert rig.engine.get_general(0, RDI) == 0x8FFF

    @both
    def test_the_coprocessor_goes_on_calculating(self, back: How) -> None:
        rig = Rig(2)
        rig.engine.set_control(0, CR4, 0x600)
        rig.run("fld1\nfldpi\nmov eax, 7\ncvtsi2sd xmm3, eax")
        rig = back(rig, lambda rig: rig.run("fninit\nxorps xmm3, xmm3"))
        rig.run("faddp\nfistp dword ptr [0x9000]\ncvtsd2si ebx, xmm3")
        assert struct.unpack("<I", rig.ram[0x9000:0x9004]) == (4,)
        assert rig.engine.get_general(0, RBX) == 7

    @both
    def test_the_mode(self, back: How) -> None:
        rig = Rig(2)
        rig.engine.set_segment(1, 2, 16, 0, 0xFFFFFFFF, 0xC0F300)
        modes = [rig.engine.get_mode(context) for context in (0, 1)]
        assert modes == [4, 7]
        rig = back(rig, reset)
        assert [rig.engine.get_mode(context) for context in (0, 1)] == modes

    @both
    def test_a_vtl_sees_memory_by_a_table_of_its_own(self, back: How) -> None:
        rig = Rig(2)
        private = rig.engine.add_table(RAM // PAGE + 16)
        rig.engine.set_entries(private, 0, RAM // PAGE, rig.engine.entry("ram", 0, 15))
        rig.engine.set_entries(private, 9, 1, rig.engine.entry("ram", 0xA000, 15))
        rig.engine.set_table(1, private)
        rig.ram[0x9000], rig.ram[0xA000] = 1, 2

        def spoil(rig: Rig) -> None:
            rig.engine.set_table(1, rig.table)
            rig.engine.set_entries(private, 9, 1, rig.engine.entry("ram", 0xB000, 15))

        rig = back(rig, spoil)
        for context, seen in ((0, 1), (1, 2)):
            rig.run("movzx eax, byte ptr [0x9000]", context)
            assert rig.engine.get_general(context, RAX) == seen


class TestEvents:
    """What a processor is still to take."""

    @both
    @pytest.mark.parametrize("loaded", [0, 1])
    def test_an_interrupt(self, back: How, loaded: int) -> None:
        rig = gated()
        rig.engine.set_rflags(1, 0x202)
        rig.engine.switch(loaded)
        rig.engine.set_interrupt(1, True)

        def spoil(rig: Rig) -> None:
            rig.engine.set_interrupt(1, False)
            rig.engine.set_interrupt(0, True)

        rig = back(rig, spoil)
        rig.exits.vectors[:] = [0x20]
        rig.engine.set_rflags(0, 0x202)
        rig.run("nop\njmp next\nnext:", 0)
        assert taken(rig) == {}
        rig.run("nop\njmp next\nnext:", 1)
        assert taken(rig) == {0x20: 1}

    @both
    def test_an_exception(self, back: How) -> None:
        rig = gated()
        rig.engine.inject(1, 13, 0x55)

        def spoil(rig: Rig) -> None:
            rig.run("nop", 1)
            rig.engine.inject(0, 6, 0)

        rig = back(rig, spoil)
        assert [rig.engine.pending_injection(context) for context in (0, 1)] == [None, 13]
        stack = rig.engine.get_general(1, RSP)
        rig.run("nop", 1)
        assert taken(rig) == {13: 1}
        (code,) = struct.unpack("<I", rig.ram[stack - 16 : stack - 12])
        assert code == 0x55

    @both
    def test_a_non_maskable_interrupt(self, back: How) -> None:
        rig = gated()
        rig.engine.set_nmi(1)
        rig = back(rig, lambda rig: rig.run("nop", 1))
        assert [rig.engine.takes_nmi(context) for context in (0, 1)] == [False, True]
        rig.run("nop", 1)
        assert taken(rig) == {2: 1}

    @both
    def test_one_in_its_handler_holds_back_the_next(self, back: How) -> None:
        rig = gated()
        rig.engine.set_nmi(0)
        rig.run("nop")
        rig.engine.set_nmi(0)
        rig = back(rig, reset)
        assert taken(rig) == {2: 1}
        assert not rig.engine.takes_nmi(0)
        rig.run("nop")
        assert taken(rig) == {2: 1}

    @both
    def test_the_shadow_of_sti(self, back: How) -> None:
        rig = Rig()
        code = rig.code("sti\nnop\nnop\nhlt")
        rig.engine.set_rip(0, CODE)
        rig.engine.set_step(True)
        rig.engine.limit = 1000
        rig.engine.run()
        rig.engine.set_step(False)
        assert rig.engine.get_rip(0) == CODE + 1
        assert not rig.engine.interrupts_enabled(0)

        def spoil(rig: Rig) -> None:
            rig.engine.run()
            assert rig.engine.get_rip(0) == CODE + len(code)
            assert rig.engine.interrupts_enabled(0)

        rig = back(rig, spoil)
        assert rig.engine.get_rflags(0) & 0x200
        assert not rig.engine.interrupts_enabled(0)

    @both
    def test_a_breakpoint_of_the_guest_s_own(self, back: How) -> None:
        rig = gated()
        rig.run(f"mov eax, {CODE + 1}\nmov dr0, eax\nmov eax, 2\nmov dr7, eax")
        assert taken(rig) == {}
        rig = back(rig, lambda rig: rig.run("xor eax, eax\nmov dr7, eax"))
        rig.run("nop\nnop")
        assert taken(rig) == {1: 1}

    @both
    def test_what_exits(self, back: How) -> None:
        rig = Rig(2)
        rig.engine.intercept_writes(1, 1 << CR4, 1 << 1)
        rig.engine.trap_msr(0xC0000082, True)

        def spoil(rig: Rig) -> None:
            rig.engine.intercept_writes(1, 0, 0)
            rig.engine.trap_msr(0xC0000082, False)

        rig = back(rig, spoil)
        written: list[tuple[int, int]] = []

        def control_write(register: int, value: int) -> bool:
            written.append((register, value))
            return False

        rig.replace(control_write=control_write)
        text = """
            mov eax, 0x200
            mov cr4, eax
            mov ecx, 0xC0000082
            xor edx, edx
            wrmsr
            lidt [0x9000]
        """
        rig.run(text, 0)
        assert written == []
        assert rig.exits.named("table_write") == []
        assert rig.exits.named("write_msr") == [(0xC0000082, 0x200)]
        # The write of the table is never carried out here.
        rig.run(text, 1, 200)
        assert written == [(CR4, 0x200)]
        assert {table for table, _ in rig.exits.named("table_write")} == {"IDTR"}


class TestTime:
    @both
    def test_the_clock(self, back: How) -> None:
        rig = Rig(2)
        rig.engine.factor = 4
        rig.run("mov ecx, 50\nagain:\ndec ecx\njnz again")
        rig.engine.skew += 12_345
        expected = (rig.engine.count, rig.engine.skew, rig.engine.factor, rig.engine.time())

        def spoil(rig: Rig) -> None:
            rig.run("nop")
            rig.engine.skew += 1
            rig.engine.factor = 1

        engine = back(rig, spoil).engine
        assert (engine.count, engine.skew, engine.factor, engine.time()) == expected

    @both
    def test_the_time_stamp_counters(self, back: How) -> None:
        rig = Rig(2)
        rig.engine.skew = 1_000_000
        rig.engine.set_time_stamp_offset(1, 500_000_000)

        def spoil(rig: Rig) -> None:
            rig.engine.set_time_stamp_offset(0, 900_000_000)
            rig.engine.set_time_stamp_offset(1, 0)

        rig = back(rig, spoil)
        seen = []
        for context in (0, 1):
            rig.run("rdtsc\nshl edx, 16\nshld edx, eax, 16", context)
            seen.append(rig.engine.get_general(context, RDX) & 0xFFFFFFFF)
        assert seen[1] - seen[0] > 1000
        assert seen[0] < 1000

    @both
    def test_the_counters_of_exits(self, back: How) -> None:
        rig = Rig(2)
        rig.run("cpuid\nin al, 0x80\nout 0x80, al")
        counters = rig.engine.counters()
        rig = back(rig, lambda rig: rig.run("cpuid"))
        names = ("cpuid", "port_reads", "port_writes", "halts", "fills")
        assert {name: rig.engine.counters()[name] for name in names} == {
            name: counters[name] for name in names
        }


class TestDebugging:
    @both
    def test_a_stop_in_the_middle_of_a_block(self, back: How) -> None:
        text = "mov eax, 1\nmov ebx, 2\nmov ecx, 3\njmp next\nnext:\nmov edx, 4\nhlt"
        unbroken = Rig(2)
        unbroken.run(text)
        rig = Rig(2)
        rig.code(text + "\nhlt")
        rig.engine.set_breakpoints([CODE + 5])
        rig.engine.set_rip(0, CODE)
        rig.engine.limit = 1000
        rig.engine.run()
        position = rig.engine.position
        assert rig.engine.debug_stop == (1, 0, 0)
        assert position[1] == CODE + 5

        def spoil(rig: Rig) -> None:
            rig.engine.set_breakpoints([])
            rig.run("nop\nnop\nnop")

        rig = back(rig, spoil)
        rig.engine.set_breakpoints([])
        assert rig.engine.position == position
        rig.engine.limit = 1000
        rig.engine.run()
        assert [rig.engine.get_general(0, number) for number in (RAX, RBX, RCX, RDX)] == [
            1,
            2,
            3,
            4,
        ]
        # The rest of the block was counted with the block.
        assert rig.engine.count == unbroken.engine.count


class TestContexts:
    @both
    def test_what_runs_on(self, back: How) -> None:
        """Several processors, two of them in a second level, go on as if nothing had been."""
        text = """
            mov esi, 0x9000
            mov edi, 200
        again:
            add [esi + 4 * ebx], edi
            imul ebp, ebp, 17
            add ebp, [esi + 4 * ebx]
            dec edi
            jnz again
        """

        def made() -> Rig:
            rig = Rig(4)
            rig.code(f"{text}\nhlt")
            for context in range(4):
                rig.engine.set_general(context, RBX, context)
            return rig

        def rounds(rig: Rig, first: int, last: int) -> list[Any]:
            for number in range(first, last):
                context = number % 4
                rig.engine.switch(context)
                rig.engine.limit = rig.engine.count + 777 + 13 * number
                rig.engine.run()
                if rig.engine.get_rip(context) == CODE + length:
                    rig.engine.set_rip(context, CODE)
            contexts = [registers(rig.engine, context) for context in range(4)]
            return [contexts, rig.engine.count, bytes(rig.ram)]

        length = len(made().code(f"{text}\nhlt"))
        expected = rounds(made(), 0, 60)
        rig = made()
        rounds(rig, 0, 23)
        rig = back(rig, lambda rig: rounds(rig, 23, 40))
        assert rounds(rig, 23, 60) == expected

    def test_those_that_came_later_are_gone(self) -> None:
        rig = Rig(2)
        rig.engine.set_general(1, RBX, 9)
        taken = Taken(rig)
        rig.flat(rig.engine.add_context(rig.table))
        rig.run("mov ebx, 3", 2)
        rig = taken.again()
        assert rig.engine.current_context == 0
        with pytest.raises(IndexError):
            rig.engine.switch(2)
        assert rig.engine.get_general(1, RBX) == 9


class TestSizes:
    """What is of no engine like this one is refused."""

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("tables", []),
            ("tables", [b"\0" * 8]),
            ("pages", bytes(RAM // PAGE - 1)),
            ("stores", bytes(RAM // PAGE + 1)),
            ("msr_map", b""),
            ("statistics", b""),
            ("current", 2),
            ("current", -1),
            ("factor", 0),
        ],
    )
    def test_another_size(self, name: str, value: object) -> None:
        saved = Rig(2).engine.save() | {name: value}
        with pytest.raises(ValueError, match="another size"):
            Rig().engine.restore(saved, False)

    @pytest.mark.parametrize("name", ["state", "fields", "tlb"])
    def test_another_kind(self, name: str) -> None:
        saved = Rig(2).engine.save()
        saved["contexts"][1][name] = saved["contexts"][1][name][:-1][:64]
        with pytest.raises(ValueError, match="another kind"):
            Rig().engine.restore(saved, False)

    def test_it_can_be_restored_after_a_refusal(self) -> None:
        rig = Rig()
        rig.run("mov ebx, 5")
        with pytest.raises(ValueError, match="another size"):
            rig.engine.restore(rig.engine.save() | {"factor": 0}, True)
        assert rig.engine.get_general(0, RBX) == 5
        rig.run("inc ebx")
        assert rig.engine.get_general(0, RBX) == 6
