"""Spinning, and what the hypervisor is told of it."""

from mistaken_guests.instructions import call, pause, repeat
from mistaken_guests.mistake import HERE, Mistake

SPINS = 0x1FFF

SPIN_MISTAKES = (
    Mistake(
        "spin-notify-too-often",
        repeat(call(0x1_0008, SPINS, 0, HERE), 3),
        repeat(pause(SPINS, "spinning").replace("r12", "r13") + call(0x1_0008, SPINS), 3),
        privileges="all",
    ),
    Mistake(
        "spin-without-notify",
        pause(SPINS + 32, "spinning").replace("pause", f"{HERE}\npause"),
        repeat(pause(SPINS - 32, "spinning").replace("r12", "r13") + call(0x1_0008, SPINS), 3),
        cpus=2,
        privileges="all",
    ),
)
