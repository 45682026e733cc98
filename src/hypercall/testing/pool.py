"""The booted guests of a session: each is booted once, and every test gets it as it was then."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypercall.errors import HypercallError
from hypercall.testing.console_log import ConsoleLog
from hypercall.testing.failures import BootError, GuestEndedError, GuestTimeoutError
from hypercall.testing.guest import Guest
from hypercall.testing.observation import Observation, Section
from hypercall.testing.settings import GuestSettings

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine
    from hypercall.snapshot.snapshot import Snapshot

KEPT = 4
"""So many booted guests are kept; pytest groups tests by their seeds, so few are booted again."""


@dataclass
class _Booted:
    machine: Machine
    snapshot: Snapshot
    forget_users: Callable[[], None]
    console: str
    used: bool = False


class GuestPool:
    """The booted guests of a session.

    Args:
        kept: how many are kept; the one that was not wanted for longest goes first.
        lines: how many lines of console and trace the report of a boot that failed has.

    Attributes:
        boots: how many guests were booted.
    """

    def __init__(self, kept: int = KEPT, lines: int = 200) -> None:
        self.boots = 0
        self._kept = kept
        self._lines = lines
        self._booted: OrderedDict[GuestSettings, _Booted | BootError] = OrderedDict()

    def take(self, settings: GuestSettings) -> Guest:
        """Return a guest as it was when it had booted; the one before with its machine is over.

        Raises:
            BootError: it did not come up, now or when another test wanted it.
        """
        booted = self._booted.get(settings)
        if booted is None:
            while len(self._booted) >= self._kept:
                _let_go(self._booted.popitem(last=False)[1])
            booted = self._booted[settings] = self._boot(settings)
        self._booted.move_to_end(settings)
        if isinstance(booted, BootError):
            raise BootError(str(booted), booted.sections)
        if booted.used:
            booted.forget_users()
            booted.machine.restore(booted.snapshot)
        booted.used = True
        return Guest(booted.machine, settings, booted.console)

    def close(self) -> None:
        """Let all of them go."""
        while self._booted:
            _let_go(self._booted.popitem()[1])

    def _boot(self, settings: GuestSettings) -> _Booted | BootError:
        self.boots += 1
        sections: tuple[Section, ...] = ()
        try:
            machine = settings.machine()
            forget_users = machine.remember_users()
            observation = Observation(machine, self._lines)
            console = ConsoleLog()
            machine.console.output.append(console.append)
            try:
                _wait(machine, settings, console)
            except HypercallError:
                sections = observation.sections()
                raise
            forget_users()
            return _Booted(machine, machine.snapshot(), forget_users, console.text)
        except HypercallError as error:
            return BootError(str(error), sections)


def _wait(machine: Machine, settings: GuestSettings, console: ConsoleLog) -> None:
    """Run until the guest is up.

    Raises:
        GuestTimeoutError: it is not within its limit.
        GuestEndedError: it ended.
    """
    awaited = settings.awaited
    if awaited is None:
        return
    pattern = re.compile(
        re.escape(awaited).replace(r"\n", r"\r?\n").replace("\n", "\r?\n").encode()
    )
    guest = Guest(machine, settings)
    try:
        guest.run_until(
            lambda: console.search(pattern, max(0, console.end - (64 << 10))) is not None,
            settings.boot_limit,
            f"{awaited.strip()!r} on the console of {settings.name}",
        )
    except GuestTimeoutError as error:
        raise GuestTimeoutError(f"the guest did not come up: {error}") from None
    except GuestEndedError as error:
        raise GuestEndedError(f"the guest did not come up: {error}") from None


def _let_go(booted: _Booted | BootError) -> None:
    if not isinstance(booted, BootError):
        booted.snapshot.close()
