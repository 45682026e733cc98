"""Messages that wait in the slot of a SINT."""

from mistaken_guests.instructions import INPUT, call, pause, store, write_msr
from mistaken_guests.mistake import HERE, Mistake

SINT = 3
MESSAGES = 0x280000
EMPTY_SLOT = f"mov edi, {MESSAGES + 256 * SINT}\nmov dword ptr [rdi], 0\n"
EOM = write_msr(0x40000084, 0)
REST = "hlt\n"


def device(command: int) -> str:
    """Give a command to the SynIC test device: connection 0x10, VP 0, SINT 3."""
    return f"mov eax, {0x10 << 24 | command << 16 | SINT}\nmov dx, 0x3000\nout dx, eax\n"


def two_messages() -> str:
    """Set up a SynIC whose SINT 3 is polled, and post two messages to it."""
    return (
        write_msr(0x40000080, 1)
        + write_msr(0x40000083, MESSAGES | 1)
        + write_msr(0x40000090 + SINT, 1 << 18)
        + device(4)
        + store(INPUT, 0x10, 8 << 32 | 1, 0x1111)
        + call(0x5C, INPUT)
        + call(0x5C, INPUT)
    )


MESSAGE_MISTAKES = (
    Mistake(
        "missing-eom",
        two_messages() + EMPTY_SLOT + REST + HERE,
        two_messages() + EMPTY_SLOT + EOM + EMPTY_SLOT + REST,
    ),
    Mistake(
        "full-message-slot",
        two_messages() + pause(2_000_000, "waiting") + REST + HERE,
        two_messages() + EMPTY_SLOT + EOM + pause(2_000_000, "waiting") + EMPTY_SLOT + REST,
    ),
)
