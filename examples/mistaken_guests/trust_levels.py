"""What a trust level leaves behind when it returns."""

from mistaken_guests.instructions import OUTPUT, PAGE, SELF, START, call, write_msr
from mistaken_guests.mistake import HERE, Mistake

ASSIST = 0x290000


def interrupted_by_vtl_1(spoil: str) -> str:
    """Let the timer of a second trust level interrupt the first, and what that leaves behind.

    Args:
        spoil: an instruction of VTL 1 before it returns.
    """
    return f"""
        {call(0x1_000D, SELF, 1)}
        mov edi, {START}
        movabs rax, {0xFFFFFFFE | 1 << 32}
        mov [rdi + 8], rax
        mov rax, vtl_1
        mov [rdi + 16], rax
        {call(0x0F, START)}
        mov ebx, {OUTPUT}
        mov dword ptr [rbx], 0
        xor eax, eax
        mov ecx, 0x11
        vmcall
    wait_for_vtl_1:
        cmp dword ptr [rbx], 1
        jne wait_for_vtl_1
        jmp done
    vtl_1:
        {write_msr(0x40000000, 0x8100 << 48)}
        {write_msr(0x40000001, PAGE + 0x1000 | 1)}
        {write_msr(0x40000073, ASSIST | 1)}
        mov edi, 0xFEE00000
        mov dword ptr [rdi + 0xF0], 0x1FF
        mov dword ptr [rdi + 0x320], 0x50
        mov dword ptr [rdi + 0x3E0], 0x0B
        mov dword ptr [rdi + 0x380], 4000
        mov eax, 1
        mov ecx, 0x12
        vmcall
        push rdi
        mov edi, {ASSIST}
        mov [rdi + 16], rax
        mov [rdi + 24], rcx
        mov eax, 15
        mov cr8, rax
        mov dword ptr [rbx], 1
        pop rdi
        {spoil}
        xor eax, eax
        mov ecx, 0x12
        {HERE if spoil else ""}
        vmcall
    done:
    """


TRUST_LEVEL_MISTAKES = (
    Mistake(
        "vtl-return-state",
        interrupted_by_vtl_1("inc r9"),
        interrupted_by_vtl_1(""),
    ),
)
