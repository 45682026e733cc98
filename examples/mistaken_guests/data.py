"""What a call reads before it was written, or writes while it is read."""

from mistaken_guests.instructions import INPUT, OUTPUT, SELF, call, pause, start_vp, store
from mistaken_guests.mistake import HERE, Mistake

FRESH = 0x300000
FLAG = 0x2A0000


def read_while_waiting(early: bool) -> str:
    """Wait for the debugger's data, and let another processor read where it will be put.

    Args:
        early: whether that does not wait until the call has returned.
    """
    return f"""
        {store(OUTPUT, 0)}
        mov eax, 1
        {start_vp("reader")}
        {store(INPUT, 1 << 32 | 16, 100_000)}
        {call(0x6A, INPUT, OUTPUT)}
        mov edi, {FLAG}
        mov dword ptr [rdi], 1
        {pause(1000, "waiting")}
        jmp finished
    reader:
        mov edi, {OUTPUT}
        mov esi, {FLAG}
        {pause(1000, "reader_waits")}
    until_done:
        pause
        cmp dword ptr [rsi], {0 if early else 1}
        jne until_done
    {HERE if early else ""}
        mov eax, [rdi]
        jmp rest
    finished:
    """


DATA_MISTAKES = (
    Mistake(
        "uninitialised-input",
        call(0x1_0000_0050, FRESH, OUTPUT, HERE),
        store(FRESH, SELF, 0xFFFFFFFE, 0x00090003) + call(0x1_0000_0050, FRESH, OUTPUT),
    ),
    Mistake(
        "early-output-read",
        read_while_waiting(True),
        read_while_waiting(False),
        cpus=2,
    ),
)
