"""What comes of a call that fails."""

from mistaken_guests.instructions import call, repeat
from mistaken_guests.mistake import HERE, Mistake

STATUS_MISTAKES = (
    Mistake(
        "ignored-status",
        call(0x1_005D, 0x77, 0, HERE).replace("mov ebx, eax", "mov eax, 5"),
        call(0x1_005D, 0x77),
    ),
    Mistake(
        "hopeless-retry",
        repeat(call(0x1_005D, 0x77, 0, HERE), 4),
        call(0x1_005D, 0x77),
    ),
)
