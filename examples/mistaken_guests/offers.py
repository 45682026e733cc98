"""What a guest may do, and what it was told to do."""

from mistaken_guests.instructions import INPUT, IPI, OUTPUT, SELF, call, repeat, store, write_msr
from mistaken_guests.mistake import HERE, Mistake

OFFER_MISTAKES = (
    Mistake(
        "disabled-interface",
        f"{write_msr(0x40000001, 0)}\nmov ecx, {IPI}\nmov edx, 0x40\nmov r8, 1\n{HERE}\nvmcall",
        f"mov ecx, {IPI}\nmov edx, 0x40\nmov r8, 1\nvmcall\n{write_msr(0x40000001, 0)}",
    ),
    Mistake(
        "unprivileged-caller",
        f"""
            mov ecx, 6 * 512
            mov edi, 0x83000
        let_users_in:
            mov rax, [rdi]
            test rax, rax
            jz empty
            or qword ptr [rdi], 4
        empty:
            add rdi, 8
            sub ecx, 1
            jnz let_users_in
            mov rax, cr3
            mov cr3, rax
            {store(OUTPUT, 0, 0x00CFF300_0000FFFF, 0x00AFFB00_0000FFFF)}
            {store(OUTPUT + 0x100, (OUTPUT << 16) | 0x17, 0)}
            lgdt [rdi]
            mov rax, rsp
            push 0x0B
            push rax
            push 2
            push 0x13
            mov rax, user
            push rax
            iretq
        user:
            mov ecx, {IPI}
            mov edx, 0x40
            mov r8, 1
            {HERE}
            vmcall
        """,
        f"mov ecx, {IPI}\nmov edx, 0x40\nmov r8, 1\nvmcall",
    ),
    Mistake(
        "missing-privilege",
        store(INPUT, SELF, 0xFFFFFFFE, 0x00090003) + call(0x1_0000_0050, INPUT, OUTPUT, HERE),
        "mov ecx, 0x40000002\nrdmsr",
        privileges="-ACCESS_VP_REGISTERS",
    ),
    Mistake(
        "unknown-call",
        call(0x1_1234, 0, 0, HERE),
        call(0x8001, 0, OUTPUT),
    ),
    Mistake(
        "unrecommended-call",
        call(0x1_0001, "cr3", 0, HERE),
        "mov rax, cr3\nmov cr3, rax",
    ),
    Mistake(
        "unused-recommendation",
        repeat(write_msr(0x40000071, 1 << 56 | 0x40).replace("wrmsr", f"{HERE}\nwrmsr"), 20),
        repeat(call(IPI, 0x40, 2), 20),
        cpus=2,
    ),
)
