"""The shell's answers are found on a console that others write to as well."""

import pytest
from tests.testing.images import HALTS, WRITES

from hypercall.errors import InputError
from hypercall.machine.machine import Machine
from hypercall.testing.console_log import ConsoleLog
from hypercall.testing.failures import CommandError, GuestEndedError, GuestTimeoutError
from hypercall.testing.guest import Guest
from hypercall.testing.settings import GuestSettings
from hypercall.testing.shell import Shell


@pytest.fixture
def machine() -> Machine:
    return GuestSettings(kernel=HALTS, image_format="flat", memory=16 << 20).machine()


def shell_that_answers(machine: Machine, answer: bytes) -> Shell:
    console = ConsoleLog()

    def wait(condition: object, timeout: float, what: str) -> None:
        console.append(b"printf 'hypercall%s 1\\n' -begins; ...\r\n" + answer)
        assert callable(condition)
        assert condition()

    return Shell(machine, console, wait)


@pytest.mark.parametrize(
    ("answer", "output", "status"),
    [
        (b"hypercall-begins 1\r\na\r\nb\r\n\r\nhypercall-ends 1 0\r\n/ # ", "a\nb", 0),
        (b"hypercall-begins 1\r\nno line feedhypercall-ends 1 7\r\n", "no line feed", 7),
        (b"hypercall-be[    1.234567] x: y\r\ngins 1\r\nz\r\nhypercall-ends 1 0\r\n", "z", 0),
        (b"hypercall-begins 1\r\nz\r\nhyper[    1.234567] x\r\ncall-ends 1 0\r\n", "z", 0),
    ],
)
def test_output_and_status(machine: Machine, answer: bytes, output: str, status: int) -> None:
    result = shell_that_answers(machine, answer).run("command")
    assert (result.output, result.status) == (output, status)


def test_a_status_can_be_an_error(machine: Machine) -> None:
    shell = shell_that_answers(machine, b"hypercall-begins 1\nno such\nhypercall-ends 1 127\n")
    with pytest.raises(CommandError, match="'command' returned 127 and wrote: no such"):
        shell.run("command", check=True)


def test_a_command_is_no_longer_than_a_line(machine: Machine) -> None:
    with pytest.raises(InputError, match="too long for the console"):
        shell_that_answers(machine, b"").run("x" * 1000)


def test_a_guest_without_a_shell_does_not_answer(machine: Machine) -> None:
    guest = Guest(machine, GuestSettings())
    with pytest.raises(GuestTimeoutError, match=r"'true' took more .*; no shell at the console"):
        guest.shell.run("true", timeout=0.001)


@pytest.mark.parametrize(
    ("image", "error"), [(HALTS, GuestTimeoutError), (WRITES, GuestEndedError)]
)
def test_a_guest_that_had_not_booted_is_told_of(image: bytes, error: type[Exception]) -> None:
    settings = GuestSettings(kernel=image, image_format="flat", memory=16 << 20)
    guest = Guest(settings.machine(), settings)
    with pytest.raises(error, match=r"took it, and the guest had not booted: give busybox, or"):
        guest.shell.run("true", timeout=1)
