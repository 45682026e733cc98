"""Paging in all its forms: rights, accessed and dirty bits, and the formats of 32-bit code."""

import struct

import pytest
from tests.guests.assembly import catch, compatibility_mode, leave, put, put_fault, put_word
from tests.guests.hypercalls import Caller, Row
from tests.guests.kit import GuestRun, assemble, run_guest
from tests.guests.layout import (
    CODE_32,
    DATA,
    DATA_64,
    FAULT,
    GDT,
    KERNEL_STACK,
    SHARED,
    TABLES,
    USER_CODE_64,
    USER_DATA,
    WINDOW,
)
from tests.guests.paging import (
    ACCESSED,
    DIRTY,
    KERNEL_PAGE,
    NO_EXECUTE,
    PRESENT,
    USER,
    USER_PAGE,
    WRITE,
    window,
    window_entry,
)

from hypercall.machine.result import StopReason

PAGE_FAULT = 14
RETURN = b"\xc3"
READ = f"mov rax, {WINDOW}\nmov al, [rax]"
STORE = f"mov rax, {WINDOW}\nmov [rax], al"
FETCH = f"mov eax, {WINDOW}\ncall rax"
ENABLE_NX = "mov ecx, 0xC0000080\nrdmsr\nor eax, 0x800\nwrmsr"
USER_STACK = KERNEL_STACK - 0x8000


def set_bits(register: str, bits: int) -> str:
    return f"mov rax, {register}\nmov rbx, {bits}\nor rax, rbx\nmov {register}, rax"


def clear_bits(register: str, bits: int) -> str:
    return f"mov rax, {register}\nmov rbx, {~bits}\nand rax, rbx\nmov {register}, rax"


SMEP = set_bits("cr4", 1 << 20)
SMAP = set_bits("cr4", 1 << 21)


def in_user_mode(text: str) -> str:
    return (
        f"push {USER_DATA | 3}\npush {USER_STACK}\npush 0x3002\npush {USER_CODE_64 | 3}\n"
        f"push user_code\niretq\nuser_code:\n{text}\nint 0x80"
    )


def fault_of(entry: int, access: str, before: str = "", *, user: bool = False) -> tuple[int, int]:
    """The vector and the error code of an access to a page with an entry; (-1, 0) without."""
    action = in_user_mode(access) if user else access
    # Vector 0x80 is how user code says that nothing happened; it is no exception.
    done = "jmp behind_hook\nhook:\nmov rsp, rbp\njmp tried\nbehind_hook:"
    run = run_guest(
        f"""
        {done}
        mov qword ptr [0x114000 + 8 * 0x80], hook
        mov qword ptr [{FAULT + 8}], 0
        {before}
        mov rbp, rsp
        {catch("tried", action)}
        {clear_bits("cr4", 3 << 20)}
        {put_fault()}
        {put_word(FAULT + 24)}
        """,
        memory=window(DATA | entry) | {DATA: RETURN},
    )
    vector, error, address = run.signed(3)
    if vector == PAGE_FAULT:
        assert address == WINDOW
    return vector, error if vector >= 0 else 0


NOTHING = (-1, 0)


@pytest.mark.parametrize(
    ("entry", "access", "before", "user", "expected"),
    [
        (0, READ, "", False, (14, 0)),
        (0, STORE, "", False, (14, 2)),
        (0, FETCH, "", False, (14, 0)),
        (0, FETCH, ENABLE_NX, False, (14, 0x10)),
        (0, READ, "", True, (14, 4)),
        (KERNEL_PAGE, READ, "", True, (14, 5)),
        (KERNEL_PAGE, STORE, "", True, (14, 7)),
        (KERNEL_PAGE, FETCH, "", True, (14, 5)),
        (KERNEL_PAGE, FETCH, ENABLE_NX, True, (14, 0x15)),
        (PRESENT | USER, READ, "", True, NOTHING),
        (PRESENT | USER, STORE, "", True, (14, 7)),
        (PRESENT | USER, STORE, "", False, (14, 3)),
        (PRESENT | USER, STORE, clear_bits("cr0", 1 << 16), False, NOTHING),
        (PRESENT | WRITE, STORE, "", False, NOTHING),
        (USER_PAGE | NO_EXECUTE, FETCH, ENABLE_NX, False, (14, 0x11)),
        (USER_PAGE | NO_EXECUTE, FETCH, ENABLE_NX, True, (14, 0x15)),
        (USER_PAGE | NO_EXECUTE, READ, ENABLE_NX, False, NOTHING),
        (USER_PAGE | NO_EXECUTE, READ, "", False, (14, 9)),
        (USER_PAGE | 1 << 45, READ, "", False, (14, 9)),
    ],
)
def test_rights(
    entry: int, access: str, before: str, user: bool, expected: tuple[int, int]
) -> None:
    assert fault_of(entry, access, before, user=user) == expected


class TestSupervisorModeProtection:
    """The kit's own pages are user pages, so that here they become the kernel's first."""

    def run(self, text: str, entry: int = USER_PAGE) -> list[int]:
        # Take the user bit from the large pages that hold code, stack and results.
        hide = "\n".join(
            f"mov rbx, {0x85000 + 8 * page}\nand qword ptr [rbx], -5" for page in (0, 1)
        )
        run = run_guest(
            f"{hide}\nmov rax, cr3\nmov cr3, rax\n{text}\n{put_fault()}",
            memory=window(DATA | entry) | {DATA: RETURN},
        )
        return run.signed(2)

    def test_execution_of_a_user_page(self) -> None:
        assert self.run(f"{SMEP}\n{catch('tried', FETCH)}") == [14, 0x11]

    def test_execution_of_a_kernel_page(self) -> None:
        assert self.run(f"{SMEP}\n{catch('tried', FETCH)}", KERNEL_PAGE)[0] == -1

    @pytest.mark.parametrize(("access", "error"), [(READ, 1), (STORE, 3)])
    def test_access_to_a_user_page(self, access: str, error: int) -> None:
        assert self.run(f"{SMAP}\n{catch('tried', access)}") == [14, error]

    @pytest.mark.parametrize("access", [READ, STORE])
    def test_access_while_ac_is_set(self, access: str) -> None:
        assert self.run(f"{SMAP}\nstac\n{catch('tried', access)}")[0] == -1

    def test_access_after_ac_was_cleared(self) -> None:
        text = f"{SMAP}\nstac\n{READ}\nclac\n{catch('tried', READ)}"
        assert self.run(text) == [14, 1]

    def test_access_after_the_bit_was_cleared(self) -> None:
        text = f"{SMAP}\n{clear_bits('cr4', 1 << 21)}\n{catch('tried', READ)}"
        assert self.run(text)[0] == -1


@pytest.mark.parametrize(
    ("access", "bits"),
    [("", 0), (READ, ACCESSED), (FETCH, ACCESSED), (STORE, ACCESSED | DIRTY)],
    ids=["none", "read", "fetch", "store"],
)
def test_accessed_and_dirty_bits(access: str, bits: int) -> None:
    run = run_guest(access, memory=window(DATA | USER_PAGE) | {DATA: RETURN})
    entry, neighbour = run.memory_words(window_entry(0), 2)
    assert entry == DATA | USER_PAGE | bits
    assert neighbour == DATA + 0x1000 | USER_PAGE
    table = run.memory_words(0x85000 + 16, 1)[0]
    assert table == TABLES | USER_PAGE | (ACCESSED if access else 0)


def test_a_store_after_a_read_sets_the_dirty_bit() -> None:
    run = run_guest(f"{READ}\n{READ}\n{STORE}", memory=window(DATA | USER_PAGE))
    assert run.memory_words(window_entry(0), 1) == [DATA | USER_PAGE | ACCESSED | DIRTY]


def test_a_dirty_bit_that_was_cleared_and_flushed_is_set_again() -> None:
    clear = f"mov rbx, {window_entry(0)}\nmov qword ptr [rbx], {DATA | USER_PAGE}"
    run = run_guest(
        f"{STORE}\n{clear}\ninvlpg [{WINDOW}]\n{STORE}", memory=window(DATA | USER_PAGE)
    )
    assert run.memory_words(window_entry(0), 1) == [DATA | USER_PAGE | ACCESSED | DIRTY]


def test_a_locked_operation_on_a_read_only_page_faults_as_a_write() -> None:
    text = catch("tried", f"mov eax, {WINDOW}\nlock inc qword ptr [rax]")
    run = run_guest(f"{text}\n{put_fault()}", memory=window(DATA | PRESENT))
    assert run.words(2) == [14, 3]


def test_a_non_canonical_address_is_a_protection_fault() -> None:
    text = catch("tried", "movabs rax, 0x800000000000\nmov al, [rax]")
    assert run_guest(f"{text}\n{put_fault()}").words(2) == [13, 0]


def test_a_large_page_of_1_gib() -> None:
    """The directory pointer for 1 GiB on maps memory from 0 on."""
    page = f"mov rbx, 0x84008\nmov qword ptr [rbx], {USER_PAGE | 0x80}\nmov rax, cr3\nmov cr3, rax"
    run = run_guest(
        f"{page}\nmov rbx, {0x40000000 + DATA}\nmov rax, [rbx]\n{put('rax')}",
        memory={DATA: struct.pack("<Q", 0x55AA)},
    )
    assert run.words(1) == [0x55AA]


# --- 32-bit code -----------------------------------------------------------------------------

IDT_32 = DATA + 0x8000
HANDLER_32 = DATA + 0x9000


def protected_mode(text: str, memory: dict[int, bytes], cr3: int, cr4: int) -> GuestRun:
    """Run 32-bit code with paging outside long mode; page faults store error code and CR2."""
    code = assemble(
        f"""
        mov eax, cr0
        and eax, 0x7FFFFFFF
        mov cr0, eax
        mov ecx, 0xC0000080
        xor eax, eax
        xor edx, edx
        wrmsr
        mov eax, {cr4}
        mov cr4, eax
        mov eax, {cr3}
        mov cr3, eax
        lidt [{IDT_32 - 16}]
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        {text}
        xor eax, eax
        out 0xF4, al
        hlt
        """,
        DATA + 0x4000,
        32,
    )
    handler = assemble(
        f"pop dword ptr [{SHARED}]\nmov eax, cr2\nmov [{SHARED + 4}], eax\nxor eax, eax\n"
        "out 0xF4, al\nhlt",
        HANDLER_32,
        32,
    )
    gate = struct.pack("<HHBBH", HANDLER_32 & 0xFFFF, CODE_32, 0, 0x8E, HANDLER_32 >> 16)
    return run_guest(
        f"mov ax, {DATA_64}\nmov ds, ax\nmov es, ax\npush {CODE_32}\npush {DATA + 0x4000}\nretfq",
        memory={
            DATA + 0x4000: code,
            HANDLER_32: handler,
            IDT_32 + 14 * 8: gate,
            IDT_32 - 16: struct.pack("<HI", 0xFF, IDT_32),
            **memory,
        },
    )


def two_levels() -> dict[int, bytes]:
    """The first 12 MiB one to one, but the window through a table of small pages."""
    table = TABLES + 0x1000
    entries = [
        (page << 22) | 0x87 if page << 22 != WINDOW else table | USER_PAGE for page in range(4)
    ]
    pages = [DATA + 0x10000 | USER_PAGE, 0, DATA + 0x11000 | PRESENT | USER, *[0] * 509]
    # The table covers 4 MiB; its second half holds the kit's data area one to one.
    rest = [WINDOW + page * 4096 | USER_PAGE for page in range(512, 1024)]
    return {TABLES: struct.pack("<4I", *entries), table: struct.pack("<1024I", *pages, *rest)}


def three_levels() -> dict[int, bytes]:
    """As `two_levels`, in the format of PAE."""
    directory, table = TABLES + 0x1000, TABLES + 0x2000
    entries = [
        (page << 21) | 0xE7 if page << 21 != WINDOW else table | USER_PAGE for page in range(8)
    ]
    pages = [DATA + 0x10000 | USER_PAGE, 0, DATA + 0x11000 | PRESENT | USER]
    return {
        TABLES: struct.pack("<4Q", directory | PRESENT, 0, 0, 0),
        directory: struct.pack("<8Q", *entries),
        table: struct.pack("<3Q", *pages),
    }


FORMATS = pytest.mark.parametrize(
    ("tables", "cr4"), [(two_levels(), 0x10), (three_levels(), 0x20)], ids=["two", "pae"]
)


@FORMATS
class Test32BitPaging:
    def test_a_small_page(self, tables: dict[int, bytes], cr4: int) -> None:
        memory = tables | {DATA + 0x10000: struct.pack("<I", 0x1234)}
        text = f"mov eax, [{WINDOW}]\nmov [{SHARED}], eax\nmov dword ptr [{WINDOW + 4}], 7"
        run = protected_mode(text, memory, TABLES, cr4)
        assert run.memory(SHARED, 4) == struct.pack("<I", 0x1234)
        assert run.memory(DATA + 0x10004, 4) == struct.pack("<I", 7)

    def test_an_absent_page(self, tables: dict[int, bytes], cr4: int) -> None:
        run = protected_mode(f"mov eax, [{WINDOW + 0x1008}]\nud2", tables, TABLES, cr4)
        assert struct.unpack("<2I", run.memory(SHARED, 8)) == (0, WINDOW + 0x1008)

    def test_a_read_only_page(self, tables: dict[int, bytes], cr4: int) -> None:
        protect = "mov eax, cr0\nor eax, 0x10000\nmov cr0, eax"
        text = f"{protect}\nmov dword ptr [{WINDOW + 0x2000}], 1\nud2"
        run = protected_mode(text, tables, TABLES, cr4)
        assert struct.unpack("<2I", run.memory(SHARED, 8)) == (3, WINDOW + 0x2000)

    def test_accessed_and_dirty(self, tables: dict[int, bytes], cr4: int) -> None:
        text = f"mov dword ptr [{WINDOW}], 1\nmov eax, [{WINDOW + 0x2000}]"
        run = protected_mode(text, tables, TABLES, cr4)
        wide = cr4 == 0x20
        table = TABLES + (0x2000 if wide else 0x1000)
        form = "<3Q" if wide else "<3I"
        first, second, third = struct.unpack(form, run.memory(table, struct.calcsize(form)))
        assert first == DATA + 0x10000 | USER_PAGE | ACCESSED | DIRTY
        assert second == 0
        assert third == DATA + 0x11000 | PRESENT | USER | ACCESSED

    def test_a_hypercall(self, tables: dict[int, bytes], cr4: int) -> None:
        text = f"mov eax, 0xBEEF\nxor edx, edx\nmov ebx, 0x200000\ncall ebx\nmov [{SHARED}], eax"
        run = protected_mode(text, tables, TABLES, cr4)
        assert run.memory(SHARED, 4) == struct.pack("<I", 2)


def test_32_bit_code_of_long_mode_reaches_4_gib_only() -> None:
    run = run_guest(
        f"""
        mov rbx, 0x1234567800000000
        {compatibility_mode("narrow")}
        .code32
    narrow:
        mov ebx, {DATA}
        mov eax, [ebx]
        .byte 0xEA
        .long wide
        .word 0x10
        .code64
    wide:
        {put("rax")}
        """,
        memory={DATA: struct.pack("<Q", 0x1_0000_0042)},
    )
    assert run.words(1) == [0x42]


def test_a_table_that_changes_between_two_calls() -> None:
    """A call's parameters are guest-physical: paging does not matter for them."""
    caller = Caller(before=f"mov rbx, {window_entry(0)}\nmov qword ptr [rbx], 0", memory=window())
    assert caller.make(Row(0x2, (0, 3, 0), WINDOW)).only.result == 0


def test_the_first_exception_without_handlers_ends_the_machine() -> None:
    run = run_guest(
        f"lidt [{DATA}]\nud2\n{leave(1)}", expect=StopReason.TRIPLE_FAULT, memory={DATA: bytes(16)}
    )
    assert run.result.exit_code is None
    assert GDT < DATA
