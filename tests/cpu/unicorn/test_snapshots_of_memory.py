"""What the engine saves of translations, and goes back to; and memory that is put back."""

import pytest
from tests.cpu.paged import NEW, WINDOW, look, paged, remap
from tests.cpu.rig import ARENA, CODE, RAM, Rig
from tests.cpu.unicorn.taken import DEVICE, PAGE, How, Taken, both

RAX, RBX = 0, 3


class TestTranslations:
    @both
    @pytest.mark.parametrize("loaded", [0, 1])
    def test_stale_ones_are_still_there(self, back: How, loaded: int) -> None:
        rig = paged(2)
        assert (look(rig, 0), look(rig, 1)) == (1, 1)
        remap(rig, NEW)
        rig.engine.flush(1)
        assert look(rig, 1) == 2
        rig.engine.switch(loaded)

        def spoil(rig: Rig) -> None:
            rig.engine.flush(0)
            rig.engine.flush(1)
            assert (look(rig, 0), look(rig, 1)) == (2, 2)

        rig = back(rig, spoil)
        assert (look(rig, 0), look(rig, 1)) == (1, 2)

    def test_again_and_again(self) -> None:
        rig = paged(2)
        taken = Taken(rig)
        for _ in range(20):
            assert look(taken.again(), 1) == 1
            remap(rig, NEW)
            assert look(rig, 0) == 2

    @both
    def test_those_that_others_have_pushed_aside(self, back: How) -> None:
        # Two pages that have one place in the table between them, which has 256.
        rig = paged(2, 257)
        text = f"""
            movzx eax, byte ptr [{WINDOW}]
            movzx ebx, byte ptr [{WINDOW + 256 * PAGE}]
        """
        rig.run(text)
        remap(rig, NEW, 257)
        rig = back(rig, lambda rig: rig.engine.flush(0))
        rig.run(text)
        assert [rig.engine.get_general(0, number) for number in (RAX, RBX)] == [1, 1]

    @both
    @pytest.mark.parametrize("whole", [False, True])
    def test_a_flush_of_a_context_that_did_not_run_is_still_to_come(
        self, back: How, whole: bool
    ) -> None:
        rig = paged(3)
        assert [look(rig, context) for context in (1, 2, 0)] == [1, 1, 1]
        remap(rig, NEW)
        if whole:
            rig.engine.flush(1)
        else:
            rig.engine.flush_range(1, WINDOW, 1)
        rig = back(rig, lambda rig: rig.engine.flush(2))
        assert [look(rig, context) for context in (0, 1, 2)] == [1, 2, 1]

    @both
    def test_a_table_that_has_grown(self, back: How) -> None:
        pages = 1000
        rig = paged(2, pages)
        read = f"""
            mov esi, {WINDOW}
            mov ecx, {pages}
            xor ebx, ebx
        next:
            movzx eax, byte ptr [esi]
            add ebx, eax
            add esi, 4096
            dec ecx
            jnz next
        """
        # The library makes its tables larger when it flushes ones that were full.
        for _ in range(4):
            rig.run(read)
            rig.engine.flush(0)
        rig.run(read)
        fills = rig.engine.counters()["fills"]
        remap(rig, NEW, pages)

        def spoil(rig: Rig) -> None:
            for _ in range(4):
                rig.engine.flush(0)
                rig.run("nop")

        rig = back(rig, spoil)
        rig.run(read)
        stale = 2 * pages - rig.engine.get_general(0, RBX)
        assert stale > pages // 2
        assert rig.engine.counters()["fills"] - fills <= pages - stale + 8

    @both
    def test_those_of_overlay_pages(self, back: How) -> None:
        rig = Rig(2)
        rig.engine.set_entries(rig.table, 9, 1, rig.engine.entry("arena", 0x3000, 15))
        rig.arena[0x3000] = 5
        text = "movzx eax, byte ptr [0x9000]\nmov byte ptr [0x9001], 7"
        rig.run(text)
        rig = back(rig, lambda rig: rig.engine.flush(0))
        # Only who has the translation still can find the page.
        rig.engine.set_entries(rig.table, 9, 1, 0)
        rig.arena[0x3000:0x3002] = b"\x06\0"
        rig.run(text)
        assert rig.engine.get_general(0, RAX) == 6
        assert rig.arena[0x3000:0x3002] == b"\6\7"
        assert rig.exits.named("resolve") == []

    @both
    def test_those_of_devices(self, back: How) -> None:
        rig = Rig(2)
        rig.engine.set_entries(rig.table, DEVICE // PAGE, 1, rig.engine.map_device(DEVICE))
        rig.run(f"mov eax, [{DEVICE + 0x10}]")
        rig = back(rig, lambda rig: rig.engine.flush(0))
        rig.exits.calls.clear()
        rig.run()
        assert rig.exits.named("read_device") == [(DEVICE + 0x10, 4)]
        assert rig.engine.get_general(0, RAX) == 0x77

    @both
    def test_code_and_what_was_translated_from_it(self, back: How) -> None:
        rig = Rig(2)
        rig.run("mov ebx, 5")
        rig = back(rig, lambda rig: rig.run("mov ebx, 6"))
        rig.engine.set_general(0, RBX, 0)
        rig.run()
        assert rig.engine.get_general(0, RBX) == 5
        # The page has code still, so that a store to it is noticed.
        rig.run("mov byte ptr [behind + 1], 9\njmp behind\nbehind:\nmov ebx, 8")
        assert rig.engine.get_general(0, RBX) == 9

    @both
    def test_stores_to_a_page_of_code_are_counted_on(self, back: How) -> None:
        def stores(rig: Rig, most: int) -> int:
            """Store until the page is taken for data, and return how often that took."""
            for number in range(most):
                if rig.engine.counters()["code_pages_rewritten"]:
                    return number
                rig.engine.set_rip(0, CODE)
                rig.engine.limit = rig.engine.count + 100
                rig.engine.run()
            return most

        def made() -> Rig:
            rig = Rig(2)
            rig.code("nop\nhlt", 0x9000)
            rig.engine.set_rip(0, 0x9000)
            rig.engine.limit = 100
            rig.engine.run()
            rig.code("mov byte ptr [0x9800], 1\nhlt")
            return rig

        whole = stores(made(), 1000)
        assert 50 < whole < 1000
        rig = made()
        assert stores(rig, 50) == 50
        rig = back(rig, lambda rig: stores(rig, 1000))
        assert stores(rig, 1000) == whole - 50

    @both
    def test_which_pages_were_written(self, back: How) -> None:
        rig = Rig(2)
        rig.run("mov byte ptr [0x9000], 1")
        written = rig.engine.written_pages()
        assert rig.engine.page_written(0x9000)
        assert not rig.engine.page_written(0xA000)

        def spoil(rig: Rig) -> None:
            rig.run("mov byte ptr [0xA000], 1")
            rig.engine.forget_written(0x9000, PAGE)

        rig = back(rig, spoil)
        assert rig.engine.page_written(0x9000)
        assert not rig.engine.page_written(0xA000)
        assert len(rig.engine.written_pages()) == len(written)

    def test_watched_pages_are_this_engine_s_own(self) -> None:
        rig = Rig()
        rig.engine.watch_page(0x9000, True)
        taken = Taken(rig)
        rig.engine.watch_page(0x9000, False)
        for rig, exits in ((taken.again(), 1), (taken.another(), 0)):
            rig.run("mov eax, [0x9004]")
            assert len(rig.exits.named("watched_read")) == exits


class TestMemory:
    def test_code_that_differs_is_translated_anew(self) -> None:
        rig = Rig()
        rig.run("mov ebx, 5")
        other = bytearray(rig.ram[CODE : CODE + PAGE])
        other[1] = 6
        rig.engine.replace_memory("ram", CODE, other)
        rig.run()
        assert rig.engine.get_general(0, RBX) == 6

    def test_nobody_has_written_it(self) -> None:
        rig = Rig()
        rig.engine.replace_memory("ram", 0x9000, b"\1" * PAGE)
        assert rig.ram[0x9000] == 1
        assert not rig.engine.page_written(0x9000)

    @pytest.mark.parametrize(
        ("backing", "offset", "length"),
        [
            ("ram", 1, PAGE),
            ("ram", 0, PAGE - 1),
            ("ram", RAM, PAGE),
            ("ram", RAM - PAGE, 2 * PAGE),
            ("ram", (1 << 64) - PAGE, PAGE),
            ("arena", ARENA, PAGE),
        ],
    )
    def test_what_is_not_within(self, backing: str, offset: int, length: int) -> None:
        with pytest.raises(ValueError, match="whole pages"):
            Rig().engine.replace_memory(backing, offset, bytes(length))
