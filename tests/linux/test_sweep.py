"""A sweep of a real kernel: what it falls back from, and what it hangs without."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.linux.conftest import APPEND


def test_a_kernel_survives_failed_flushes_and_hangs_without_its_timer(
    kernel: Callable[[str], Path], initrd: Path
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "hypercall.cli.app", "sweep", str(kernel("vmlinuz-6.1"))),
            *("--initrd", str(initrd), "--append", APPEND, "--cpus", "2"),
            *("--call", "FlushVirtualAddressSpace", "--call", "FlushVirtualAddressList"),
            *("--status", "NO_RESOURCES", "--factor", "1.5"),
            *("--only", "calls", "--only", "timers", "--format", "jsonl"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    flushes = [row for row in rows if row["fault"].startswith("call=Flush")]
    assert len(flushes) >= 2
    assert {row["outcome"] for row in flushes} == {"survived"}
    assert all("flush" in row["place"] for row in flushes if "nth" in row["fault"])
    assert any("nth" not in row["fault"] and row["struck"] > 1 for row in flushes)
    # The clock event of the boot processor is a synthetic timer, and its first expiration arms the
    # next one: without it nothing happens any more.
    timers = {row["fault"]: row for row in rows if row["fault"].startswith("timer")}
    assert timers["timer=0,vp=0,nth=1,delay=20ms"]["outcome"] == "survived"
    hung = timers["timer=0,vp=0,nth=1,drop"]
    assert hung["outcome"] == "hung"
    assert "VP 0 halted in " in hung["detail"]
    # The command that it gives meets the same again.
    again = subprocess.run(
        [sys.executable, "-m", "hypercall.cli.app", *shlex.split(hung["command"])[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert again.returncode == 3
    assert f"{hung['virtual_ns'] / 1e9:.3f} s of virtual time" in again.stderr
    assert "workload done" not in again.stdout
