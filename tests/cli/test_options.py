import pytest
import typer
from typer.testing import CliRunner

from hypercall.cli import options
from hypercall.errors import InputError


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, 0, None, "hyperv", "default", "vmlinux"), "--cpus: 0 is not between 1 and 64"),
        ((65, 0, None, "hyperv", "default", "vmlinux"), "--cpus: 65"),
        ((1, -1, None, "hyperv", "default", "vmlinux"), "--seed: -1"),
        ((1, 0, 1 << 64, "hyperv", "default", "vmlinux"), "--shuffle-vp-index"),
        ((1, 0, None, "vmware", "default", "vmlinux"), "--like: there is no 'vmware'"),
        ((1, 0, None, "hyperv", "none", "vmlinux"), "--privileges: "),
        ((1, 0, None, "hyperv", "default", "reset"), "--entry: there is no 'reset'"),
    ],
)
def test_machines_that_there_cannot_be(
    arguments: tuple[int, int, int | None, str, str, str], text: str
) -> None:
    options.check_machine(1, 0, None, "hyperv", "default", "vmlinux")
    with pytest.raises(InputError) as caught:
        options.check_machine(*arguments)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("trace", "trace_format", "events", "text"),
    [
        (None, "jsonl", None, "add --trace FILE"),
        (None, None, "all", "add --trace FILE"),
        ("t", "xml", None, "--trace-format: there is no 'xml'"),
        ("t", "jsonl", "calls,nonsense", "--trace-events: "),
    ],
)
def test_traces_that_there_cannot_be(
    trace: str | None, trace_format: str | None, events: str | None, text: str
) -> None:
    options.check_trace("t", "jsonl", "hypercall,vtl")
    options.check_trace(None, None, None)
    with pytest.raises(InputError, match=text):
        options.check_trace(trace, trace_format, events)


def test_a_format_for_a_time_line_has_all_events_unless_told_otherwise() -> None:
    assert options.default_events(None, None) == "calls"
    assert options.default_events(None, "perfetto") == "all"
    assert options.default_events("vtl", "perfetto") == "vtl"


def test_checks_that_there_cannot_be() -> None:
    options.check_checks("off", stale=False)
    with pytest.raises(InputError, match="--check: there is no 'loud'"):
        options.check_checks("loud", stale=False)
    with pytest.raises(InputError, match="--check-stale is a check"):
        options.check_checks("off", stale=True)


def test_places_for_gdb() -> None:
    options.check_gdb(None)
    options.check_gdb(":1234")
    with pytest.raises(InputError, match="--gdb: "):
        options.check_gdb("nowhere")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_seconds(seconds: float) -> None:
    assert options.seconds_to_ns("--limit", 1.5) == 1_500_000_000
    assert options.seconds_to_ns("--limit", 1e-12) == 1
    with pytest.raises(InputError, match=r"--limit: .* greater than 0"):
        options.seconds_to_ns("--limit", seconds)


def test_options_that_the_user_gave() -> None:
    app = typer.Typer()

    @app.command()
    def command(context: typer.Context, vp_index: int = 0, seed: options.Seed = 0) -> None:
        typer.echo(" ".join(options.given(context, ["vp_index", "seed"])))

    assert CliRunner().invoke(app, ["--vp-index", "0"]).output == "--vp-index\n"
    assert CliRunner().invoke(app, []).output == "\n"
