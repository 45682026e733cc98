"""What a machine must be to have snapshots."""

from typing import TYPE_CHECKING

from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.machine.guest_machine import GuestMachine


def check_time(machine: "GuestMachine") -> None:
    """Make sure that a machine can have snapshots.

    Raises:
        InputError: it counts time by the host's clock, which nothing brings back.
    """
    if machine.configuration.time == "host":
        raise InputError(
            "a machine that follows the host's clock has no snapshots: give it virtual time"
        )
