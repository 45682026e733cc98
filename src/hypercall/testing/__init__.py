"""What tests of guests need: the pytest plugin and the objects that its fixtures give.

The names below are for tests; each is loaded when it is first used, for pytest loads this package
in every project that is tested beside an installed hypercall.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypercall.testing.calls import Calls, RecordedCall
    from hypercall.testing.failures import (
        BootError,
        CommandError,
        GuestEndedError,
        GuestTestError,
        GuestTimeoutError,
    )
    from hypercall.testing.guest import Guest
    from hypercall.testing.recorder import recording
    from hypercall.testing.settings import GuestSettings
    from hypercall.testing.shell import CommandResult, Shell

__all__ = [
    "BootError",
    "Calls",
    "CommandError",
    "CommandResult",
    "Guest",
    "GuestEndedError",
    "GuestSettings",
    "GuestTestError",
    "GuestTimeoutError",
    "RecordedCall",
    "Shell",
    "recording",
]

_HOMES = {
    "hypercall.testing.calls": ("Calls", "RecordedCall"),
    "hypercall.testing.failures": (
        *("BootError", "CommandError", "GuestEndedError", "GuestTestError", "GuestTimeoutError"),
    ),
    "hypercall.testing.guest": ("Guest",),
    "hypercall.testing.recorder": ("recording",),
    "hypercall.testing.settings": ("GuestSettings",),
    "hypercall.testing.shell": ("CommandResult", "Shell"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
