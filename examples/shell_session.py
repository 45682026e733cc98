"""Boot Linux to a shell prompt, type commands at it, and watch the hypercalls that they cause.

The commands are typed when the prompt appears on the console. Time is virtual, so the same
session gives the same console and the same trace, to the byte.

Usage: python examples/shell_session.py KERNEL BUSYBOX [--cpus N] [--seed N] [--trace FILE]
"""

import argparse
import sys
from pathlib import Path

from hypercall import Machine, MachineConfiguration, RunResult, StopReason
from hypercall.cli.summary import write_summary
from hypercall.machine.initrd import build_initrd
from hypercall.trace.statistics import Statistics
from hypercall.trace.strace import StraceWriter

# Busybox shows where it is; some builds call / home.
PROMPTS = (b"\n/ # ", b"\n~ # ")
_REMEMBERED = 64

# Busybox asks the terminal where its cursor is, and does without an answer.
CURSOR_QUESTION = b"\x1b[6n"

COMMANDS = (
    "dmesg | grep -i -e 'hyper-v:'",
    "nproc",
    # Processes that hand data to each other: the processors wake one another.
    "for n in 1 2 3; do seq 1 400 | sort -n -r | tail -n 1; done | cat | wc -l",
    # A process that is moved while it sleeps: its translations are flushed where it was before.
    "mkfifo pipe; (while read n; do seq $n | wc -l; done <pipe) & exec 3>pipe",
    "taskset -p 1 $$ >/dev/null",
    "move() { taskset -p $((1 + $1 % 2)) $! >/dev/null; echo $1 >&3; sleep 0.1; }",
    "for n in 1 2 3 4 5 6; do move $n; done",
    "poweroff -f",
)


class Typist:
    """Types the next command whenever the guest shows its prompt."""

    def __init__(self, machine: Machine, commands: tuple[str, ...]) -> None:
        """Watch the machine's console."""
        self._machine = machine
        self._left = list(commands)
        self._seen = b""
        machine.console.output.append(self._read)

    def _read(self, data: bytes) -> None:
        self._seen = (self._seen + data)[-_REMEMBERED:]
        if self._left and any(prompt in self._seen for prompt in PROMPTS):
            self._seen = b""
            self._machine.console.feed(self._left.pop(0).encode() + b"\n")


def show(data: bytes) -> None:
    """Show what the guest writes, at once."""
    sys.stdout.buffer.write(data.replace(CURSOR_QUESTION, b""))
    sys.stdout.buffer.flush()


def run(arguments: argparse.Namespace) -> RunResult:
    """Boot, type, and show how it went."""
    machine = Machine(MachineConfiguration(cpus=arguments.cpus, seed=arguments.seed))
    initrd = build_initrd(arguments.busybox.read_bytes(), shell=True)
    machine.load(arguments.kernel, initrd, "console=ttyS0")

    machine.console.output.append(show)
    Typist(machine, COMMANDS)
    statistics = Statistics()
    statistics.attach(machine.trace)
    with arguments.trace.open("w") as trace:
        StraceWriter(trace.write, machine.symbol).attach(machine.trace)
        result = machine.run(limit_ns=120_000_000_000)
    write_summary(sys.stdout, result, statistics, machine.symbol)
    return result


def main() -> None:
    """Read the arguments and run; fail unless the guest powered off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kernel", type=Path, help="a Linux bzImage")
    parser.add_argument("busybox", type=Path, help="a static busybox")
    parser.add_argument("--cpus", type=int, default=2, help="virtual processors")
    parser.add_argument("--seed", type=int, default=0, help="varies their turns")
    parser.add_argument("--trace", type=Path, default=Path("trace.txt"), help="the trace")
    result = run(parser.parse_args())
    sys.exit(result.reason is not StopReason.POWER_OFF)


if __name__ == "__main__":
    main()
