"""The command ``hypercall``: its subcommands, and how what goes wrong reaches the user."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from hypercall.cli.calls import calls_command
from hypercall.cli.checks import checks_command
from hypercall.cli.decode import decode_command
from hypercall.cli.exit_code import ExitCode
from hypercall.cli.export import export_command
from hypercall.cli.faults import faults_command
from hypercall.cli.importing import import_command
from hypercall.cli.initrd import initrd
from hypercall.cli.optional_value import CommandWithOptionalValues
from hypercall.cli.readings import readings_command
from hypercall.cli.replay import replay_command
from hypercall.cli.report import report_command
from hypercall.cli.run import run
from hypercall.cli.stats import stats_command
from hypercall.cli.sweep import sweep_command
from hypercall.cli.tour import tour
from hypercall.errors import HypercallError, InputError

# Both the click that typer brings along and a click of its own have this class; only its place
# differs between the versions of typer.
_USAGE_ERROR: type[Exception] = next(
    kind
    for kind in typer.BadParameter.__mro__
    if issubclass(kind, Exception) and kind.__name__ == "ClickException"
)

app = typer.Typer(
    name="hypercall",
    help="Run real guest code on the Microsoft hypervisor's hypercall interface, without Hyper-V.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", cls=CommandWithOptionalValues)(run)
app.command("tour")(tour)
app.command("calls")(calls_command)
app.command("readings")(readings_command)
app.command("checks")(checks_command)
app.command("decode")(decode_command)
app.command("import")(import_command)
app.command("stats")(stats_command)
app.command("initrd")(initrd)
app.command("export")(export_command)
app.command("replay", cls=CommandWithOptionalValues)(replay_command)
app.command("report")(report_command)
app.command("faults")(faults_command)
app.command("sweep", cls=CommandWithOptionalValues)(sweep_command)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    from hypercall.version import package_version

    sys.stdout.write(f"hypercall {package_version()}\n")
    raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command and leave the process with its exit code.

    Whatever goes wrong is one line on the standard error. With HYPERCALL_DEBUG=1 in the environment
    the traceback comes before it.

    Args:
        arguments: the words after the command's name; those of the process by default.

    Raises:
        SystemExit: always.
    """
    # A closed stream is None; nobody can have wanted to see what goes there.
    with open(os.devnull, "w") as nowhere:
        sys.stdout = sys.stdout or nowhere
        sys.stderr = sys.stderr or nowhere
        _leave(_run(arguments))


def _leave(code: int) -> NoReturn:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = ExitCode.READER_GONE
    except OSError as error:
        code = _complain(f"cannot write the standard output: {error}", ExitCode.OUTPUT_FAILED)
    if code in (ExitCode.READER_GONE, ExitCode.OUTPUT_FAILED):
        # The interpreter will flush once more, and must find something that takes it.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(int(code))


def _run(arguments: list[str] | None) -> int:
    try:
        return int(app(arguments, prog_name="hypercall", standalone_mode=False) or 0)
    except SystemExit as leave:
        if isinstance(leave.__context__, BrokenPipeError):
            # Rich leaves by itself when nobody reads what it writes.
            return ExitCode.READER_GONE
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except _USAGE_ERROR as error:
        return _complain(_usage_text(error), ExitCode.BAD_INPUT)
    except InputError as error:
        return _complain(str(error), ExitCode.BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        return ExitCode.READER_GONE
    except HypercallError as error:
        return _complain(str(error), ExitCode.INTERNAL_ERROR)
    except OSError as error:
        return _complain(str(error), ExitCode.OUTPUT_FAILED)
    except Exception as error:
        return _complain(_internal_text(error), ExitCode.INTERNAL_ERROR)


def _complain(text: str, code: ExitCode) -> ExitCode:
    if os.environ.get("HYPERCALL_DEBUG"):
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stderr.write(f"hypercall: {' '.join(text.split())}\n")
    return code


def _usage_text(error: BaseException) -> str:
    format_message = getattr(error, "format_message", None)
    text = str(format_message() if format_message is not None else error)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "hypercall"
    return f"{text.rstrip('.')} (see {path} --help)"


def _internal_text(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)
    place = f" at {where[-1].filename}:{where[-1].lineno}" if where else ""
    return (
        f"internal error: {type(error).__name__}: {error}{place}; this is a mistake of hypercall:"
        " please report it to the project with the traceback that HYPERCALL_DEBUG=1 shows"
    )


if __name__ == "__main__":
    main()
