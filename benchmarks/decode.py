"""How many records of a trace are counted or decoded in a second, in each format.

The traces are made here: calls of three kinds by four processors, each with its end and, as KVM
writes it, a sibling that tells its fields. In the same rounds, where it is installed,
``trace-cmd report`` reads the same file to text. Times are those of the processor, so that other
work on the host counts little; the load average is printed all the same.

Usage: python benchmarks/decode.py [--records 1000000] [--rounds 3]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.trace.counts import count_lines
from hypercall.trace.events import HypercallEvent, Position
from hypercall.trace.jsonl import JsonLinesWriter
from hypercall.trace.kvm.reader import open_kvm_trace
from hypercall.trace.reading import open_trace
from hypercall.trace.strace import StraceWriter
from hypercall.trace.texts import LinesToText

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.trace.kvm.recordings import Entry, ftrace, perf, report, ring_buffer, trace_dat

_PROCESSORS = 4
_RECORDS_OF_A_CALL = 3
_EVENTS_SHARE = 10
_SITES = 20


def recording(calls: int) -> list[Entry]:
    """Return the records of so many calls."""
    entries: list[Entry] = []
    for number in range(calls):
        cpu, start = number % _PROCESSORS, 5_000_000_000 + number * 10_000
        call: dict[str, int]
        match number % 3:
            case 0:
                call = {"code": 0xB, "fast": 1, "ingpa": 0xFB, "outgpa": 3}
                name, told = "kvm_hv_send_ipi", {"vector": 0xFB, "processor_mask": 3}
            case 1:
                call = {"code": 3, "rep_cnt": 2, "ingpa": 0x12000}
                name, told = "kvm_hv_flush_tlb", {"processor_mask": 2, "address_space": 0x1000}
            case _:
                call = {"code": 0x14, "var_cnt": 1, "rep_cnt": 2, "ingpa": 0x12000}
                name, told = "kvm_hv_flush_tlb_ex", {"valid_bank_mask": 1, "flags": 2}
        result = {"result": 0 if number % 3 == 0 else 2 << 32}
        for delta, point, values in (
            (0, "kvm_hv_hypercall", call),
            (200, name, told),
            (500, "kvm_hv_hypercall_done", result),
        ):
            task = f"CPU {cpu}/KVM"
            entries.append(Entry(start + delta, 100 + cpu, cpu, point, values, task))
    return entries


def write_kvm(folder: Path, records: int) -> dict[str, Path]:
    """Write the traces of KVM; the same calls over and over."""
    some = recording(min(records // _RECORDS_OF_A_CALL, 20_000))
    times = max(records // len(some), 1)
    rings = [
        ring_buffer([each for each in some if each.cpu == cpu]) * times
        for cpu in range(_PROCESSORS)
    ]
    files = {
        "tracefs text": ftrace(some) * times,
        "trace-cmd report text": report(some) * times,
        "perf script text": perf(some) * times,
        "trace.dat 6": trace_dat(some, version=6, rings=rings),
        "trace.dat 7, zstd": trace_dat(some, compression="zstd", rings=rings),
    }
    paths = {}
    for name, data in files.items():
        paths[name] = folder / name.replace(" ", "-")
        paths[name].write_bytes(data)
    return paths


def calls_of_a_run(count: int) -> list[HypercallEvent]:
    """Return calls as a run tells of them, from a handful of places."""
    events = []
    codes = (2, 3, 0xB)
    for number in range(count):
        code = codes[number % len(codes)]
        record = CallRecord(
            vp_index=number % _PROCESSORS,
            vtl=0,
            declaration=DECLARATIONS.by_code[code],
            control=code | (2 << 32 if code == 3 else 0),
            fast=False,
            input_register=0x7000,
            output_register=0,
            input=(number % 50).to_bytes(8, "little") + bytes(32 if code == 3 else 16),
            result=2 << 32 if code == 3 else 0,
            entered_at=number * 1000,
            left_at=number * 1000 + 100,
        )
        site = 0xFFFFFFFF81000000 + number % _SITES
        events.append(HypercallEvent(Position(number * 1000, number % 4, 0, site, site), record))
    return events


def write_run(path: Path, records: int) -> None:
    """Write a trace of JSON lines."""
    parts: list[str] = []
    writer = JsonLinesWriter(parts.append, lambda address: f"function_{address & 0xFF}+0x10")
    writer.begin()
    first = len(parts)
    for event in calls_of_a_run(min(records, 50_000)):
        writer.write(event)
    text = "".join(parts[first:])
    with path.open("w") as stream:
        stream.write(parts[0])
        for _ in range(max(records // (len(parts) - first), 1)):
            stream.write(text)


def seconds(function: Callable[[], object]) -> float:
    """Return how much of the processor's time a function takes, and what it starts."""
    started = os.times()
    function()
    ended = os.times()
    return sum(ended[:4]) - sum(started[:4])


def count_kvm(path: Path) -> int:
    """Count a trace of KVM, and return how many records it has."""
    trace = open_kvm_trace(path)
    counts = trace.counts()
    if trace.damaged:
        raise SystemExit(f"{path} is damaged: {trace.damage[0]}")
    return sum(counts.records.values())


def show_kvm(path: Path) -> None:
    """Show a trace of KVM as text, to nowhere."""
    for _ in open_kvm_trace(path).text():
        pass


def read_kvm(path: Path, most: int) -> int:
    """Read the first events of a trace of KVM, and write each as text to nowhere."""
    writer = StraceWriter(lambda text: None, lambda address: None)
    shown = 0
    for event in open_kvm_trace(path).events():
        writer.write(event)
        shown += 1
        if shown == most:
            break
    return shown


def show_run(path: Path) -> None:
    """Show a trace of JSON lines as text, to nowhere."""
    with path.open("rb") as stream:
        for _ in LinesToText(stream).text():
            pass


def count_run(path: Path) -> int:
    """Count a trace of JSON lines, and return how many events it has."""
    with path.open("rb") as stream:
        counts = count_lines(stream).counts
    return sum(counts.records.values())


def read_run(path: Path, most: int) -> int:
    """Read the first events of a trace of JSON lines."""
    shown = 0
    for _ in open_trace(path):
        shown += 1
        if shown == most:
            break
    return shown


def report_of(command: list[str]) -> int:
    """Let the peer write the text of a trace to nowhere."""
    return subprocess.run(command, check=True, stdout=subprocess.DEVNULL).returncode


def best(function: Callable[[], int | None], rounds: int) -> tuple[float, int]:
    """Return the fastest time of some rounds, and what the function returned."""
    found, result = [], 0
    for _ in range(rounds):

        def measured() -> None:
            nonlocal result
            result = function() or 0

        found.append(seconds(measured))
    return min(found), result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    peer = shutil.which("trace-cmd")
    some = max(options.records // _EVENTS_SHARE, 1)
    loads = [os.getloadavg()[0]]
    print("millions of records in a second of the processor; the fastest of the rounds")
    print(
        f"{'format':<24} {'counted':>8} {'as text':>8} {'trace-cmd report':>17} {'text/report':>12}"
        f" {'as events':>10}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for form, path in write_kvm(folder, options.records).items():
            taken, records = best(lambda path=path: count_kvm(path), options.rounds)  # type: ignore[misc]
            counted = records / taken / 1e6
            taken, _ = best(lambda path=path: show_kvm(path), options.rounds)  # type: ignore[misc]
            shown = records / taken / 1e6
            print(f"{form:<24} {counted:>8.1f} {shown:>8.2f}", end="", flush=True)
            if peer is not None and form.startswith("trace.dat"):
                command = [peer, "report", str(path)]
                taken, _ = best(lambda: report_of(command), options.rounds)  # noqa: B023
                other = records / taken / 1e6
                print(f" {other:>17.2f} {shown / other:>10.0f} x", end="")
            else:
                print(" " * 31, end="")
            taken, calls = best(lambda path=path: read_kvm(path, some), options.rounds)  # type: ignore[misc]
            print(f" {calls * _RECORDS_OF_A_CALL / taken / 1e6:>10.2f}", flush=True)
            loads.append(os.getloadavg()[0])
        path = folder / "run.jsonl"
        write_run(path, options.records)
        taken, events = best(lambda: count_run(path), options.rounds)
        counted = events / taken / 1e6
        taken, _ = best(lambda: show_run(path), options.rounds)
        shown = events / taken / 1e6
        taken, read = best(lambda: read_run(path, some), options.rounds)
        form = "JSON lines of a run"
        print(f"{form:<24} {counted:>8.1f} {shown:>8.2f}{read / taken / 1e6:>42.2f}")
        events_of_run = calls_of_a_run(some)

        def show() -> int:
            writer = StraceWriter(lambda text: None, lambda address: None)
            for event in events_of_run:
                writer.write(event)
            return len(events_of_run)

        taken, events = best(show, options.rounds)
        print(f"{'events of a run':<24} {'':>8} {events / taken / 1e6:>8.2f}")
    loads.append(os.getloadavg()[0])
    print(f"load average {min(loads):.1f} to {max(loads):.1f}, {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
