import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hypercall.cli.app import app, main
from hypercall.errors import HypercallError


def hypercall(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hypercall.cli.app", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **environment},
    )


def test_the_help_lists_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for name in ("run", "calls", "decode", "initrd"):
        assert name in result.stdout


def test_the_version_is_one_line() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("hypercall ")
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["fly"], ["--fly"], ["run", "--cpus"]])
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str]) -> None:
    done = hypercall(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("hypercall: ")
    assert done.stderr.count("\n") == 1
    assert "--help" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["calls", "HvPostMessage"], "0x005c"), (["decode", "--result", "5"], "INVALID_PARAMETER")],
)
def test_the_reference_and_the_decoder_are_there(arguments: list[str], text: str) -> None:
    done = hypercall(*arguments)
    assert done.returncode == 0
    assert text in done.stdout.replace("0x005C", "0x005c")


@pytest.mark.parametrize(
    "arguments", [["calls", "HvNonsense"], ["decode", "12zz"], ["decode", "--result", "x"]]
)
def test_bad_words_are_one_line_and_exit_code_2(arguments: list[str]) -> None:
    done = hypercall(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("hypercall: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["calls"], ["run", "--help"], ["--version"]])
def test_a_reader_that_went_away_is_no_mistake(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "hypercall.cli.app", *arguments],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def failing_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("hypercall.cli.app.app", fail)
    with pytest.raises(SystemExit) as leaving:
        main([])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "hypercall: interrupted"),
        (HypercallError("another wheel\nis here"), 70, "hypercall: another wheel is here"),
        (OSError(28, "No space left"), 74, "hypercall: [Errno 28] No space left"),
        (RuntimeError("oh"), 70, "hypercall: internal error: RuntimeError: oh at "),
    ],
)
def test_every_failure_is_one_line(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("HYPERCALL_DEBUG", raising=False)
    assert failing_with(error, monkeypatch) == code
    shown = capsys.readouterr().err
    assert shown.startswith(line)
    assert shown.count("\n") == 1


def test_the_traceback_is_shown_if_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYPERCALL_DEBUG", "1")
    assert failing_with(RuntimeError("oh"), monkeypatch) == 70
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback ")
    assert shown.splitlines()[-1].startswith("hypercall: internal error: RuntimeError: oh")


def test_the_command_starts_quickly() -> None:
    # The processor and the declarations must not be loaded only to show a help text.
    source = (
        "import sys; import hypercall.cli.app;"
        "print([m for m in sys.modules if m in ('unicorn', 'hypercall.machine.machine',"
        " 'hypercall.tlfs.calls', 'rich.console')])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
