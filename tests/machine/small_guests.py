"""Machines with guests of a few instructions."""

from tests.guests.assembly import let_others_run, start_others
from tests.guests.kit import Guest
from tests.guests.layout import AP_MAIN, DATA, SHARED

from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine

LOOP = bytes.fromhex("ebfe")
SECOND = 1_000_000_000


def machine_with(text: str, cpus: int = 1, seed: int = 0) -> Machine:
    """A machine whose guest is a text in assembly (see `tests.guests.kit`)."""
    return Guest(text, cpus, True, {"seed": seed}).machine()


def flat(code: bytes) -> Machine:
    """A machine whose guest is nothing but a few bytes of code."""
    machine = Machine(MachineConfiguration(memory=2 << 20))
    machine.load(code, image_format="flat")
    return machine


def race(rounds: int, between: str = "") -> str:
    """Four processors that write over one another's numbers, and end together.

    Args:
        rounds: how often each of them writes.
        between: what each does behind a write; R12 has the rounds that are left.
    """
    return f"""
        mov qword ptr [{AP_MAIN}], racer
        {start_others(3)}
    racer:
        mov r12d, {rounds}
    running:
        mov eax, 1
        lock xadd [{SHARED}], rax
        and eax, 0xFFFF
        lea rbx, [rax * 8 + {DATA}]
        mov [rbx], r15
        {between}
        sub r12d, 1
        jnz running
        {let_others_run("settle", 200)}
        ret
    """
