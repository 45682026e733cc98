import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.guests.kit import assemble

from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.result import StopReason
from hypercall.recording.inputs import Input, InputKind
from hypercall.recording.recording import FORMAT, MAGIC, End, Guest, Recording, is_recording
from hypercall.snapshot.container import read_container, write_container

SECOND = 1_000_000_000
CODE = assemble("mov ecx, 1000\nagain:\nsub ecx, 1\njnz again\nmov eax, 0\nout 0xF4, eax", 0x100000)


def recorded() -> Recording:
    return Recording(
        MachineConfiguration(cpus=2, memory=4 << 20, seed=3, like="kvm", privileges="kvm"),
        Guest(CODE, "loop.bin", None, "", image_format="flat"),
        ("call=NotifyLongSpinWait,nth=2,status=ACCESS_DENIED",),
        [Input(0, 0, InputKind.CONSOLE, b"x")],
    )


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    recording = recorded()
    end = End.of(recording.machine().run(SECOND))
    assert end.reason is StopReason.DEBUG_EXIT
    full = Recording(
        recording.configuration, recording.guest, recording.faults, recording.inputs, end
    )
    path = tmp_path / "run.hcrun"
    full.save(path)
    assert is_recording(path)
    assert Recording.load(path) == full
    assert End.of(Recording.load(path).machine().run(SECOND)) == end


def test_differences_are_told() -> None:
    recording = recorded()
    machine = recording.machine()
    result = machine.run(SECOND)
    assert recording.difference(result, machine) is None
    full = replace(recording, end=End.of(result, machine))
    assert full.difference(result, machine) is None
    late = replace(result, virtual_ns=result.virtual_ns + 1)
    assert f"and at {late.virtual_ns} ns" in str(full.difference(late, machine))
    other = replace(result, exit_code=3)
    assert "with the value 3" in str(full.difference(other, machine))
    machine.partition.memory.ram[0x100F00] = 1
    assert ", its memory " in str(full.difference(result, machine))
    old = replace(full, version="0.0.1")
    assert "hypercall 0.0.1 recorded it" in str(old.difference(result, machine))


def test_who_stopped_a_run_makes_no_difference() -> None:
    recording = recorded()
    machine = recording.machine()
    result = machine.run(500)
    assert result.reason is StopReason.LIMIT
    stopped = replace(End.of(result, machine), reason=StopReason.INTERRUPTED)
    assert replace(recording, end=stopped).difference(result, machine) is None


def test_a_run_that_was_stopped_is_stopped_again(tmp_path: Path) -> None:
    recording = recorded()
    for reason, limit in (
        (StopReason.LIMIT, 77),
        (StopReason.INTERRUPTED, 77),
        (StopReason.POWER_OFF, None),
    ):
        ended = Recording(recording.configuration, recording.guest, end=End(reason, 77, 1, {}))
        assert ended.limit_ns == limit
    assert recording.limit_ns is None


@pytest.mark.parametrize(
    "change",
    [
        {"guest": []},
        {"guest": ["a", "b", "elsewhere", "flat"]},
        {"guest": ["a", "b", "vmlinux", "exe"]},
        {"inputs": [5]},
        {"inputs": None},
        {"configuration": {"r": 99}},
        {"configuration": {"t": []}},
        {"end": ["NO_REASON", 1, 1, {}]},
        {"end": 5},
        {"end": ["LIMIT", 1, 1, {}, "x", None]},
        {"end": ["LIMIT", 1, 1, {}, None, 5]},
        {"faults": 5},
    ],
)
def test_damaged_recordings(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "run.hcrun"
    recorded().save(path)
    parts = read_container(path, MAGIC, FORMAT, "", 1 << 24)
    head = json.loads(parts["head"]) | change
    write_container(path, MAGIC, FORMAT, {**parts, "head": json.dumps(head).encode()})
    with pytest.raises(InputError, match=str(path)):
        Recording.load(path)


@pytest.mark.parametrize("missing", ["head", "image"])
def test_a_part_is_missing(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "run.hcrun"
    recorded().save(path)
    parts = read_container(path, MAGIC, FORMAT, "", 1 << 24)
    del parts[missing]
    write_container(path, MAGIC, FORMAT, parts)
    with pytest.raises(InputError, match="damaged"):
        Recording.load(path)


def test_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(b"HCSNAP\r\n" + bytes(100))
    assert not is_recording(path)
    with pytest.raises(InputError, match="is not a recording"):
        Recording.load(path)
