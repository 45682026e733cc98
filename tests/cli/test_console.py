import math
import os
import pty
import signal
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hypercall.cli.console import KEYS, ConsoleInput, EscapeKeys, raw_terminal, show_keys


class Terminal:
    """Both ends of a terminal, and what a console input did with what was typed there."""

    def __init__(self) -> None:
        self.user, self.side = pty.openpty()
        self.fed = b""
        self.stops = 0
        self.input = ConsoleInput(self.side, self._feed, self._stop)

    def _feed(self, data: bytes) -> None:
        self.fed += data

    def _stop(self) -> None:
        self.stops += 1

    def close(self) -> None:
        self.input.close()
        for descriptor in (self.user, self.side):
            try:
                os.close(descriptor)
            except OSError:
                continue


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def test_ordinary_keys_go_to_the_guest() -> None:
    keys = EscapeKeys(lambda: None)
    assert keys.filter(b"ls\r\x03\x04\x1a\x1bxh") == b"ls\r\x03\x04\x1a\x1bxh"
    assert not keys.quit_wanted


def test_escapes_are_taken_out_even_if_split() -> None:
    helped: list[str] = []
    keys = EscapeKeys(lambda: helped.append("help"))
    assert keys.filter(b"a\x01") == b"a"
    assert keys.filter(b"hb") == b"b"
    assert helped == ["help"]
    assert keys.filter(b"\x01\x01c") == b"\x01c"
    assert keys.filter(b"\x01zd") == b"d"
    assert keys.filter(b"e\x01xf") == b"e"
    assert keys.quit_wanted


def test_the_help_names_every_escape(capsys: pytest.CaptureFixture[str]) -> None:
    show_keys()
    shown = capsys.readouterr().err
    assert all(line in shown for line in KEYS)


def test_a_terminal_is_raw_inside_and_as_before_after(terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.side)
    inside: list[Any] = []

    def fail_inside() -> None:
        with raw_terminal(terminal.side):
            inside.extend(termios.tcgetattr(terminal.side))
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert not inside[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    assert inside[1] == before[1], "output processing must stay as it is"
    assert termios.tcgetattr(terminal.side) == before


def test_what_is_no_terminal_is_left_alone() -> None:
    reader, writer = os.pipe()
    with raw_terminal(reader):
        os.write(writer, b"x")
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(writer)


def test_typed_keys_arrive_raw(terminal: Terminal) -> None:
    with raw_terminal(terminal.side):
        os.write(terminal.user, b"l\r\x03")
        assert terminal.input.interactive
        assert terminal.input.poll(1.0)
    assert terminal.fed == b"l\r\x03"
    assert terminal.stops == 0


def test_quitting_stops_once_and_drops_the_rest(terminal: Terminal) -> None:
    with raw_terminal(terminal.side):
        os.write(terminal.user, b"ab\x01xcd")
        assert terminal.input.poll(1.0)
        os.write(terminal.user, b"\x01x")
        assert not terminal.input.poll(1.0)
    assert terminal.fed == b"ab"
    assert terminal.stops == 1


def test_nothing_typed_is_nothing_fed(terminal: Terminal) -> None:
    started = time.monotonic()
    assert not terminal.input.poll()
    assert not terminal.input.poll(0.05)
    assert time.monotonic() - started >= 0.05
    assert terminal.fed == b""


def test_a_wait_for_ever_is_ended_by_a_key_and_by_a_wake_up(terminal: Terminal) -> None:
    with raw_terminal(terminal.side):
        typist = threading.Timer(0.05, os.write, (terminal.user, b"k"))
        typist.start()
        assert terminal.input.poll(math.inf)
        assert terminal.fed == b"k"
        waker = threading.Timer(0.05, terminal.input.wake)
        waker.start()
        assert not terminal.input.poll(math.inf)
        assert not terminal.input.poll(math.inf), "once woken, it never waits again"


def test_a_signal_handler_can_end_the_wait(terminal: Terminal) -> None:
    before = signal.signal(signal.SIGALRM, lambda number, frame: terminal.input.wake())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        assert not terminal.input.poll(math.inf)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_hung_up_terminal_is_the_end_of_input(terminal: Terminal) -> None:
    os.close(terminal.user)
    assert not terminal.input.poll(math.inf)
    assert not terminal.input.poll(math.inf)


def test_a_pipe_has_no_escapes_and_an_end() -> None:
    reader, writer = os.pipe()
    fed: list[bytes] = []
    source = ConsoleInput(reader, fed.append, lambda: pytest.fail("no key of a pipe stops"))
    assert not source.interactive
    os.write(writer, b"\x01x")
    assert source.poll()
    os.close(writer)
    assert not source.poll(math.inf)
    assert fed == [b"\x01x"]
    source.close()
    os.close(reader)


def test_a_file_is_given_at_once(tmp_path: Path) -> None:
    path = tmp_path / "typed"
    path.write_bytes(b"line\n" * 2000)
    fed: list[bytes] = []
    with path.open("rb") as file:
        source = ConsoleInput(file.fileno(), fed.append, lambda: None)
        source.feed_file()
        assert b"".join(fed) == b"line\n" * 2000
        assert not source.poll(math.inf)
        source.close()


def test_what_is_no_file_is_not_read_ahead(terminal: Terminal) -> None:
    terminal.input.feed_file()
    with raw_terminal(terminal.side):
        os.write(terminal.user, b"later")
        assert terminal.input.poll(1.0)
    assert terminal.fed == b"later"


def test_without_any_input_there_is_still_a_pause() -> None:
    source = ConsoleInput(None, lambda data: pytest.fail("nothing can come"), lambda: None)
    started = time.monotonic()
    assert not source.poll(0.05)
    assert time.monotonic() - started >= 0.05
    assert not source.poll(math.inf)
    source.feed_file()
    source.close()


def test_help_does_not_end_a_wait(terminal: Terminal) -> None:
    typist = threading.Timer(0.1, os.write, (terminal.user, b"k"))
    typist.start()
    with raw_terminal(terminal.side):
        os.write(terminal.user, b"\x01h")
        assert terminal.input.poll(math.inf)
    assert terminal.fed == b"k"
