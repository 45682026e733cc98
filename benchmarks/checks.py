"""What checking a guest costs: processor time of boots without checks, with them, and with all.

Kernel, initial RAM disk and command line are the same, rounds are interleaved. Processor time is
that of the whole process, from its start to the guest's power-off, so that a busy host matters
less than it would to the time on a clock.

Usage: python benchmarks/checks.py [KERNEL...] [--cpus 1,2,4] [--rounds 5]
"""

import argparse
import os
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from boot import HYPERCALL, default_guests
from hypercall.machine.initrd import build_initrd

VARIANTS: dict[str, tuple[str, ...]] = {
    "off": ("--check", "off"),
    "warn": (),
    "stale": ("--check-stale",),
}


def processor_seconds(command: Sequence[str | Path]) -> float:
    """Run a command to its end and return the processor time that it took.

    Raises:
        SystemExit: it failed.
    """
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernels", nargs="*", type=Path, metavar="KERNEL")
    parser.add_argument("--cpus", default="1,2,4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--guests", type=Path, default=default_guests())
    options = parser.parse_args()
    kernels = options.kernels or sorted(options.guests.glob("vmlinuz-*"))
    if not kernels:
        raise SystemExit(f"no kernels in {options.guests}: run script/fetch-guests --all")
    print("processor seconds of a boot to power-off: median (fastest); cost of the medians")
    print(f"{'kernel':<14} {'VPs':>3} " + " ".join(f"{name:>14}" for name in VARIANTS), end="")
    print(f" {'checks':>8} {'stale':>8}")
    with tempfile.TemporaryDirectory() as folder:
        initrd = Path(folder, "initrd")
        initrd.write_bytes(build_initrd((options.guests / "busybox").read_bytes()))
        for kernel in kernels:
            for cpus in map(int, options.cpus.split(",")):
                command: list[str | Path] = [HYPERCALL, "run", kernel, "--initrd", initrd]
                command += ["--append", "console=ttyS0 panic=-1", "--cpus", str(cpus)]
                times: dict[str, list[float]] = {name: [] for name in VARIANTS}
                for _ in range(options.rounds):
                    for name, further in VARIANTS.items():
                        times[name].append(processor_seconds([*command, *further]))
                print(f"{kernel.name:<14} {cpus:>3} {row(times)}", flush=True)


def row(times: dict[str, list[float]]) -> str:
    """Return the figures of one kernel and number of processors."""
    cells = [f"{statistics.median(each):.2f} ({min(each):.2f})" for each in times.values()]
    off = statistics.median(times["off"])
    costs = [100 * (statistics.median(times[name]) / off - 1) for name in ("warn", "stale")]
    return " ".join([*(f"{cell:>14}" for cell in cells), *(f"{cost:>+6.1f} %" for cost in costs)])


if __name__ == "__main__":
    main()
