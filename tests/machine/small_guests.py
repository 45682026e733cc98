"""Machines with guests of a few instructions."""

from tests.guests.kit import Guest

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
