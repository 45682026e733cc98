from collections.abc import Callable

import pytest

from hypercall.cli import app
from hypercall.tlfs.calls import DECLARATIONS

Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, list[str]]:
        with pytest.raises(SystemExit) as leaving:
            app.main(list(arguments))
        assert isinstance(leaving.value.code, int)
        return leaving.value.code, capsys.readouterr().out.splitlines()

    return call


def test_every_call_does_what_it_must(run: Run) -> None:
    code, lines = run("tour")
    assert lines[-1] == "Every call did what it must."
    assert code == 0
    for declaration in DECLARATIONS:
        start = f"{declaration.code:#06x} {declaration.name} "
        assert len([line for line in lines if line.startswith(start)]) == 1


def test_run_without_an_image_is_the_same(run: Run) -> None:
    assert run("run") == run("tour")


def test_a_call_that_is_refused_is_a_failure(run: Run) -> None:
    code, lines = run("tour", "--privileges", "all,-PostMessages")
    assert code == 1
    assert lines[-1] == "1 calls did not do what they must."
    (line,) = [line for line in lines if "FAILED" in line]
    assert line.startswith("0x005c HvCallPostMessage")
    assert "ACCESS_DENIED" in line


def test_a_call_that_is_unknown_is_not_hidden(run: Run) -> None:
    code, lines = run("tour", "--privileges", "all,-EpfSetup")
    assert code == 1
    capabilities, setup = [line for line in lines if "FAILED" in line]
    assert capabilities.startswith("0x8001 HvExtCallQueryCapabilities")
    assert setup.startswith("0x8004 HvExtCallEpfSetup")
    assert setup.endswith("FAILED, it is not implemented")


def test_an_exception_ends_a_stop_and_not_the_tour(run: Run) -> None:
    code, lines = run("tour", "--privileges", "all,-AccessSynicRegs,-AccessVsm")
    assert code == 1
    (line,) = [line for line in lines if line.startswith("0x005c")]
    assert "FAILED, exception 13 at 0x" in line
    assert lines[-1] == "10 calls did not do what they must."
