"""How long Linux takes to the first line of /init, against QEMU's TCG in the same run.

Kernel, initial RAM disk and command line are the same, rounds are interleaved, and the time runs
from the start of the process to the line on its console.

Usage: python benchmarks/boot.py [KERNEL...] [--cpus 1,2] [--rounds 5] [--append TEXT]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hypercall.machine.initrd import build_initrd

REACHED = b"benchmark: init reached"
INIT = f"#!/bin/sh\necho '{REACHED.decode()}'\n/bin/poweroff -f\n"
HYPERCALL = Path(sys.executable).with_name("hypercall")
QEMU = "qemu-system-x86_64"
PATIENCE = 120.0


def default_guests() -> Path:
    """The folder that script/fetch-guests fills."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("HYPERCALL_GUESTS") or cache / "hypercall" / "guests")


def seconds_to_init(command: Sequence[str | Path]) -> float:
    """Start a command and return the seconds until /init's line came out of it.

    Raises:
        SystemExit: it ended, or took too long, without that line.
    """
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = b""
        try:
            while time.perf_counter() - started < PATIENCE:
                # Unbuffered, so that the line is seen when it is written.
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    break
                seen = seen[-len(REACHED) :] + data
                if REACHED in seen:
                    return time.perf_counter() - started
        finally:
            process.kill()
        error = process.stderr.read().decode(errors="replace").strip()
    raise SystemExit(f"{command[0]} did not reach /init: {error[-500:]}")


def commands(
    kernel: Path, initrd: Path, cpus: int, append: str, trace: Path
) -> dict[str, list[str | Path]]:
    """Return what is compared: a name, and the command that boots."""
    ours: list[str | Path] = [HYPERCALL, "run", kernel, "--initrd", initrd, "--append", append]
    ours += ["--cpus", str(cpus), "--memory", "256M"]
    result = {"hypercall": ours, "traced": [*ours, "--trace", trace]}
    if qemu := shutil.which(QEMU):
        result["qemu"] = [
            *(qemu, "-accel", "tcg", "-m", "256", "-smp", str(cpus), "-no-reboot"),
            *("-display", "none", "-monitor", "none", "-serial", "stdio"),
            *("-kernel", kernel, "-initrd", initrd, "-append", append),
        ]
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernels", nargs="*", type=Path, metavar="KERNEL")
    parser.add_argument("--cpus", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--append", default="console=ttyS0")
    parser.add_argument("--guests", type=Path, default=default_guests())
    options = parser.parse_args()
    kernels = options.kernels or sorted(options.guests.glob("vmlinuz-*"))
    if not kernels:
        raise SystemExit(f"no kernels in {options.guests}: run script/fetch-guests --all")
    if not shutil.which(QEMU):
        print(f"{QEMU} is not installed, so there is nothing to compare with", file=sys.stderr)

    print("seconds to the first line of /init: median (fastest)")
    print(f"{'kernel':<14} {'VPs':>3} {'hypercall':>14} {'traced':>14} {'qemu tcg':>14}", end="")
    print(f" {'to qemu':>8} {'trace':>7}")
    with tempfile.TemporaryDirectory() as folder:
        initrd = Path(folder, "initrd")
        busybox = (options.guests / "busybox").read_bytes()
        initrd.write_bytes(build_initrd(busybox, init_script=INIT))
        for kernel in kernels:
            for cpus in map(int, options.cpus.split(",")):
                compared = commands(kernel, initrd, cpus, options.append, Path(folder, "trace"))
                times: dict[str, list[float]] = {name: [] for name in compared}
                for _ in range(options.rounds):
                    for name, command in compared.items():
                        times[name].append(seconds_to_init(command))
                print(f"{kernel.name:<14} {cpus:>3} {row(times)}", flush=True)


def row(times: dict[str, list[float]]) -> str:
    """Return the figures of one kernel and number of processors."""
    cells = []
    for name in ("hypercall", "traced", "qemu"):
        measured = times.get(name)
        text = f"{statistics.median(measured):.2f} ({min(measured):.2f})" if measured else "-"
        cells.append(f"{text:>14}")
    ours = statistics.median(times["hypercall"])
    ratio = f"{ours / statistics.median(times['qemu']):.2f} x" if "qemu" in times else "-"
    cost = f"{100 * (statistics.median(times['traced']) / ours - 1):+.0f} %"
    return " ".join([*cells, f"{ratio:>8} {cost:>7}"])


if __name__ == "__main__":
    main()
