"""Runs guests that make random calls, and checks what must hold; started by script/random-calls."""

import itertools
import json
import os
import random
import resource
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.guests.random_calls.code import guest
from tests.guests.random_calls.inputs import Inputs, Kind, Record, packed
from tests.guests.random_calls.invariants import BrokenInvariantError, Invariants, require
from tests.guests.random_calls.messages import Messages
from tests.guests.random_calls.nested import NestedSpaces
from tests.guests.random_calls.places import (
    BLOCK_COUNT,
    BLOCK_IDLE,
    BLOCK_LOG,
    BLOCK_NEXT,
    PATTERNS,
    RECORD_DONE,
    RECORD_RESULT,
    RECORD_SIZE,
    SECRETS,
    VTLS,
    WORLDS,
    block,
    inputs,
    log,
    table,
)

from hypercall.machine.result import StopReason
from hypercall.tlfs.privileges import NestedFeature
from hypercall.trace.events import HypercallEvent

_ROOT = Path(__file__).parents[3]

RECORDS = {0: 240, 1: 200, 2: 120}
"""How many records a table has, by VTL."""
CHUNK_NS = 10_000_000
"""So much virtual time a set of tables may take."""
GROWTH = 48 << 20
"""So many bytes the host process may grow by, from the first tables to the last."""


@dataclass
class Summary:
    """What a run has come to.

    Attributes:
        calls: how many calls each VTL has made.
        statuses: how often each status came, by call code.
        messages: how many messages have arrived.
        flushes: how many flushes of second-level address spaces.
        intercepts: how often a higher VTL was told of an access.
    """

    calls: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(VTLS), 0))
    statuses: dict[tuple[int, int], int] = field(default_factory=dict)
    messages: int = 0
    flushes: int = 0
    intercepts: int = 0

    @property
    def total(self) -> int:
        """How many calls were made."""
        return sum(self.calls.values())

    def as_dict(self) -> dict[str, int]:
        """Its numbers by name."""
        return {
            **{f"vtl_{vtl}": count for vtl, count in self.calls.items()},
            "messages": self.messages,
            "flushes": self.flushes,
            "intercepts": self.intercepts,
        }


class RandomRun:
    """A machine whose guest makes random calls.

    Args:
        seed: decides about everything.
    """

    def __init__(self, seed: int) -> None:
        chooser = random.Random(seed)
        self._chooser = chooser
        # What is observed goes another way through the dispatcher.
        self._observed = bool(seed & 1)
        self.machine = guest(
            seed, partition={"nested_features": NestedFeature.FLUSH_GUEST_PHYSICAL_ADDRESS}
        ).machine()
        self._memory = self.machine.partition.memory
        numbers = itertools.count(0x1_0000_0001)
        self.messages = Messages(self.machine, numbers)
        self.nested = NestedSpaces(self.machine, random.Random(seed))
        self.invariants = Invariants(self.machine)
        self._inputs = {
            (vp, vtl): Inputs(chooser, vp, vtl, disabling=seed % 4 == 3, numbers=numbers)
            for vp, vtl in WORLDS
        }
        self.statuses: dict[tuple[int, int], int] = {}
        self._run_to_rest("the levels were not enabled")
        self._watch()
        if self._observed:
            self.machine.trace.subscribe(lambda event: None, HypercallEvent)

    def _watch(self) -> None:
        """Let each call be followed by the checks."""
        exits = self.machine._exits
        processors = self.machine.processors
        call = exits.hypercall

        def checked(control: int, input: int, output: int, mode: int) -> int | None:
            vp = processors.current
            vtl = vp.active_vtl
            result = call(control, input, output, mode)
            self.invariants.after(vp, vtl, control, input, result)
            self.nested.after(vtl, control, input, output, result)
            if self.invariants.calls[vtl] % 16 == 0:
                self.nested.use()
            return result

        exits.hypercall = checked  # type: ignore[method-assign]
        self.machine._engine.attach(exits)

    def tables(self) -> None:
        """Give every level of every processor a table, let them make its calls, and check."""
        records = {}
        for (vp, vtl), maker in self._inputs.items():
            made, data = maker.table(RECORDS[vtl])
            records[vp, vtl] = made
            self._memory.write(table(vp, vtl), packed(made))
            if data:
                self._memory.write(inputs(vp, vtl), data)
            place = block(vp, vtl)
            self._memory.write_u64(place + BLOCK_NEXT, 0)
            self._memory.write_u64(place + BLOCK_COUNT, len(made))
            self._memory.write_u64(place + BLOCK_IDLE, 0)
            self._memory.write_u64(place + BLOCK_LOG, log(vp, vtl))
        self.messages.post()
        self._run_to_rest("a processor was lost")
        self._check(records)

    def _run_to_rest(self, otherwise: str) -> None:
        machine = self.machine
        result = machine.run(machine.time_ns + CHUNK_NS, until=self._rests)
        if result.reason is not StopReason.UNTIL:
            raise BrokenInvariantError(f"{otherwise}: {result.reason.name}\n{self._where()}")

    def _rests(self) -> bool:
        return (
            all(
                vp.active_vtl == 0 and self._memory.read_u64(block(vp.index, 0) + BLOCK_IDLE)
                for vp in self.machine.partition.processors
            )
            and self.messages.drained()
        )

    def _where(self) -> str:
        """Where each processor is."""
        lines = []
        for vp in self.machine.partition.processors:
            registers = self.machine.registers(vp.index)
            following = [self._memory.read_u64(block(vp.index, vtl) + 8) for vtl in range(VTLS)]
            halted = vp in self.machine.processors.halted
            lines.append(
                f"VP {vp.index}: VTL {vp.active_vtl} of {sorted(vp.vtls)}, "
                f"RIP {registers['rip']:#x}, RCX {registers['rcx']:#x}, "
                f"RDX {registers['rdx']:#x}, halted {halted}, records {following}"
            )
        return "\n".join(lines)

    def _check(self, records: dict[tuple[int, int], list[Record]]) -> None:
        results = []
        for (vp, vtl), made in records.items():
            data = self._memory.read(table(vp, vtl), RECORD_SIZE * len(made))
            for number, record in enumerate(made):
                (result,) = struct.unpack_from("<Q", data, RECORD_SIZE * number + RECORD_RESULT)
                done = data[RECORD_SIZE * number + RECORD_DONE] == 1
                results.append((record, done, result))
                if done and record.kind is Kind.CALL:
                    key = (record.control & 0xFFFF, result & 0xFFFF)
                    self.statuses[key] = self.statuses.get(key, 0) + 1
        # A lower level may have gone on with other registers, and so with another result.
        certain = not self.invariants.disturbed
        self.messages.check(results if certain else None, self.invariants.restarted)
        self.invariants.disturbed = False
        self.invariants.restarted.clear()
        self.invariants.resources()
        self._secrets()

    def _secrets(self) -> None:
        """What a VTL keeps is as it was, and is nowhere else."""
        everything = bytes(self._memory.ram) + bytes(self._memory.arena)
        for level, page in SECRETS.items():
            if level in self.invariants.exposed:
                continue
            pattern = PATTERNS[level]
            whole = pattern * (4096 // len(pattern))
            if level in self.machine.partition.vtls:
                require(everything[page : page + 4096] == whole, f"VTL {level}'s page has changed")
            at = everything.find(pattern)
            while page <= at < page + 4096:
                at = everything.find(pattern, page + 4096)
            require(at < 0, f"what VTL {level} keeps is at {at:#x} too")

    def summary(self) -> Summary:
        """What has happened so far."""
        intercepts = sum(self._memory.read_u64(block(vp, vtl) + 88) for vp, vtl in WORLDS)
        return Summary(
            dict(self.invariants.calls),
            dict(self.statuses),
            self.messages.delivered,
            self.nested.flushes,
            intercepts,
        )


def run(seed: int, calls: int) -> Summary:
    """Make random calls.

    Args:
        seed: decides about everything.
        calls: make at least so many.

    Raises:
        BrokenInvariantError: something did not hold; the message has the seed.
    """
    try:
        random_run = RandomRun(seed)
        random_run.tables()
        before = resident_bytes()
        while random_run.summary().total < calls:
            random_run.tables()
        grown = resident_bytes() - before
        require(grown < GROWTH, f"the host process has grown by {grown >> 20} MiB")
        return random_run.summary()
    except BrokenInvariantError as error:
        raise BrokenInvariantError(f"seed {seed}: {error}") from error


def resident_bytes() -> int:
    """How much memory the process has."""
    with open("/proc/self/statm") as statistics:
        return int(statistics.read().split()[1]) * resource.getpagesize()


def main(arguments: list[str]) -> int:
    """Run one seed and print what came of it as one line of JSON; started by `run_apart`."""
    seed, calls = map(int, arguments)
    try:
        summary = run(seed, calls)
    except BrokenInvariantError as error:
        print(error, file=sys.stderr)
        return 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps(summary.as_dict() | {"peak_mib": peak}))
    return 0


def run_apart(seed: int, calls: int, timeout: float) -> dict[str, int]:
    """Run one seed in a process of its own, which may crash or hang.

    Args:
        seed: decides about everything.
        calls: make at least so many.
        timeout: the seconds that it may take.

    Returns:
        The numbers of its `Summary`, and the most memory that the process had, in MiB.

    Raises:
        BrokenInvariantError: it failed, crashed or took too long.
    """
    command = [sys.executable, "-X", "faulthandler", "-m", __spec__.name, str(seed), str(calls)]
    paths = os.pathsep.join((str(_ROOT / "src"), str(_ROOT)))
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=_ROOT,
            env=os.environ | {"PYTHONPATH": paths},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokenInvariantError(f"seed {seed} takes longer than {timeout:.0f} s") from None
    if result.returncode:
        raise BrokenInvariantError(
            f"seed {seed} ended with {result.returncode}:\n{result.stderr[-3000:]}"
        )
    numbers: dict[str, int] = json.loads(result.stdout)
    return numbers


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
