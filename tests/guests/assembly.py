"""Pieces of assembly text that the guests of these tests are made of, in keystone's Intel syntax.

RAX, RCX and RDX are lost in most of them; R15 points behind the results put so far.
"""

from tests.guests.layout import (
    AP_MAIN,
    CODE_32,
    CODE_64,
    COUNTS,
    DATA_64,
    EXIT_PORT,
    FAULT,
    FAULT_COUNT,
    HOOKS,
    HYPERCALL_PAGE,
    KERNEL_STACK,
    LOCAL_APIC,
    NO_EOI,
    POINTERS,
    RECOVER,
    RECOVER_STACK,
    RESULTS,
    ROW,
    ROWS,
    ROWS_LEFT,
    SHARED,
    STACK_SIZE,
    STACKS,
    STARTED,
    TASK,
    TRAMPOLINE_TABLES,
    USER_CODE_64,
    USER_DATA,
)

EOI = 0x40000070
ROW_SIZE = 0x200
ROW_OUTPUT = 0x100
ROW_REGISTERS = (
    *("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi"),
    *(f"r{number}" for number in range(8, 16)),
)
KEPT = {"rbx": 0xB1, "rbp": 0xB2, "rsi": 0xB3, "rdi": 0xB4} | {
    f"r{number}": 0xA0 + number for number in range(9, 16)
}
"""What the 64-bit callers of rows put into the registers that no call may change."""


def put(*registers: str) -> str:
    """Put registers into the results."""
    return "\n".join(f"mov [r15], {register}\nadd r15, 8" for register in registers)


def put_byte(address: int | str) -> str:
    """Put the byte at an address into the results."""
    where = f"{address:#x}" if isinstance(address, int) else address
    return f"mov rax, {where}\nmovzx eax, byte ptr [rax]\n" + put("rax")


def put_word(address: int) -> str:
    """Put the 8 bytes at an address into the results."""
    return f"mov rax, {address:#x}\nmov rax, [rax]\n" + put("rax")


def put_fault() -> str:
    """Put the vector (-1 for none) and the error code of the last exception into the results."""
    return put_word(FAULT) + "\n" + put_word(FAULT + 8)


def write_msr(index: int, value: int | str = "rax") -> str:
    """Write an MSR; a value in RAX by default."""
    load = "" if value == "rax" else f"movabs rax, {value}\n"
    return f"{load}mov rdx, rax\nshr rdx, 32\nmov ecx, {index:#x}\nwrmsr"


def read_msr(index: int) -> str:
    """Read an MSR into RAX."""
    return f"mov ecx, {index:#x}\nrdmsr\nshl rdx, 32\nmov eax, eax\nor rax, rdx"


def call(control: int, first: int | str = 0, second: int | str = 0) -> str:
    """Make a hypercall through the page; the result is in RAX."""
    return f"movabs rcx, {control}\nmovabs rdx, {first}\nmovabs r8, {second}\ncall hypercall"


def catch(label: str, text: str) -> str:
    """Execute text, and go on behind it after an exception; the label must be unique."""
    return f"""
        mov qword ptr [{FAULT}], -1
        mov [{RECOVER_STACK}], rsp
        mov qword ptr [{RECOVER}], {label}
        {text}
    {label}:
        mov qword ptr [{RECOVER}], 0
    """


def write_apic(register: int, value: int) -> str:
    """Write a register of the local APIC."""
    return f"mov eax, {LOCAL_APIC + register:#x}\nmov dword ptr [rax], {value:#x}"


def start_others(count: int) -> str:
    """Start all other processors with INIT and start-up messages; wait until they run."""
    return f"""
        {write_apic(0xF0, 0x1FF)}
        {write_apic(0x300, 0xC4500)}
        {write_apic(0x300, 0xC4608)}
    waiting_for_others:
        pause
        cmp dword ptr [{STARTED}], {count}
        jb waiting_for_others
    """


def spin(label: str, iterations: int) -> str:
    """Execute a loop of a few bytes so often."""
    return f"mov ecx, {iterations}\n{label}:\nsub ecx, 1\njnz {label}"


def wait_until(label: str, address: int, value: int) -> str:
    """Spin until the 4 bytes at an address have a value."""
    return f"{label}:\npause\ncmp dword ptr [{address}], {value}\njne {label}"


def leave(code: int = 0) -> str:
    """End the run with a code."""
    return f"mov eax, {code}\nout {EXIT_PORT}, eax\nhlt"


def user_mode(target: str) -> str:
    """Go to a label in 64-bit user mode, on the stack below the current one, with IOPL 3."""
    return f"""
        mov rax, rsp
        push {USER_DATA | 3}
        push rax
        push 0x3002
        push {USER_CODE_64 | 3}
        push {target}
        iretq
    """


def compatibility_mode(target: str) -> str:
    """Go to a label in 32-bit code of long mode, at CPL 0."""
    return f"push {CODE_32}\npush {target}\nretfq"


def back_to_64(label: str) -> str:
    """In 32-bit code: go to a label in 64-bit code."""
    return f".byte 0xEA\n.long {label}\n.word {CODE_64}\n.code64"


def _own_slot() -> str:
    return "mov eax, 1\ncpuid\nshr ebx, 24"


def _set_stack_and_results() -> str:
    return f"""
        {_own_slot()}
        mov rsp, rbx
        imul rsp, rsp, {STACK_SIZE}
        add rsp, {STACKS + STACK_SIZE - 16}
        mov r15, rbx
        shl r15, 10
        add r15, {RESULTS}
    """


def _load_tables() -> str:
    return f"""
        lgdt [{POINTERS}]
        lidt [{POINTERS + 16}]
        mov ax, {DATA_64}
        mov ss, ax
        mov ds, ax
        mov es, ax
    """


def start() -> str:
    """The first code of every image; the test's own is at ``main``."""
    return f"""
        jmp boot
        .align 8
        .quad exception_entry, interrupt_entry, application_entry
    boot:
        cli
        {_load_tables()}
        push {CODE_64}
        push boot_with_tables
        retfq
    boot_with_tables:
        mov ax, {TASK}
        ltr ax
        {_set_stack_and_results()}
        call main
        {leave(0)}
    """


def enable_hypercalls() -> str:
    """Set guest OS id and hypercall page."""
    return f"{write_msr(0x40000000, 0x8100 << 48)}\n{write_msr(0x40000001, HYPERCALL_PAGE | 1)}"


def library() -> str:
    """Handlers and functions behind every test's code."""
    return f"""
    hypercall:
        mov rax, {HYPERCALL_PAGE}
        jmp rax

    exception_entry:
        push rax
        push rbx
        mov ebx, {FAULT}
        mov rax, [rsp + 16]
        mov [rbx], rax
        mov rax, [rsp + 24]
        mov [rbx + 8], rax
        mov rax, [rsp + 32]
        mov [rbx + 16], rax
        mov rax, cr2
        mov [rbx + 24], rax
        mov rax, [rsp + 40]
        mov [rbx + 32], rax
        mov rax, [rsp + 56]
        mov [rbx + 40], rax
        inc qword ptr [{FAULT_COUNT}]
        mov rax, [{RECOVER}]
        test rax, rax
        jz unexpected_exception
        mov [rsp + 32], rax
        mov qword ptr [rsp + 40], {CODE_64}
        and dword ptr [rsp + 48], 0xFFFEBAFF
        mov rax, [{RECOVER_STACK}]
        mov [rsp + 56], rax
        mov qword ptr [rsp + 64], {DATA_64}
        pop rbx
        pop rax
        add rsp, 16
        iretq
    unexpected_exception:
        mov rax, [rsp + 16]
        or eax, 0xE00
        out {EXIT_PORT}, eax
        hlt

    interrupt_entry:
        push rax
        push rbx
        push rcx
        push rdx
        {_own_slot()}
        mov rcx, [rsp + 32]
        shl rbx, 11
        lea rbx, [rbx + rcx * 8 + {COUNTS}]
        lock inc qword ptr [rbx]
        mov rax, [rcx * 8 + {HOOKS}]
        test rax, rax
        jz without_hook
        call rax
    without_hook:
        cmp byte ptr [{NO_EOI}], 0
        jne without_eoi
        {write_apic(0xB0, 0)}
    without_eoi:
        pop rdx
        pop rcx
        pop rbx
        pop rax
        add rsp, 16
        iretq

    application_entry:
        {_load_tables()}
        {_set_stack_and_results()}
        {write_apic(0xF0, 0x1FF)}
        lock inc dword ptr [{STARTED}]
        mov rax, [{AP_MAIN}]
        test rax, rax
        jz rest
        call rax
    rest:
        sti
        hlt
        jmp rest
    """


def trampoline(entry: int) -> str:
    """Real-mode code that goes to 64-bit code at an address."""
    return f"""
        cli
        xor ax, ax
        mov ds, ax
        lgdt [{TRAMPOLINE_TABLES}]
        mov eax, cr4
        or eax, 0x620
        mov cr4, eax
        mov eax, 0x83000
        mov cr3, eax
        mov ecx, 0xC0000080
        rdmsr
        or eax, 0x900
        wrmsr
        mov eax, 0x80010033
        .byte 0x0F, 0x22, 0xC0
        .byte 0x66, 0xEA
        .long {entry}
        .word {CODE_64}
    """


def _load_xmm() -> str:
    return "\n".join(f"movdqu xmm{number}, [r9 + {0x20 + 16 * number}]" for number in range(6))


def _next_row(label: str, back: str, end: str) -> str:
    return f"""
    {label}:
        sub qword ptr [{ROWS_LEFT}], 1
        js {end}
        mov qword ptr [{FAULT}], -1
        mov [{RECOVER_STACK}], rsp
        mov qword ptr [{RECOVER}], {back}
        mov r9, [{ROW}]
        {_load_xmm()}
    """


def _row_done() -> str:
    offset = ROW_OUTPUT + 8 * len(ROW_REGISTERS)
    stores = [
        f"mov [rax + {ROW_OUTPUT + 8 * number}], {register}"
        for number, register in enumerate(ROW_REGISTERS)
        if register != "rax"
    ]
    stores += [f"movdqu [rax + {0x180 + 16 * number}], xmm{number}" for number in range(6)]
    return "\n".join(
        [
            "pushfq",
            "push rax",
            f"mov rax, [{ROW}]",
            *stores,
            f"pop qword ptr [rax + {ROW_OUTPUT}]",
            f"pop qword ptr [rax + {offset}]",
            *(f"mov rcx, [{FAULT + 8 * n}]\nmov [rax + {0x1E0 + 8 * n}], rcx" for n in range(3)),
            f"mov qword ptr [{RECOVER}], 0",
            f"add qword ptr [{ROW}], {ROW_SIZE}",
        ]
    )


def call_rows_64(name: str, instruction: str = f"mov eax, {HYPERCALL_PAGE}\ncall rax") -> str:
    """Make every call of the rows from 64-bit code of the current privilege level."""
    kept = "\n".join(f"mov {register}, {value:#x}" for register, value in KEPT.items())
    return f"""
        push r15
        mov qword ptr [{ROW}], {ROWS}
        {_next_row(name, name + "_back", name + "_end")}
        mov rcx, [r9]
        mov rdx, [r9 + 8]
        mov r8, [r9 + 16]
        {kept}
        {instruction}
    {name}_back:
        {_row_done()}
        jmp {name}
    {name}_end:
        pop r15
    """


def call_rows_32(name: str) -> str:
    """Make every call of the rows from 32-bit code of long mode."""
    return f"""
        push r15
        mov qword ptr [{ROW}], {ROWS}
        {_next_row(name, name + "_back", name + "_end")}
        mov eax, [r9]
        mov edx, [r9 + 4]
        mov ecx, [r9 + 8]
        mov ebx, [r9 + 12]
        mov esi, [r9 + 16]
        mov edi, [r9 + 20]
        push {CODE_32}
        push {name}_32
        retfq
    .code32
    {name}_32:
        mov ebp, {HYPERCALL_PAGE}
        call ebp
        {back_to_64(name + "_back")}
    {name}_back:
        {_row_done()}
        jmp {name}
    {name}_end:
        pop r15
    """


def call_rows_user(name: str) -> str:
    """Make every call of the rows from 64-bit user code."""
    return call_rows_64(
        name,
        f"""
        push {USER_DATA | 3}
        push {KERNEL_STACK - 0x8000}
        push 0x3002
        push {USER_CODE_64 | 3}
        push {HYPERCALL_PAGE}
        iretq
        """,
    )


def let_others_run(label: str, iterations: int = 2000) -> str:
    """Spin with PAUSE, which lets other processors run."""
    return f"mov ecx, {iterations}\n{label}:\npause\nsub ecx, 1\njnz {label}"


def follow_steps(text: str) -> str:
    """What an application processor executes to do something at each `step`."""
    return f"""
    next_step:
        pause
        mov eax, [{SHARED}]
        cmp eax, [{SHARED + 8}]
        je next_step
        push rax
        {text}
        pop rax
        mov [{SHARED + 8}], eax
        jmp next_step
    """


def step(number: int) -> str:
    """Let the application processor that follows steps do its work once; wait for it."""
    return f"mov dword ptr [{SHARED}], {number}\n" + wait_until(
        f"step_{number}", SHARED + 8, number
    )
