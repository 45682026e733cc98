"""Coverage of guests written in assembly."""

from tests.guests.kit import Guest

from hypercall.coverage.coverage import Coverage


def covered(text: str, cpus: int = 1, **configuration: object) -> Coverage:
    """Run a guest and return what it covered."""
    machine = Guest(text, cpus=cpus, configuration=configuration).machine()
    coverage = Coverage(machine.describe())
    coverage.attach(machine.trace)
    machine.run(100_000_000)
    return coverage
