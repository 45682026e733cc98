import struct
from typing import Any

import pytest
from tests.cpu.paged import OLD, TABLE, WINDOW, look, paged, remap
from tests.cpu.rig import CODE, RAM, STACK, Rig

from hypercall.cpu.unicorn.engine import STATE_REGISTERS

PAGE = 4096
RAX, RCX, RDX, RBX = range(4)
CR0, CR3, CR4 = 0, 3, 4


@pytest.fixture
def rig() -> Rig:
    return Rig()


class TestContexts:
    def test_translations_stay_while_another_context_runs(self) -> None:
        rig = paged(2)
        assert look(rig, 0) == look(rig, 1) == 1
        remap(rig)
        assert look(rig, 0) == look(rig, 1) == look(rig, 0) == 1

    @pytest.mark.parametrize("loaded", [0, 1])
    def test_a_flush_is_for_one_context(self, loaded: int) -> None:
        rig = paged(2)
        look(rig, 0), look(rig, 1)
        remap(rig)
        rig.engine.switch(loaded)
        rig.engine.flush(1)
        assert (look(rig, 0), look(rig, 1)) == (1, 2)

    @pytest.mark.parametrize("loaded", [0, 1])
    @pytest.mark.parametrize("pages", [1, 64, 65, 1000])
    def test_a_flush_of_a_range(self, pages: int, loaded: int) -> None:
        rig = paged(2)
        look(rig, 0), look(rig, 1)
        remap(rig)
        rig.engine.switch(loaded)
        rig.engine.flush_range(1, WINDOW - (pages - 1) * PAGE, pages)
        assert (look(rig, 0), look(rig, 1)) == (1, 2)

    def test_many_ranges_of_a_context_that_does_not_run(self) -> None:
        rig = paged(2)
        look(rig, 0), look(rig, 1)
        remap(rig)
        rig.engine.switch(0)
        for number in range(100):
            rig.engine.flush_range(1, 0x100000 + number * PAGE, 1)
        rig.engine.flush_range(1, WINDOW, 1)
        assert look(rig, 1) == 2

    @pytest.mark.parametrize("loaded", [0, 1])
    def test_lists_of_ranges_for_several_contexts(self, loaded: int) -> None:
        rig = paged(2)
        look(rig, 0), look(rig, 1)
        remap(rig)
        rig.engine.switch(loaded)
        rig.engine.flush_ranges([1], ((WINDOW + 4 * PAGE, 2), (WINDOW + PAGE, 1)))
        assert (look(rig, 0), look(rig, 1)) == (1, 1), "neither names the page"
        rig.engine.switch(loaded)
        rig.engine.flush_ranges([0, 1], ((WINDOW + 4 * PAGE, 2), (WINDOW, 1)))
        assert (look(rig, 0), look(rig, 1)) == (2, 2)
        with pytest.raises(ValueError, match="too many"):
            rig.engine.flush_ranges([0], ((0, 1),) * 65)

    def test_registers_are_swapped(self) -> None:
        rig = Rig(2)
        rig.engine.set_general(0, RBX, 10)
        rig.engine.set_general(1, RBX, 20)
        for context in (0, 1, 0):
            rig.run("inc ebx", context)
        assert [rig.engine.get_general(context, RBX) for context in (0, 1)] == [12, 21]

    def test_there_are_no_others(self, rig: Rig) -> None:
        for number in (-1, 1, 99):
            with pytest.raises(IndexError):
                rig.engine.switch(number)

    def test_a_saved_context_comes_back(self, rig: Rig) -> None:
        rig.run("mov ebx, 5\nstc\nmov ecx, 7")
        saved = rig.engine.get_context(0)
        rig.run("mov ebx, 6\nclc\nmov ecx, 8")
        rig.engine.set_context(0, saved)
        assert [rig.engine.get_general(0, number) for number in (RBX, RCX)] == [5, 7]
        assert rig.engine.get_rflags(0) & 1 == 1
        with pytest.raises(ValueError, match="context"):
            rig.engine.set_context(0, saved[:-1])


class TestRegisters:
    @pytest.mark.parametrize("name", STATE_REGISTERS)
    def test_state(self, rig: Rig, name: str) -> None:
        size = STATE_REGISTERS[name][1]
        value = 0x1122334455667788 & (1 << 8 * size) - 1
        rig.engine.set_state(0, name, value)
        assert rig.engine.get_state(0, name) == value

    @pytest.mark.parametrize("flags", [0x2, 0x8D7, 0x402, 0x202, 0xC97])
    def test_flags_before_after_and_within_a_run(self, rig: Rig, flags: int) -> None:
        seen = []

        def write_port(port: int, size: int, value: int) -> None:
            seen.append(rig.engine.get_rflags(0))

        rig.replace(write_port=write_port)
        rig.engine.set_rflags(0, flags)
        rig.run("out 0x80, al\npushfd\npop ebx")
        assert seen == [flags]
        assert rig.engine.get_general(0, RBX) == flags
        assert rig.engine.get_rflags(0) == flags

    def test_flags_set_within_a_run(self, rig: Rig) -> None:
        def hypercall(*_: int) -> None:
            rig.engine.set_rflags(0, 0x403)
            rig.engine.set_rip(0, rig.engine.get_rip(0) + 3)

        rig.replace(hypercall=hypercall)
        rig.run("vmcall\npushfd\npop ebx")
        assert rig.engine.get_general(0, RBX) == 0x403

    @pytest.mark.parametrize(
        ("cr0", "efer", "code", "stack", "mode"),
        [
            (0x10, 0, 0x9B00, 0x9300, 0),
            (0x11, 0, 0xC09B00, 0xC09300, 4),
            (0x11, 0, 0xC0FB00, 0xC0F300, 7),
            (0x80000011, 0x500, 0xA09B00, 0xC09300, 12),
            (0x80000011, 0x500, 0xC09B00, 0xC09300, 4),
            (0x80000011, 0x500, 0xA0FB00, 0xC0F300, 15),
        ],
    )
    def test_the_mode(
        self, rig: Rig, cr0: int, efer: int, code: int, stack: int, mode: int
    ) -> None:
        rig.engine.set_control(0, CR0, cr0)
        rig.engine.set_state(0, "efer", efer)
        rig.engine.set_segment(0, 1, 8, 0, 0xFFFFFFFF, code)
        rig.engine.set_segment(0, 2, 16, 0, 0xFFFFFFFF, stack)
        assert rig.engine.get_mode(0) == mode

    def test_a_segment_base_counts(self, rig: Rig) -> None:
        rig.engine.set_segment(0, 4, 16, 0x30000, 0xFFFFFFFF, 0xC09300)
        rig.ram[0x30010] = 99
        rig.run(".byte 0x64, 0x8A, 0x1D, 0x10, 0, 0, 0")  # MOV BL, FS:[0x10]
        assert rig.engine.get_general(0, RBX) & 0xFF == 99
        assert rig.engine.get_segment(0, 4) == (16, 0x30000, 0xFFFFFFFF, 0xC09300)

    def test_there_is_no_further_segment(self, rig: Rig) -> None:
        with pytest.raises(IndexError):
            rig.engine.get_segment(0, 10)

    def test_a_reset_context(self, rig: Rig) -> None:
        rig.engine.reset_context(0)
        assert rig.engine.get_rip(0) == 0xFFF0
        assert rig.engine.get_segment(0, 1)[:2] == (0xF000, 0xFFFF0000)
        assert rig.engine.get_control(0, CR0) == 0x60000010
        assert rig.engine.get_mode(0) == 0
        assert rig.engine.get_rflags(0) == 2


class TestTranslation:
    def test_by_the_guests_tables(self) -> None:
        rig = paged()
        assert rig.engine.translate(0, WINDOW + 5) == OLD + 5
        assert rig.engine.translate(0, 0x1234) == 0x1234
        assert rig.engine.translate(0, WINDOW + PAGE) is None
        assert rig.engine.translate(0, 0x80000000) is None

    def test_without_paging(self, rig: Rig) -> None:
        assert rig.engine.translate(0, 0x12345678) == 0x12345678

    def test_it_marks_nothing(self) -> None:
        rig = paged()
        rig.engine.translate(0, WINDOW)
        assert rig.ram[TABLE] == 7
        look(rig)
        assert rig.ram[TABLE] == 0x27


class TestTables:
    def test_an_entry_leads_to_the_arena(self, rig: Rig) -> None:
        rig.arena[0x2000] = 55
        rig.engine.set_entries(rig.table, 0x40, 1, rig.engine.entry("arena", 0x2000, 1))
        rig.run("movzx ebx, byte ptr [0x40000]")
        assert rig.engine.get_general(0, RBX) == 55

    @pytest.mark.parametrize(
        ("access", "text", "kind"),
        [
            (1, "mov byte ptr [0x40000], 1", 1),
            (2, "mov al, [0x40000]", 0),
            (3, "mov eax, 0x40000\njmp eax", 2),
        ],
    )
    def test_a_violation(self, rig: Rig, access: int, text: str, kind: int) -> None:
        def stop(address: int, gpa: int, access: int) -> int:
            rig.exits.calls.append(("memory_violation", address, gpa, access))
            rig.engine.stop()
            return 2

        rig.replace(memory_violation=stop)
        rig.engine.set_entries(rig.table, 0x40, 1, rig.engine.entry("ram", 0x40000, access))
        rig.run(text)
        assert rig.exits.named("memory_violation") == [(0x40000, 0x40000, kind)]

    def test_a_violation_that_is_mended(self, rig: Rig) -> None:
        def mend(address: int, gpa: int, access: int) -> int:
            rig.engine.set_entries(rig.table, 0x40, 1, rig.engine.entry("ram", 0x40000, 15))
            return 0

        rig.replace(memory_violation=mend)
        rig.engine.set_entries(rig.table, 0x40, 1, rig.engine.entry("ram", 0x40000, 1))
        rig.run("mov byte ptr [0x40000], 9")
        assert rig.ram[0x40000] == 9

    def test_nothing_reads_as_ones_and_keeps_nothing(self, rig: Rig) -> None:
        page = RAM // PAGE + 3
        rig.run(f"mov dword ptr [{page * PAGE}], 5\nmov ebx, [{page * PAGE}]")
        assert rig.engine.get_general(0, RBX) == 0xFFFFFFFF
        assert rig.engine.get_entry(rig.table, page) == rig.engine.void_entry

    def test_what_lies_beyond_the_table_is_asked_for(self, rig: Rig) -> None:
        rig.run("mov ebx, [0x80000000]")
        assert rig.exits.named("resolve") == [(0x80000, rig.table)]
        assert rig.engine.get_entry(rig.table, 0x80000) is None


class TestDevices:
    @pytest.fixture
    def device(self, rig: Rig) -> int:
        address = (RAM // PAGE + 1) * PAGE
        rig.engine.set_entries(rig.table, address // PAGE, 1, rig.engine.map_device(0xFEE00000))
        return address

    def test_accesses(self, rig: Rig, device: int) -> None:
        rig.run(f"mov dword ptr [{device + 0x30}], 5\nmov bl, [{device + 0x41}]")
        assert rig.exits.named("write_device") == [(0xFEE00030, 4, 5)]
        assert rig.exits.named("read_device") == [(0xFEE00041, 1)]
        assert rig.engine.get_general(0, RBX) & 0xFF == 0x77

    @pytest.mark.parametrize("flags", [2, 0x202])
    def test_a_write_that_requests_an_interrupt_is_made_once(
        self, rig: Rig, device: int, flags: int
    ) -> None:
        def write(*call: Any) -> None:
            rig.exits.calls.append(("write_device", *call))
            rig.exits.vectors = [0x30]
            rig.engine.set_interrupt(0, True)

        rig.replace(write_device=write)
        self.handler(rig)
        rig.engine.set_rflags(0, flags)
        rig.run(f"inc ebx\nmov dword ptr [{device}], 1\ninc ebx\ninc dword ptr [0x50000]")
        assert len(rig.exits.named("write_device")) == 1
        assert rig.engine.get_general(0, RBX) == 2
        assert rig.ram[0x50000] == 1

    def handler(self, rig: Rig) -> None:
        """A table whose vector 0x30 only returns, and flat descriptors."""
        rig.ram[0x60000:0x60018] = struct.pack("<3Q", 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF)
        rig.engine.set_segment(0, 8, 0, 0x60000, 0x17, 0)
        gate = struct.pack("<HHBBH", 0x1000, 8, 0, 0x8E, 6)
        rig.ram[0x62000 + 0x180 : 0x62000 + 0x188] = gate
        rig.engine.set_segment(0, 9, 0, 0x62000, 0x7FF, 0)
        rig.code("inc esi\niretd", 0x61000)

    def test_a_write_that_stops_is_made_once(self, rig: Rig, device: int) -> None:
        def write(*call: Any) -> None:
            rig.exits.calls.append(("write_device", *call))
            rig.engine.stop()

        rig.replace(write_device=write)
        rig.code(f"mov dword ptr [{device}], 1\ninc ebx\njmp next\nnext:\ninc ebx\nhlt")
        rig.engine.limit = rig.engine.count + 1000
        rig.engine.run()
        assert rig.engine.get_general(0, RBX) == 1
        rig.engine.limit = rig.engine.count + 1000
        rig.engine.run()
        assert rig.engine.get_general(0, RBX) == 2
        assert len(rig.exits.named("write_device")) == 1

    def test_an_input_string_reads_once(self, rig: Rig) -> None:
        def read(*call: Any) -> int:
            rig.exits.calls.append(("read_port", *call))
            rig.engine.set_interrupt(0, True)
            return 0x42

        rig.replace(read_port=read)
        rig.run("mov edx, 0x60\nmov edi, 0x50000\ninsb")
        assert rig.exits.named("read_port") == [(0x60, 1)]
        assert rig.ram[0x50000] == 0x42


class TestExits:
    def test_a_hypercall_of_32_bit_code(self, rig: Rig) -> None:
        rig.run(
            "mov edx, 1\nmov eax, 2\nmov ebx, 3\nmov ecx, 4\nmov edi, 5\nmov esi, 6\nvmcall\n"
            "mov ebx, eax"
        )
        assert rig.exits.named("hypercall") == [(1 << 32 | 2, 3 << 32 | 4, 5 << 32 | 6, 4)]
        assert rig.engine.get_general(0, RBX) == 0x1234
        assert rig.engine.get_general(0, RDX) == 0

    def test_cpuid_ports_and_msrs(self, rig: Rig) -> None:
        rig.run("mov eax, 7\nmov ecx, 1\ncpuid\nin al, 0x70\nmov ecx, 0x10\nwrmsr")
        assert rig.exits.named("cpuid") == [(7, 1)]
        assert rig.exits.named("read_port") == [(0x70, 1)]
        assert rig.exits.named("write_msr") == [(0x10, 4 << 32 | 0xA5)]
        assert rig.engine.get_general(0, RBX) == 2

    @pytest.mark.parametrize("text", ["vmcall", "cpuid", "in al, 1", "wrmsr"])
    def test_what_an_exit_raises_comes_out_of_the_run(self, rig: Rig, text: str) -> None:
        def fail(*_: Any) -> Any:
            raise LookupError("on purpose")

        for name in ("hypercall", "cpuid", "read_port", "write_msr"):
            setattr(rig.exits, name, fail)
        rig.engine.attach(rig.exits)
        with pytest.raises(LookupError, match="on purpose"):
            rig.run(text)
        # The engine is whole: it runs again.
        rig.run("mov ebx, 3")
        assert rig.engine.get_general(0, RBX) == 3

    def test_a_triple_fault(self, rig: Rig) -> None:
        rig.run("ud2")
        assert rig.exits.named("triple_fault") == [()]


class TestRuns:
    def test_a_run_ends_at_its_limit(self, rig: Rig) -> None:
        rig.code("again:\ninc ebx\njmp again")
        rig.engine.limit = rig.engine.count + 300
        rig.engine.run()
        assert 100 <= rig.engine.get_general(0, RBX) <= 101
        before = rig.engine.get_general(0, RBX)
        rig.engine.limit = rig.engine.count + 300
        rig.engine.run()
        assert 99 <= rig.engine.get_general(0, RBX) - before <= 101

    def test_the_count_is_that_of_bytes(self, rig: Rig) -> None:
        before = rig.engine.count
        rig.run("nop\nnop\nnop")
        assert rig.engine.count - before == 4

    def test_a_run_without_room_executes_nothing(self, rig: Rig) -> None:
        rig.code("inc ebx\nhlt")
        rig.engine.limit = rig.engine.count
        rig.engine.run()
        assert rig.engine.get_general(0, RBX) == 0
        assert rig.engine.get_rip(0) == CODE

    def test_the_clock(self, rig: Rig) -> None:
        rig.engine.skew = 1_000_000
        assert rig.engine.time() == rig.engine.count + 1_000_000
        rig.engine.use_host_time()
        first = rig.engine.time()
        assert 1_000_000 <= first <= rig.engine.time()


class TestCode:
    def test_what_the_host_writes_runs(self, rig: Rig) -> None:
        rig.run("mov ebx, 1")
        rig.ram[CODE + 1] = 2
        rig.engine.host_wrote("ram", CODE + 1, 1)
        rig.run()
        assert rig.engine.get_general(0, RBX) == 2

    def test_written_pages(self, rig: Rig) -> None:
        rig.run("mov byte ptr [0x50000], 0\nmov al, [0x51000]\npush eax")
        written = rig.engine.written_pages()
        assert len(written) == RAM // PAGE
        assert [written[page] != 0 for page in (0x50, 0x51, CODE // PAGE)] == [True, False, True]
        assert written[(STACK - 4) // PAGE]
