"""A machine without a processor, that does what a small script says, and a command that uses it.

Run as a program it is the command ``hypercall`` with that machine:
``python fake_machine.py SCRIPT run IMAGE ...``. The script is a comma-separated list:

``text``         write a line to the console
``flood``        write lines to the console until interrupted
``call``         make a hypercall (only if the trace machinery is complete)
``echo``         echo console input back until a ``q`` comes
``idle``         halt until interrupted
``mistake``      be found to break a rule, if checked; ``advice`` one of less weight
``raise``        raise what no machine should
``REASON``       stop for this reason; ``DEBUG_EXIT=5`` with a value
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hypercall.checks import Finding, Rule, Severity
from hypercall.checks.forms import SLOW_FORM
from hypercall.checks.placement import OVERLAP
from hypercall.cli.guest import Entry, RunOptions
from hypercall.errors import InputError
from hypercall.machine.processor_state import Activity, ProcessorState
from hypercall.machine.result import RunResult, StopReason
from hypercall.recording.moment import Moment, run_to_moment
from hypercall.trace.description import RunDescription
from hypercall.trace.events import MachineEvent, Position
from hypercall.trace.hub import TraceHub


def fake_result(reason: StopReason = StopReason.POWER_OFF, value: int | None = None) -> RunResult:
    return RunResult(
        reason,
        value,
        virtual_ns=1_500_000_000,
        host_seconds=0.5,
        executed=40_000_000,
        exits={"port": 12, "hypercall": 3},
    )


@dataclass
class FakeConsole:
    output: list[Callable[[bytes], None]] = field(default_factory=list)
    received: bytes = b""

    def flush(self) -> None:
        pass

    def feed(self, data: bytes) -> None:
        self.received += data

    def write(self, data: bytes) -> None:
        for sink in self.output:
            sink(data)


@dataclass
class FakeConnection:
    place: str
    receives: bool
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeFault:
    text: str
    seen: int = 3
    struck: int = 1

    def __str__(self) -> str:
        return self.text


class FakeChecks:
    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.on_new: list[Callable[[Finding], None]] = []

    @property
    def failures(self) -> list[Finding]:
        return [each for each in self.findings if each.rule.severity is not Severity.ADVICE]

    def finish(self) -> list[Finding]:
        return self.findings

    def place(self, finding: Finding) -> str:
        return f"function+{finding.address:#x}"

    def find(self, rule: Rule) -> None:
        finding = Finding(rule, Position(5, 1, 0, 0x10, 0x20), "The guest did it.")
        self.findings.append(finding)
        for function in self.on_new:
            function(finding)


class FakeGdbServer:
    def __init__(self, machine: FakeMachine, place: str) -> None:
        self.machine = machine
        self.place = place
        self.closed = False

    def run_to(self, moment: Moment, limit_ns: int | None = None) -> tuple[RunResult, bool]:
        return run_to_moment(self.machine, moment, limit_ns)

    def run(self, limit_ns: int | None = None) -> RunResult:
        return self.machine.run(limit_ns)

    def close(self) -> None:
        self.closed = True


class FakeMachine:
    def __init__(self, options: RunOptions, script: str = "text,POWER_OFF") -> None:
        self.options = options
        self.script = script.split(",")
        self.trace = TraceHub()
        self.console = FakeConsole()
        self.time_ns = 0
        self.host_poll: Callable[[float], bool] | None = None
        self.limit_ns: int | None = None
        self.loaded: tuple[Path | bytes, Path | None, str, str] | None = None
        self.stopped = False
        self.connection: FakeConnection | None = None
        self.server: FakeGdbServer | None = None
        self.checks: FakeChecks | None = None
        self.paused = False
        self.checks_stale = False

    def check(self, *, stale: bool = False) -> FakeChecks:
        self.checks_stale = stale or self.checks_stale
        self.checks = self.checks or FakeChecks()
        return self.checks

    def pause(self) -> None:
        self.paused = True

    def load(
        self,
        image: Path | bytes,
        initrd: Path | None = None,
        append: str = "",
        *,
        entry: Entry = "vmlinux",
        image_format: Literal["auto", "flat"] = "auto",
        name: str | None = None,
    ) -> None:
        if not (image if isinstance(image, bytes) else image.read_bytes()):
            raise InputError(f"{image!s}: the file is empty")
        self.loaded = (image, initrd, append, entry)

    def save(self, path: Path) -> None:
        if path.name == "full":
            raise InputError(f"{path} cannot be written (no space left): choose another place")
        path.write_text("saved")

    def interrupt(self) -> None:
        self.stopped = True

    def connect_debugger(self, place: str) -> FakeConnection:
        if place == "unix:taken":
            raise InputError("somebody listens there; choose another place")
        self.connection = FakeConnection(place, not place.startswith("file:"))
        return self.connection

    def serve_gdb(self, place: str) -> FakeGdbServer:
        if place == "unix:taken":
            raise InputError("somebody listens there; choose another place")
        self.server = FakeGdbServer(self, place)
        return self.server

    def inject(self, fault: str) -> FakeFault:
        if "vp=9" in fault:
            raise InputError("there is no virtual processor 9")
        return FakeFault(fault)

    def describe(self) -> RunDescription:
        return RunDescription(source="fake", cpus=self.options.cpus)

    def processor_states(self) -> list[ProcessorState]:
        return [ProcessorState(0, 0, Activity.RUNNING, 0x1001, False, False, (0x30,), (), None, ())]

    def symbol(self, address: int) -> str | None:
        return "start+0x1" if address == 0x1001 else None

    def poll(self, seconds: float) -> None:
        if self.host_poll is not None:
            self.host_poll(seconds)

    def run(self, limit_ns: int | None = None) -> RunResult:
        self.limit_ns = limit_ns
        for step in self.script:
            self.step(step)
            self.time_ns += 1_000_000
            if self.stopped:
                return fake_result(StopReason.INTERRUPTED)
            if self.paused:
                return fake_result(StopReason.PAUSED)
            name, _, value = step.partition("=")
            if name in StopReason.__members__:
                return fake_result(StopReason[name], int(value) if value else None)
        return fake_result()

    def step(self, step: str) -> None:
        if step == "text":
            self.console.write(b"hello from the guest\n")
            self.emit("note", "said hello")
        elif step == "flood":
            while not self.stopped:
                self.console.write(b"x" * 99 + b"\n")
                self.poll(0.0)
        elif step == "idle":
            self.console.write(b"idle\n")
            self.emit("note", "idle")
            self.poll(0.0)
            while not self.stopped:
                self.poll(math.inf)
                time.sleep(0.001)
        elif step == "echo":
            self.console.write(b"ready\r\n")
            done = 0
            while not self.stopped and b"q" not in self.console.received[:done]:
                self.poll(0.05)
                self.console.write(self.console.received[done:])
                done = len(self.console.received)
        elif step in ("mistake", "advice") and self.checks is not None:
            self.checks.find(OVERLAP if step == "mistake" else SLOW_FORM)
        elif step == "raise":
            self.emit("note", "about to fail")
            raise ZeroDivisionError("the engine\nfell over")

    def emit(self, kind: str, text: str) -> None:
        self.trace.emit(MachineEvent(Position(self.time_ns, 0, 0, 0x1000), kind, text))


def main() -> None:
    from hypercall.cli import app, guest

    script = sys.argv[1]
    guest.make_machine = lambda options: FakeMachine(options, script)
    app.main(sys.argv[2:])


if __name__ == "__main__":
    main()
