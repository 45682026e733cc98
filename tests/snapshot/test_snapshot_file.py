import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.guests.assembly import call, put
from tests.guests.vtl import vtl_call, vtl_guest, vtl_return
from tests.snapshot.test_snapshot import RACE, SECOND, Observed, same

from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.machine.result import StopReason
from hypercall.snapshot.container import read_container, write_container
from hypercall.snapshot.snapshot_file import FORMAT, MAGIC, is_snapshot
from hypercall.trace.events import Event, HypercallEvent


def test_another_machine_goes_on_as_the_first_did(tmp_path: Path) -> None:
    unbroken = Observed(RACE)
    expected, memory = unbroken.finish()
    for part in (1, 3):
        first = Observed(RACE)
        first.machine.run(expected.virtual_ns * part // 4)
        path = tmp_path / "snapshot"
        first.machine.snapshot().save(path)
        assert is_snapshot(path)
        machine = Machine.from_snapshot(path)
        second = Observed.watching(machine)
        result = machine.run(SECOND)
        assert same(result, expected)
        assert hashlib.sha256(machine.partition.memory.ram).digest() == memory
        assert second.events == unbroken.events[len(first.events) - 1 :]


CONTINUED = """
import sys
from pathlib import Path
from hypercall import Machine
machine = Machine.from_snapshot(Path(sys.argv[1]))
result = machine.run(1_000_000_000)
print(result.reason.name, result.virtual_ns, machine.partition.memory.ram[0x1E0000:0x1E0020].hex())
"""


def test_another_process_goes_on_in_two_trust_levels(tmp_path: Path) -> None:
    step = "inc rbx\n" + put("rbx")
    machine = vtl_guest(
        f"mov ebx, 1\n{vtl_call()}\n{step}\n{vtl_call()}\n{step}",
        f"{step}\n{call(8)}\n{vtl_return(1)}\n{step}\n{vtl_return(1)}",
    ).machine()

    def pause(event: Event) -> None:
        if event.position.vtl:
            machine.pause()

    machine.trace.subscribe(pause, HypercallEvent)
    assert machine.run(SECOND).reason is StopReason.PAUSED
    path = tmp_path / "snapshot"
    machine.snapshot().save(path)
    result = machine.run(SECOND)
    while result.reason is StopReason.PAUSED:
        result = machine.run(SECOND)
    ram = machine.partition.memory.ram
    said = subprocess.run(
        [sys.executable, "-c", CONTINUED, str(path)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert said == [result.reason.name, str(result.virtual_ns), ram[0x1E0000:0x1E0020].hex()]


def test_saving_does_not_change_the_run(tmp_path: Path) -> None:
    expected, memory = Observed(RACE).finish()
    observed = Observed(RACE)
    machine = observed.machine
    machine.run(expected.virtual_ns // 3)
    snapshot = machine.snapshot()
    machine.run(expected.virtual_ns // 2)
    snapshot.save(tmp_path / "snapshot")
    assert Machine.from_snapshot(tmp_path / "snapshot").time_ns == snapshot.time_ns
    result, digest = observed.finish()
    assert same(result, expected)
    assert digest == memory


def test_the_configuration_comes_back(tmp_path: Path) -> None:
    configuration = MachineConfiguration(
        cpus=3, memory=3 << 20, seed=9, like="kvm", shuffle_vp_index=4, privileges="windows-11"
    )
    machine = Machine(configuration)
    machine.load(b"\xeb\xfe", image_format="flat")
    path = tmp_path / "snapshot"
    machine.snapshot().save(path)
    assert Machine.from_snapshot(path).configuration == configuration


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "snapshot"
    machine = Machine(MachineConfiguration(memory=2 << 20))
    machine.load(b"\xeb\xfe", image_format="flat")
    machine.snapshot().save(path)
    return path


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("head", b"[]", "damaged"),
        ("head", b"{", "damaged"),
        ("head", b'{"hypercall": "0.0"}', "was made by hypercall 0.0"),
        ("ram", b"x", "memory"),
        ("pages", b"", "another size|memory"),
        ("state 0", b"", "another kind"),
        ("tlb 0", b"\xff" * 2176, "TLB"),
        ("fields 0", b"", "another kind"),
        ("table 0", b"12345678", "another size"),
    ],
)
def test_a_damaged_part_is_said_so(saved: Path, part: str, content: bytes, message: str) -> None:
    parts = read_container(saved, MAGIC, FORMAT, "", 1 << 28)
    assert part in parts
    write_container(saved, MAGIC, FORMAT, {**parts, part: content})
    with pytest.raises(InputError, match=message) as caught:
        Machine.from_snapshot(saved)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_than_a_machine_has_is_not_unpacked(saved: Path) -> None:
    parts = read_container(saved, MAGIC, FORMAT, "", 1 << 28)
    write_container(saved, MAGIC, FORMAT, {**parts, "ram": bytes(300 << 20)})
    with pytest.raises(InputError, match="more than it may"):
        Machine.from_snapshot(saved)


@pytest.mark.parametrize(
    "change",
    [
        *({"count": -1}, {"count": 1 << 70}, {"skew": 1.5}, {"skew": "1"}, {"skew": (1 << 64) - 1}),
        *({"factor": 0}, {"factor": 9}, {"current": 7}),
    ],
)
def test_numbers_of_the_engine_that_are_none(saved: Path, change: dict[str, Any]) -> None:
    parts = read_container(saved, MAGIC, FORMAT, "", 1 << 28)
    head = json.loads(parts["head"])
    head["engine"] |= change
    write_container(saved, MAGIC, FORMAT, {**parts, "head": json.dumps(head).encode()})
    with pytest.raises(InputError, match=r"damaged|another") as caught:
        Machine.from_snapshot(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["arena", "tables", "contexts"])
def test_numbers_that_do_not_fit(saved: Path, part: str) -> None:
    parts = read_container(saved, MAGIC, FORMAT, "", 1 << 28)
    head = json.loads(parts["head"])
    head[part] = [1 << 40] if part == "arena" else 7
    write_container(saved, MAGIC, FORMAT, {**parts, "head": json.dumps(head).encode()})
    with pytest.raises(InputError, match=str(saved)):
        Machine.from_snapshot(saved)


def test_hostile_registers_do_not_harm_the_host(saved: Path) -> None:
    parts = read_container(saved, MAGIC, FORMAT, "", 1 << 28)
    for fill in (b"\xff", b"\x7f", b"\x01"):
        size = len(parts["state 0"])
        write_container(saved, MAGIC, FORMAT, {**parts, "state 0": fill * size})
        code = f"from pathlib import Path; from hypercall import Machine;\
            Machine.from_snapshot(Path({str(saved)!r})).run(1000000)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert done.returncode in (0, 1), done.stderr


def test_what_is_no_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(b"x" * 100)
    assert not is_snapshot(path)
    with pytest.raises(InputError, match="is not a snapshot"):
        Machine.from_snapshot(path)
