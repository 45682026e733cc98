import io
from pathlib import Path

import pytest
from fake_machine import FakeFault, FakeMachine

from hypercall.cli import app, guest
from hypercall.cli.faults import write_faults
from hypercall.cli.guest import RunOptions
from hypercall.faults.grammar import KEYS, KINDS


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.bin"
    path.write_bytes(b"\xf4")
    return path


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as leaving:
        app.main(list(map(str, arguments)))
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def test_the_explanation_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("faults") == 0
    text = capsys.readouterr().out
    for kind in KINDS.values():
        assert kind.example in text
        assert kind.meaning in text
    for key, (form, _) in KEYS.items():
        assert (f"{key}={form}" if form else key) in text


def test_faults_reach_the_machine_and_the_summary(
    image: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guest, "make_machine", FakeMachine)
    faults = ["call=PostMessage,nth=3,status=NO_RESOURCES", "interrupt,drop"]
    assert command("run", *(word for each in faults for word in ("--inject", each)), image) == 0
    table = capsys.readouterr().err
    assert "Injected faults" in table
    assert all(fault in table for fault in faults)


def test_without_faults_there_is_no_table() -> None:
    stream = io.StringIO()
    write_faults(stream, [])
    assert stream.getvalue() == ""


def test_the_table_counts() -> None:
    stream = io.StringIO()
    write_faults(stream, [FakeFault("call,[x],status=5", 1234, 56)])
    row = next(line for line in stream.getvalue().splitlines() if "call" in line)
    assert "call,[x],status=5" in row
    assert "1,234" in row
    assert "56" in row


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("call=Nothing,status=5", "--inject: the fault 'call=Nothing,status=5': no call is named"),
        ("interrupt,vp=9,drop", "--inject: there is no virtual processor 9"),
    ],
)
def test_a_mistake_is_one_line(
    fault: str,
    complaint: str,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made: list[RunOptions] = []

    def make(options: RunOptions) -> FakeMachine:
        made.append(options)
        return FakeMachine(options)

    monkeypatch.setattr(guest, "make_machine", make)
    assert command("run", "--inject", fault, image) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    # What means nothing is found before a machine is made.
    assert bool(made) == ("vp=9" in fault)


def test_every_kind_and_key_is_on_their_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    for kind in KINDS:
        assert f"`{kind}" in page
    for key in KEYS:
        assert f"`{key}=" in page or f"`{key}`" in page
