"""A sweep of a real kernel: what it falls back from, and what it hangs without."""

import json
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
            *("--status", "NO_RESOURCES", "--drop", "timers", "--factor", "1.5"),
            *("--output", "jsonl"),
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
    assert all("flush" in row["place"] for row in flushes)
    # The clock event of the boot processor is a synthetic timer, and its first expiration arms the
    # next one: without it nothing happens any more.
    timers = {row["fault"]: row["outcome"] for row in rows if row["fault"].startswith("timer")}
    assert timers["timer=0,vp=0,nth=1,drop"] == "hung"
