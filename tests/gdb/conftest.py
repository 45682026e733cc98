"""A guest's machine, and gdb's view of it."""

from collections.abc import Callable

import pytest
from tests.gdb.guest import make_machine

from hypercall.gdb.monitor import Monitor
from hypercall.gdb.session import Session
from hypercall.gdb.target import Target
from hypercall.machine.machine import Machine


@pytest.fixture
def machine() -> Machine:
    return make_machine()


@pytest.fixture
def target(machine: Machine) -> Target:
    return Target(machine)


@pytest.fixture
def session(target: Target) -> Session:
    return Session(target, Monitor(target), reversible=False)


@pytest.fixture
def ask(session: Session) -> Callable[[str], str]:
    """Ask as gdb does, and get the reply as text."""

    def asked(payload: str) -> str:
        reply = session.handle(payload.encode("latin-1"))
        return "nothing" if reply is None else reply.decode("latin-1")

    return asked
