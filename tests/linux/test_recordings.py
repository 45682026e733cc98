"""A kernel's run, recorded by the command, done again, cut in two and gone about in."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hypercall.machine.initrd import build_initrd

COMMAND = (sys.executable, "-m", "hypercall.cli.app")
ALL = ("--trace-format", "jsonl", "--trace-events", "all")


def hypercall(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], input=stdin, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done


def events(path: Path) -> list[str]:
    """The lines of a trace but the first, without what only the end of a run or a check says."""
    lines = path.read_text().splitlines()[1:]
    return [line for line in lines if '"event":"finding"' not in line]


def test_a_boot_is_cut_in_two_and_is_the_same(
    kernel: Callable[[str], Path], initrd: Path, tmp_path: Path
) -> None:
    run, saved = tmp_path / "run.hcrun", tmp_path / "saved.hcsnap"
    whole, again, rest = (tmp_path / f"{each}.jsonl" for each in ("whole", "again", "rest"))
    options = (*("--cpus", 2, "--console"), tmp_path / "console")
    hypercall(
        *("run", kernel("vmlinuz-6.1"), "--initrd", initrd, *options, "--record", run),
        *("--trace", whole, *ALL),
    )
    done = hypercall("replay", run, "--trace", again, *ALL)
    assert b"The run is the recorded one, to its end." in done.stderr
    assert again.read_bytes() == whole.read_bytes()
    assert done.stdout == (tmp_path / "console").read_bytes()
    moment = "call:SendSyntheticClusterIpi:30"
    first = hypercall("replay", run, "--stop-at", moment, "--save", saved)
    second = hypercall("run", saved, "--trace", rest, *ALL)
    assert first.stdout + second.stdout == done.stdout
    unbroken, late = events(whole), events(rest)
    assert 1000 < len(late) < len(unbroken)
    assert unbroken[-len(late) :] == late


def test_what_is_typed_comes_again(
    kernel: Callable[[str], Path], busybox: bytes, tmp_path: Path
) -> None:
    shell, run = tmp_path / "shell", tmp_path / "run.hcrun"
    shell.write_bytes(build_initrd(busybox, shell=True))
    image = kernel("vmlinuz-6.1")
    leader, follower = pty.openpty()
    command = [*COMMAND, *map(str, ("run", image, "--initrd", shell, "--record", run))]
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=subprocess.DEVNULL
    ) as on:
        os.close(follower)
        seen = b""
        for awaited, typed in ((b"# ", b"echo $((6*7))\n"), (b"42\r\n", b"poweroff -f\n")):
            while awaited not in seen:
                seen += os.read(leader, 4096)
            os.write(leader, typed)
            seen = seen.partition(awaited)[2]
        # A terminal that nobody reads lets nobody write.
        while on.poll() is None:
            try:
                os.read(leader, 4096)
            except OSError:
                break
    os.close(leader)
    done = hypercall("replay", run)
    assert b"The run is the recorded one, to its end." in done.stderr
    assert b"echo $((6*7))" in done.stdout
    assert b"\r\n42\r\n" in done.stdout
    commands = b"go console:42\r\nback 5\nlog 1\ngo console:Linux version\nconsole 1\nend\n"
    told = hypercall("replay", run, "-i", stdin=commands).stdout
    assert b"Linux version" in told
    assert b" made, the end of the run\n" in told
