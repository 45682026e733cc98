"""Boots kernels many times with different seeds; started by script/soak, which explains it."""

import argparse
import filecmp
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HYPERCALL = Path(sys.executable).with_name("hypercall")

BAD = re.compile(rb"BUG:|WARNING:|segfault|Call Trace|Kernel panic|rcu:.*stall|soft lockup")
ALWAYS = (
    b"Hypervisor detected: Microsoft Hyper-V",
    b"hypercall: init reached",
    b"hypercall: workload done",
)
WITH_SEVERAL = (b"Using hypercall for remote TLB flush", b"Using IPI hypercalls")
CALLS_WITH_SEVERAL = (b"HvCallSendSyntheticClusterIpi", b"HvCallFlushVirtualAddress")


@dataclass
class Boot:
    """One boot: where its files are, how long it took and what was wrong with it."""

    folder: Path
    seconds: float
    faults: list[str]

    @property
    def console(self) -> Path:
        """What the guest wrote."""
        return self.folder / "console.txt"

    @property
    def trace(self) -> Path:
        """What it called."""
        return self.folder / "trace.txt"


def boot(options: argparse.Namespace, kernel: Path, cpus: int, seed: int, folder: Path) -> Boot:
    """Boot once and look for what must not be there, and for what must."""
    folder.mkdir(parents=True)
    result = Boot(folder, 0.0, [])
    started = time.monotonic()
    run = subprocess.run(
        [
            *(HYPERCALL, "run", kernel, "--initrd", options.initrd, "--append", options.append),
            *("--cpus", str(cpus), "--seed", str(seed), "--limit", str(options.limit)),
            *("--console", result.console, "--trace", result.trace),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    result.seconds = time.monotonic() - started
    if run.returncode:
        (folder / "stderr.txt").write_bytes(run.stderr)
        result.faults.append(f"exit code {run.returncode}")
    console = result.console.read_bytes() if result.console.exists() else b""
    trace = result.trace.read_bytes() if result.trace.exists() else b""
    if bad := BAD.search(console):
        line = console[console.rfind(b"\n", 0, bad.start()) + 1 :].splitlines()[0]
        result.faults.append(line.decode("utf-8", "replace").strip())
    wanted = ALWAYS + (WITH_SEVERAL if cpus > 1 else ())
    result.faults += [f"no line {text.decode()!r}" for text in wanted if text not in console]
    if cpus > 1:
        result.faults += [
            f"no call {call.decode()}..." for call in CALLS_WITH_SEVERAL if call not in trace
        ]
    return result


def boot_checked(
    options: argparse.Namespace, kernel: Path, cpus: int, seed: int, folder: Path
) -> Boot:
    """Boot once, or twice and compare; what failed is kept, the rest removed."""
    first = boot(options, kernel, cpus, seed, folder / "first")
    if options.twice:
        again = boot(options, kernel, cpus, seed, folder / "again")
        for one, other in ((first.console, again.console), (first.trace, again.trace)):
            if not (one.exists() and other.exists() and filecmp.cmp(one, other, shallow=False)):
                first.faults.append(f"{one.name} differs the second time")
    if first.faults:
        kept = options.keep / f"{kernel.name}-{cpus}-{seed}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, kept)
    shutil.rmtree(folder)
    return first


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("kernels", nargs="*", default=["6.1", "6.12"], metavar="KERNEL")
    parser.add_argument("--boots", type=int, default=20)
    parser.add_argument("--cpus", default="1,2,4,8")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--append", default="console=ttyS0")
    parser.add_argument("--limit", type=float, default=120)
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--keep", type=Path, default=Path("soak-failures"))
    parser.add_argument("--guests", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        options.cpus = [int(cpus) for cpus in options.cpus.split(",")]
    except ValueError:
        parser.error(f"--cpus: {options.cpus!r} is not a list of numbers such as 1,2,4")
    return options


def find_kernel(guests: Path, name: str) -> Path:
    """Return the path of a kernel that is given by its file or its version; fetch it if need be."""
    known = guests / f"vmlinuz-{name}"
    if not Path(name).is_file() and not known.is_file():
        fetch = Path(__file__).with_name("fetch-guests")
        subprocess.run([fetch, "--all"], check=True)
    return known if known.is_file() else Path(name)


def main() -> int:
    """Boot them all and print a table."""
    options = parse()
    kernels = [find_kernel(options.guests, name) for name in options.kernels]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        work = Path(name)
        options.initrd = work / "initrd"
        busybox = options.guests / "busybox"
        subprocess.run(
            [HYPERCALL, "initrd", "--busybox", busybox, "-o", options.initrd], check=True
        )
        print(f"{'kernel':<16} {'VPs':>3} {'boots':>5} {'failed':>6} {'mean s':>7}  failed seeds")
        for kernel in kernels:
            for cpus in options.cpus:
                failed += soak(options, kernel, cpus, work)
    print(f"{failed} boots failed" + (f"; see {options.keep}" if failed else ""))
    return int(failed > 0)


def soak(options: argparse.Namespace, kernel: Path, cpus: int, work: Path) -> int:
    """Boot one kernel with one number of processors, and print a row of the table."""
    seeds = range(options.seed, options.seed + options.boots)
    seconds, bad = 0.0, {}
    for seed in seeds:
        result = boot_checked(options, kernel, cpus, seed, work / f"boot-{seed}")
        seconds += result.seconds
        if result.faults:
            bad[seed] = result.faults
    mean = seconds / len(seeds) if seeds else 0.0
    numbers = ", ".join(map(str, bad))
    print(
        f"{kernel.name:<16} {cpus:>3} {len(seeds):>5} {len(bad):>6} {mean:>7.1f}  {numbers}",
        flush=True,
    )
    for seed, faults in bad.items():
        print(f"    seed {seed}: {'; '.join(faults)}", flush=True)
    return len(bad)


if __name__ == "__main__":
    sys.exit(main())
