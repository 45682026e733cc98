import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from fake_machine import FakeMachine

from hypercall.cli.guest import RunOptions
from hypercall.cli.session import default_append, run_guest
from hypercall.errors import InputError

FAKE = str(Path(__file__).parent / "fake_machine.py")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.bin"
    path.write_bytes(b"\xf4")
    return path


def command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, FAKE, script, "run", *map(str, arguments)]


def finish(
    script: str, *arguments: object, stdin: int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(script, *arguments), capture_output=True, text=True, timeout=30, stdin=stdin
    )


def wait_for(path: Path, text: str) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.01)
    raise AssertionError(f"{text!r} never came")


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("text,POWER_OFF", 0),
        ("DEBUG_EXIT=0", 0),
        ("DEBUG_EXIT=7", 1),
        ("PANIC", 1),
        ("TRIPLE_FAULT", 1),
        ("LIMIT", 3),
    ],
)
def test_the_exit_code_tells_how_the_guest_ended(image: Path, script: str, code: int) -> None:
    assert run_guest(RunOptions(image), lambda options: FakeMachine(options, script)) == code


def test_the_console_is_on_the_output_and_the_summary_on_the_error(image: Path) -> None:
    done = finish("text,POWER_OFF", image)
    assert done.returncode == 0
    assert done.stdout == "hello from the guest\n"
    assert "The guest powered off." in done.stderr
    assert "\x1b" not in done.stderr


def test_console_and_trace_go_to_files(image: Path, tmp_path: Path) -> None:
    console, trace = tmp_path / "console", tmp_path / "trace"
    done = finish("text,POWER_OFF", image, "--console", console, "--trace", trace)
    assert done.returncode == 0
    assert done.stdout == ""
    assert console.read_text() == "hello from the guest\n"
    assert trace.read_text() == "   0.000000000 vp0 note: said hello\n"


def test_a_trace_to_a_dash_is_on_the_error(image: Path) -> None:
    done = finish("text,POWER_OFF", image, "--trace", "-", "--trace-format", "jsonl")
    assert done.stdout == "hello from the guest\n"
    first, second = (json.loads(line) for line in done.stderr.splitlines()[:2])
    known = {"event": "trace", "version": 1, "source": "fake", "cpus": 1}
    assert first == known | {"checks": "on"}
    assert second["text"] == "said hello"


def test_a_trace_has_the_events_asked_for(image: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    arguments = ("--trace", trace, "--trace-format", "jsonl", "--trace-events", "halt,vtl")
    assert finish("text,POWER_OFF", image, *arguments).returncode == 0
    assert [json.loads(line)["event"] for line in trace.read_text().splitlines()] == ["trace"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_the_guest_with_complete_files(
    image: Path, tmp_path: Path, number: int, code: int
) -> None:
    console, trace = tmp_path / "console", tmp_path / "trace"
    process = subprocess.Popen(
        command("text,idle", image, "--console", console, "--trace", trace),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(console, "idle")
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert "The run was interrupted." in errors
    assert "Traceback" not in errors
    assert trace.read_text().endswith("note: idle\n")


def test_a_mistake_is_one_line_and_the_trace_is_complete(image: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    done = finish("text,raise", image, "--trace", trace)
    assert done.returncode == 70
    assert done.stderr.startswith(
        "hypercall: internal error: ZeroDivisionError: the engine fell over at "
    )
    assert "HYPERCALL_DEBUG=1" in done.stderr
    assert done.stderr.count("\n") == 1
    assert trace.read_text().endswith("note: about to fail\n")


def test_a_reader_that_goes_away_stops_the_guest_quietly(image: Path) -> None:
    process = subprocess.Popen(
        command("flood", image), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=10) == 141
    assert "Error" not in errors
    assert "Exception" not in errors


def test_a_full_disk_stops_the_guest_with_one_line(image: Path) -> None:
    done = finish("flood", image, "--console", "/dev/full")
    assert done.returncode == 74
    assert done.stderr.splitlines()[-1] == (
        "hypercall: cannot write /dev/full: no space left on device"
    )


def test_input_from_a_file_reaches_the_guest(image: Path, tmp_path: Path) -> None:
    typed = tmp_path / "typed"
    typed.write_text("some keys q")
    with typed.open() as file:
        done = finish("echo", image, stdin=file.fileno())
    assert done.stdout == "ready\nsome keys q"


def test_input_that_cannot_be_had_is_no_input(image: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command("text,POWER_OFF", image)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0
    assert done.stdout == "hello from the guest\n"


def test_a_closed_output_is_no_mistake_of_the_program(image: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            "sh",
            "-c",
            'exec "$@" >&-',
            "sh",
            *command("text,POWER_OFF", image, "--console", tmp_path / "console"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0
    assert "rror" not in done.stderr


class OnTerminal:
    """The command with a terminal for input, output and errors."""

    def __init__(self, script: str, *arguments: object) -> None:
        self.user, side = pty.openpty()
        self.before = termios.tcgetattr(side)
        self.side = side
        self.process = subprocess.Popen(
            command(script, *arguments), stdin=side, stdout=side, stderr=side, close_fds=True
        )
        self.shown = b""

    def read_until(self, text: bytes) -> None:
        deadline = time.monotonic() + 10
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} never came: {self.shown!r}"
            if select.select([self.user], [], [], 0.1)[0]:
                self.shown += os.read(self.user, 4096)

    def type(self, keys: bytes) -> None:
        os.write(self.user, keys)

    def end(self) -> int:
        # Somebody has to take what is shown, or the command waits for ever.
        deadline = time.monotonic() + 10
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            if select.select([self.user], [], [], 0.05)[0]:
                self.shown += os.read(self.user, 4096)
        assert termios.tcgetattr(self.side) == self.before, "the terminal must be as before"
        os.close(self.side)
        os.close(self.user)
        return self.process.returncode


def test_on_a_terminal_keys_go_to_the_guest_until_it_ends(image: Path) -> None:
    terminal = OnTerminal("echo,POWER_OFF", image)
    terminal.read_until(b"ready")
    terminal.type(b"a\x03\x01hq")
    assert terminal.end() == 0
    assert b"a\x03" in terminal.shown
    assert b"ready\r\n" in terminal.shown
    assert b"Ctrl-A x  stop the guest" in terminal.shown


def test_on_a_terminal_the_user_can_leave(image: Path) -> None:
    terminal = OnTerminal("idle", image)
    terminal.read_until(b"idle")
    terminal.type(b"\x01x")
    assert terminal.end() == 130
    assert b"The run was interrupted." in terminal.shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(image: Path, number: int) -> None:
    terminal = OnTerminal("idle", image)
    terminal.read_until(b"idle")
    terminal.process.send_signal(number)
    assert terminal.end() == 128 + number


def test_a_mistake_gives_the_terminal_back(image: Path) -> None:
    terminal = OnTerminal("raise", image)
    assert terminal.end() == 70
    assert b"internal error" in terminal.shown


def test_a_terminal_shows_progress_if_it_does_not_show_the_console(
    image: Path, tmp_path: Path
) -> None:
    terminal = OnTerminal("text,POWER_OFF", image, "--console", tmp_path / "console")
    assert terminal.end() == 0
    assert re.search(rb"\r\x1b\[Kloading image.bin \.\.\.\r\x1b\[K", terminal.shown)


def test_linux_gets_a_command_line_and_nothing_else_does(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"\xf4" * 4096)
    assert default_append(image) == ""
    os.mkfifo(tmp_path / "pipe")
    assert default_append(tmp_path / "pipe") == ""
    image.write_bytes(bytes(0x1FE) + b"\x55\xaa" + b"\xeb\x66HdrS" + b"\x0f\x02" + bytes(4096))
    assert default_append(image) == "console=ttyS0"
    image.write_bytes(b"\x7fELF")
    with pytest.raises(InputError):
        default_append(image)


def test_a_snapshot_that_cannot_be_written_loses_nothing_else(image: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    done = finish("text,POWER_OFF", image, "--save", tmp_path / "full", "--trace", trace)
    assert done.returncode == 74
    assert "The guest powered off." in done.stderr
    assert done.stderr.endswith("full cannot be written (no space left): choose another place\n")
    assert "said hello" in trace.read_text()
    assert finish("text,POWER_OFF", image, "--save", tmp_path / "saved").returncode == 0
    assert (tmp_path / "saved").read_text() == "saved"


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        *(("LIMIT", True), ("DEADLOCK", True), ("TRIPLE_FAULT", True), ("INTERRUPTED", True)),
        *(("POWER_OFF", False), ("PANIC", False), ("DEBUG_EXIT=3", False)),
    ],
)
def test_ends_that_make_one_ask_tell_where_the_processors_are(
    script: str, shown: bool, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_guest(RunOptions(image), lambda options: FakeMachine(options, script))
    error = capsys.readouterr().err
    assert (
        "Where the virtual processors are\n  VP 0: running, start+0x1, interrupts off\n" in error
    ) == shown
