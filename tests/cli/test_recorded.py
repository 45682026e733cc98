from dataclasses import replace
from pathlib import Path

import pytest
from recorded_guest import record
from tests.report.samples import sample, write_trace

from hypercall.cli.recorded import Recorded
from hypercall.errors import InputError
from hypercall.recording.recording import Recording
from hypercall.trace.description import RunDescription
from hypercall.trace.events import HypercallEvent

KVM = (
    "# tracer: nop\n"
    " qemu-4711 [002] ..... 1.000100: kvm_hv_hypercall: code 0x2 fast rep_cnt 0 rep_idx 0"
    " ingpa 0x5000 outgpa 0x0\n"
)


def test_json_lines(tmp_path: Path) -> None:
    recorded = Recorded(write_trace(tmp_path / "run.jsonl"))
    assert recorded.description == RunDescription("hypercall", "vmlinuz", cpus=3)
    assert list(recorded) == list(sample())
    assert recorded.symbol(0x2000) == "send+0x4"
    assert recorded.damage is None
    recorded.raise_damage()


def test_damaged_json_lines(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "run.jsonl")
    path.write_bytes(path.read_bytes()[:-20] + b"\nx\ny\n")
    recorded = Recorded(path)
    assert len(list(recorded)) == 20
    assert recorded.damage is not None
    assert "is damaged at line 22, byte " in recorded.damage
    assert "and 2 more places" in recorded.damage
    with pytest.raises(InputError, match=r"run\.jsonl is damaged at line 22"):
        recorded.raise_damage()


def test_a_trace_of_kvm(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(KVM)
    recorded = Recorded(path)
    assert recorded.description.source == "kvm"
    (event,) = recorded
    assert isinstance(event, HypercallEvent)
    assert event.record.control & 0xFFFF == 2
    assert any("virtual processor" in note for note in recorded.notes)


def test_a_recording_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypercall.cli.recorded._AT_A_TIME", 3)
    path = record(tmp_path, monkeypatch)
    recorded = Recorded(path)
    assert recorded.description.image == "guest.bin"
    events = list(recorded)
    assert events == list(Recorded(tmp_path / "first.jsonl"))
    assert sum(isinstance(event, HypercallEvent) for event in events) == 20
    assert recorded.notes == []
    assert recorded.damage is None


def test_a_recording_that_comes_out_differently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording.load(record(tmp_path, monkeypatch))
    recording.inputs[0] = replace(recording.inputs[0], data=b"x")
    recording.save(tmp_path / "other.hcrun")
    recorded = Recorded(tmp_path / "other.hcrun")
    assert len(list(recorded)) > 20
    (note,) = recorded.notes
    assert note.startswith("The run is not the recorded one: ")


def test_a_trace_without_events(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"event":"trace","version":1,"cpus":4}\n')
    recorded = Recorded(path)
    assert list(recorded) == []
    assert recorded.description.cpus == 4


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01", b"hello\n"])
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(InputError):
        list(Recorded(path))


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the trace"):
        Recorded(tmp_path / "nothing")
