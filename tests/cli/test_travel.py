import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recorded_guest import hypercall, record

from hypercall.cli.travel import Travel, travel
from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.recording.recording import Guest, Recording


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return record(tmp_path_factory.mktemp("recording"), monkeypatch)


@pytest.fixture(scope="module")
def journey(recording: Path) -> Travel:
    return Travel(Recording.load(recording))


def calls(journey: Travel) -> int:
    return journey.replay.machine.partition.memory.read_u64(0x180000)


def test_it_goes_forward_and_back(journey: Travel) -> None:
    for command, made in (
        *(("go call:12", 12), ("back", 11), ("back 5", 6), ("next", 7), ("next 10", 17)),
        *(("go call:NotifyLongSpinWait:2", 3), ("back 9", 0), ("next", 1)),
    ):
        text = journey.run(command)
        assert re.search(rf" s, {made} hypercalls? made\n", text)
        assert calls(journey) == max(made - 1, 0)
    assert "19 hypercalls" in journey.run("go call:19")
    assert "20 hypercalls made, the end of the run\n" in journey.run("end")
    assert journey.run("start") == "0.000000000 s, 0 hypercalls made\n"
    assert journey.run("next 21").startswith("call:21 never comes\n")


def test_what_was_seen_goes_back_too(journey: Travel) -> None:
    journey.run("go call:12")
    assert journey.run("log").count("\n") == 10
    assert "HvCallNotifyLongSpinWait" in journey.run("log 2").splitlines()[0]
    assert journey.run("console 2") == "j\nk\n"
    assert "6 HvCallNotifyLongSpinWait" in journey.run("calls")
    journey.run("go console:c")
    assert journey.run("console") == "a\nb\nc\n"
    assert journey.run("log").count("\n") == 3
    assert "2 HvCallNotifyLongSpinWait" in journey.run("calls")


def test_it_goes_to_what_the_checks_find(journey: Travel) -> None:
    journey.run("start")
    assert journey.run("findings") == "none so far\n"
    assert " s, 1 hypercall made\n" in journey.run("go event:finding")
    assert "uninitialised-input" in journey.run("findings")
    assert journey.run("start")
    assert journey.run("findings") == "none so far\n"


def test_it_looks_at_the_machine(journey: Travel) -> None:
    journey.run("go call:5")
    assert "rbx    0x0000000000000004\n" in journey.run("registers")
    assert "VP 0" in journey.run("vp")
    assert "04 00 00 00" in journey.run("gpa 0x180000 8")
    assert "executed" in journey.run("time")
    shown = journey.run("help")
    assert all(word in shown for word in ("go MOMENT", "back [N]", "save FILE", "synic [VP]"))
    assert "architecture" not in shown
    assert journey.run("   ") == ""


def test_it_saves_snapshots(journey: Travel, tmp_path: Path) -> None:
    journey.run("go call:7")
    place = tmp_path / "a place"
    assert journey.run(f"save {place}") == f"saved {place}\n"
    assert Machine.from_snapshot(place).partition.memory.read_u64(0x180000) == 6
    journey.run("next")
    assert calls(journey) == 7


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("fly", "there is no command 'fly': `help` lists them"),
        ("go", "'' is no moment"),
        ("go there", "'there' is no moment"),
        ("next 0", "'0' is no number from 1 on"),
        ("back x", "'x' is no number"),
        ("log 1 2", r"log takes \[N\]"),
        ("end 5", "end takes nothing"),
        ("registers 7", "there is no virtual processor 7"),
        ("save", "save takes a file"),
        ("save /nowhere/file", "cannot be written"),
    ],
)
def test_what_cannot_be_done(journey: Travel, command: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        journey.run(command)


def test_commands_come_from_a_file(recording: Path) -> None:
    output = io.StringIO()
    travel(Recording.load(recording), io.StringIO("go call:2\nback\n\nquit\nfly\n"), output)
    assert re.findall(r"(\d) hypercalls? made", output.getvalue()) == ["2", "1"]
    with pytest.raises(InputError, match="command 2, 'fly away': there is no command"):
        travel(Recording.load(recording), io.StringIO("start\nfly away\nend\n"), io.StringIO())


def test_the_command(
    recording: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("go call:3\nback\n"))
    assert hypercall("replay", recording, "-i") == 0
    out, error = capsys.readouterr()
    assert [line for line in out.splitlines() if line.startswith("(replay)")] == [
        "(replay) go call:3",
        "(replay) back",
    ]
    assert [line.split(",")[1] for line in out.splitlines() if "made" in line] == [
        " 3 hypercalls made",
        " 2 hypercalls made",
    ]
    assert error == ""


def test_a_prompt_comes_again_after_an_interruption(tmp_path: Path) -> None:
    path = tmp_path / "endless.hcrun"
    Recording(MachineConfiguration(memory=4 << 20), Guest(b"\xeb\xfe", "endless.bin")).save(path)
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "hypercall.cli.app", "replay", str(path), "-i"]
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    ) as process:
        os.close(follower)

        def read_to(text: bytes) -> bytes:
            seen = b""
            while text not in seen:
                seen += os.read(leader, 4096)
            return seen

        read_to(b"(replay) ")
        os.write(leader, b"go 100000s\n")
        read_to(b"go 100000s")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert b"interrupted at " in read_to(b"(replay) ")
        os.write(leader, b"go 1ns\n")
        assert b"0.00000000" in read_to(b"hypercalls made")
        os.write(leader, b"quit\n")
        assert process.wait(20) == 0
    os.close(leader)
