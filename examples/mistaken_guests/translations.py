"""Translations that a processor still has when they are wrong."""

from mistaken_guests.instructions import INPUT, call, start_vp, store
from mistaken_guests.mistake import HERE, Mistake

FLAG = 0x2A0000
MOVED = 0x600000


def moved_under_a_reader(processors: int) -> str:
    """Map an address elsewhere while another processor reads from it, and flush it.

    Args:
        processors: the mask of the processors that are flushed.
    """
    return f"""
        mov eax, 1
        {start_vp("reader")}
        mov ebx, {FLAG}
    wait_for_reader:
        pause
        cmp dword ptr [rbx], 0
        je wait_for_reader
        mov edi, 0x85000
        add qword ptr [rdi + 8 * {MOVED >> 21}], 0x200000
        {store(INPUT, "cr3", 0, processors, MOVED)}
        {call(0x1_0000_0003, INPUT)}
        mov ecx, 4000000
    wait:
        sub ecx, 1
        jnz wait
        jmp finished
    reader:
        mov ebx, {FLAG}
        mov esi, {MOVED}
    {HERE if processors == 1 else ""}
        mov eax, [rsi]
        mov dword ptr [rbx], 1
        jmp {"mistake" if processors == 1 else "reader"}
    finished:
    """


TRANSLATION_MISTAKES = (
    Mistake(
        "stale-translation",
        moved_under_a_reader(1),
        moved_under_a_reader(3),
        cpus=2,
        stale=True,
    ),
)
