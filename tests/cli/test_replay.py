import json
from pathlib import Path

import pytest
from recorded_guest import CODE, hypercall, record

from hypercall.machine.machine import Machine
from hypercall.recording.recording import Recording
from hypercall.snapshot.container import read_container, write_container

SECOND = 1_000_000_000


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return record(tmp_path, monkeypatch)


def test_a_run_comes_again_with_its_input(
    recording: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    capfdbinary.readouterr()
    again = tmp_path / "again.jsonl"
    code = hypercall(
        *("replay", recording, "--trace", again, "--trace-format", "jsonl"),
        *("--trace-events", "all"),
    )
    console, errors = capfdbinary.readouterr()
    assert code == 0
    assert again.read_bytes() == (tmp_path / "first.jsonl").read_bytes()
    assert console == b"".join(b"%c\n" % (96 + number) for number in range(1, 21))
    assert b"The run is the recorded one, to its end." in errors


def test_a_run_that_was_stopped_comes_again_up_to_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = record(tmp_path, monkeypatch, "--limit", 0.004)
    assert hypercall("replay", recording) == 0
    assert "The run is the recorded one, to its end." in capsys.readouterr().err


def changed(path: Path, **change: object) -> Path:
    parts = read_container(path, b"HCRUN\r\n\0", 1, "", 1 << 24)
    head = json.loads(parts["head"]) | change
    other = path.with_name("other.hcrun")
    write_container(other, b"HCRUN\r\n\0", 1, {**parts, "head": json.dumps(head).encode()})
    return other


def test_a_run_that_comes_out_differently_is_told(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = changed(recording, inputs=[[0, 0, "console", "eA=="]], hypercall="0.0.1")
    assert hypercall("replay", other) == 1
    errors = capsys.readouterr().err
    assert "The run is not the recorded one: it ended at" in errors
    assert "hypercall 0.0.1 recorded it" in errors


def test_a_recording_without_an_end(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hypercall("replay", changed(recording, end=None)) == 0
    assert "How the recorded run ended is not known." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("moment", "calls", "column"),
    [
        ("call:5", 4, "at call:5."),
        ("call:NotifyLongSpinWait:3", 4, "at call:HvCallNotifyLongSpinWait:3."),
        ("call:notify_long_spin_wait", 0, "at call:HvCallNotifyLongSpinWait:1."),
        ("console:g", 7, "at console:g."),
        ("5ms", 10, "at 5ms."),
    ],
)
def test_it_stops_at_a_moment_and_can_be_gone_on_from(
    recording: Path,
    tmp_path: Path,
    moment: str,
    calls: int,
    column: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved, rest = tmp_path / "saved", tmp_path / "rest.jsonl"
    assert hypercall("replay", recording, "--stop-at", moment, "--save", saved) == 0
    assert column in capsys.readouterr().err
    machine = Machine.from_snapshot(saved)
    assert machine.partition.memory.read_u64(0x180000) == calls
    code = hypercall(
        *("run", saved, "--trace", rest, "--trace-format", "jsonl", "--trace-events", "all"),
    )
    assert code == 0
    unbroken, events = (
        [line for line in path.read_text().splitlines()[1:] if '"event":"finding"' not in line]
        for path in (tmp_path / "first.jsonl", rest)
    )
    assert 0 < len(events) < len(unbroken)
    assert unbroken[-len(events) :] == events


def test_a_moment_that_never_comes(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "saved"
    assert hypercall("replay", recording, "--stop-at", "call:21", "--save", saved) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("hypercall: --stop-at: call:21 never came: the run ended at 0.0")
    assert "after 20 calls" in error
    assert not saved.exists()


def test_a_run_is_checked_again(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hypercall("replay", recording, "--check=off") == 0
    assert "finding" not in capsys.readouterr().err
    # The guest has its call read what it never wrote.
    assert hypercall("replay", recording, "--check=strict") == 1
    errors = capsys.readouterr().err
    assert "uninitialised-input" in errors
    assert "recorded" not in errors


def test_the_tour_comes_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = tmp_path / "tour.hcrun"
    assert hypercall("run", "--record", recording) == 0
    first = capsys.readouterr().out
    assert hypercall("replay", recording) == 0
    out, errors = capsys.readouterr()
    assert out == first
    assert "The run is the recorded one, to its end." in errors
    assert "finding" not in errors


def test_injected_faults_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image, recording = tmp_path / "guest.bin", tmp_path / "run.hcrun"
    image.write_bytes(CODE)
    keys = tmp_path / "keys"
    keys.write_bytes(b"k")
    fault = "call=NotifyLongSpinWait,nth=2,status=ACCESS_DENIED"
    with keys.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert hypercall("run", image, "--record", recording, "--inject", fault) == 0
    assert Recording.load(recording).faults == (fault,)
    trace = tmp_path / "trace"
    assert hypercall("replay", recording, "--trace", trace) == 0
    assert trace.read_text().count("= ACCESS_DENIED") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("missing.hcrun",), "cannot read the recording missing.hcrun"),
        (("{recording}", "--stop-at", "soon"), "--stop-at: 'soon' is no moment: give a time"),
        (("{recording}", "--trace-format", "jsonl"), "add --trace FILE"),
        (("{recording}", "--save", "{recording}"), "is also the image"),
        (("{recording}", "--save", "/nowhere/x"), "--save: cannot write /nowhere/x: there is no"),
        (("{recording}", "--check=loud"), "--check: there is no 'loud'"),
        (("{recording}", "--gdb", "x"), "--gdb: "),
        (("{recording}", "-i", "--check=off"), "--check: with --interactive"),
        (("{image}",), "is not a recording of hypercall"),
    ],
)
def test_what_cannot_be_is_one_line(
    recording: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    places = {"recording": recording, "image": tmp_path / "guest.bin"}
    assert hypercall("replay", *(each.format(**places) for each in arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert complaint in error


def test_recordings_and_snapshots_are_told_apart(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "saved"
    assert hypercall("replay", recording, "--stop-at", "1ms", "--save", saved) == 0
    capsys.readouterr()
    assert hypercall("replay", saved) == 2
    assert "is a snapshot: go on from it with `hypercall run" in capsys.readouterr().err
    assert hypercall("run", recording) == 2
    assert "is a recording: do it again with `hypercall replay" in capsys.readouterr().err
