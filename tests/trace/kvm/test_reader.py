import io
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trace.kvm.recordings import (
    OLD_HYPERCALL,
    POINTS,
    Entry,
    ftrace,
    perf,
    report,
    ring_buffer,
    trace_dat,
)

from hypercall.errors import InputError
from hypercall.trace.events import Event
from hypercall.trace.kvm.reader import KvmTrace, open_kvm_trace
from hypercall.trace.statistics import Statistics
from hypercall.trace.strace import StraceWriter

TRACE_CMD = shutil.which("trace-cmd")


def recording(rounds: int = 40) -> list[Entry]:
    """Two processors that flush, send interrupts and take them; then each tracepoint once."""
    entries: list[Entry] = []
    time = 3_600_000_000_123
    for number in range(rounds):
        vcpu = number % 2

        def add(delta: int, name: str, vcpu: int = vcpu, time: int = time, **values: int) -> None:
            pid = 4000 + vcpu
            entries.append(Entry(time + delta, pid, vcpu, name, values, f"CPU {vcpu}/KVM"))

        rip = 0xFFFFFFFF81000000 + number
        add(0, "kvm_exit", exit_reason=18, isa=1, guest_rip=rip, vcpu_id=vcpu)
        if number % 3:
            add(700, "kvm_hv_hypercall", code=3, rep_cnt=2, ingpa=0x7000)
            add(800, "kvm_hv_flush_tlb", processor_mask=3, address_space=0x1000)
            add(900, "kvm_hv_hypercall_done", result=2 << 32)
        else:
            add(700, "kvm_hv_hypercall", code=0xB, fast=1, ingpa=0xFB, outgpa=3)
            add(900, "kvm_hv_hypercall_done", result=5 if number % 2 else 0)
        add(950, "kvm_inj_virq", vector=0xFB)
        add(1000, "kvm_entry", vcpu_id=vcpu, rip=rip + 3)
        # Once more than a time delta of a ring buffer can hold.
        time += 10_000 if number != 7 else 500_000_000
    values = dict.fromkeys(("timer_index", "sint", "vector", "count", "write", "ret"), 1)
    for name in POINTS:
        time += 1000
        entries.append(Entry(time, 4000, 0, name, values, "CPU 0/KVM"))
    return entries


ENTRIES = recording()
FILES: dict[str, Callable[[], bytes]] = {
    "version 6": lambda: trace_dat(ENTRIES, version=6),
    "version 7": lambda: trace_dat(ENTRIES),
    "zstd": lambda: trace_dat(ENTRIES, compression="zstd"),
    "zlib": lambda: trace_dat(ENTRIES, compression="zlib"),
    "perf script": lambda: perf(ENTRIES),
    "trace-cmd report": lambda: report(ENTRIES),
    "tracefs": lambda: ftrace(ENTRIES, digits=9),
}


def opened(tmp_path: Path, data: bytes) -> KvmTrace:
    path = tmp_path / "trace"
    path.write_bytes(data)
    return open_kvm_trace(path)


def numbers(statistics: Statistics) -> list[tuple[Any, ...]]:
    return [
        (each.name, each.outcome, each.count, each.reps, each.first_ns, each.last_ns, each.total_ns)
        for each in statistics.by_call()
    ]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    trace = opened(tmp_path_factory.mktemp("expected"), FILES["version 7"]())
    return list(trace.events())


@pytest.mark.parametrize("name", FILES)
def test_all_formats_tell_the_same(name: str, expected: list[Event], tmp_path: Path) -> None:
    trace = opened(tmp_path, FILES[name]())
    assert trace.format == ("text" if "tr" in name or "perf" in name else "trace.dat")
    assert list(trace.events()) == expected
    assert (trace.damage, trace.damaged, trace.notes) == ([], 0, [])
    assert len(expected) == 40 * 2 + 17
    times = [event.position.time_ns for event in expected]
    assert times == sorted(times)


@pytest.mark.parametrize("name", FILES)
def test_counting_agrees_with_the_events(name: str, expected: list[Event], tmp_path: Path) -> None:
    counts = opened(tmp_path, FILES[name]()).counts()
    statistics = Statistics()
    for event in expected:
        statistics.count(event)
    assert numbers(counts.calls) == numbers(statistics)
    assert counts.calls.total == 41
    assert counts.records["kvm_hv_hypercall"] == 41
    assert counts.records["kvm_inj_virq"] == 41
    assert counts.others == 1
    assert counts.span_ns == ENTRIES[-2].time - ENTRIES[0].time


def slowly(trace: KvmTrace, pids: list[int] | None = None) -> bytes:
    """The text of a trace by way of its events."""
    parts: list[str] = []
    writer = StraceWriter(parts.append, lambda address: None)
    for event in trace.events(pids):
        writer.write(event)
    return "".join(parts).encode()


@pytest.mark.parametrize("name", FILES)
def test_text_is_that_of_the_events(name: str, tmp_path: Path) -> None:
    trace = opened(tmp_path, FILES[name]())
    for pids in (None, [4001], [1]):
        assert b"".join(trace.text(pids)) == slowly(trace, pids)
    assert slowly(trace).count(b"\n") == 40 * 2 + 17


@st.composite
def random_entries(draw: st.DrawFn) -> list[Entry]:
    """Tracepoints of some threads, in any order, with what repeats itself and what does not."""
    entries: list[Entry] = []
    time = draw(st.sampled_from([5, 3_600_000_000_123]))
    names = st.sampled_from(
        ["kvm_hv_hypercall", "kvm_hv_hypercall", "kvm_hv_hypercall_done", "kvm_exit", "kvm_entry"]
        + [name for name in POINTS if name.startswith("kvm_")]
    )
    for _ in range(draw(st.integers(1, 60))):
        time += draw(st.sampled_from([0, 1, 999, 1050, 999_950, 1_000_500, 2_000_000_000]))
        vcpu, name = draw(st.integers(0, 3)), draw(names)
        values = {
            field: draw(st.sampled_from([0, 1, 2, 3, 0xB, 0x7000, 0xFFFFFFFF]))
            for _, field in POINTS[name].fields
        }
        if "code" in values:
            values["code"] = draw(st.sampled_from([2, 3, 0xB, 0x13, 0x14, 0x15, 0x5C, 0xBEEF]))
        if "vcpu_id" in values:
            values["vcpu_id"] = vcpu
        if "exit_reason" in values:
            values["exit_reason"], values["isa"] = draw(st.sampled_from([(12, 1), (18, 1)]))
        task = draw(st.sampled_from([f"CPU {vcpu}/KVM", "qemu"]))
        entries.append(Entry(time, 4000 + vcpu, vcpu, name, values, task))
    return entries


@settings(max_examples=120, deadline=None)
@given(random_entries(), st.booleans())
def test_text_of_any_trace(entries: list[Entry], binary: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = trace_dat(entries) if binary else ftrace(entries, digits=9)
        trace = opened(Path(folder), data)
        notes: list[list[str]] = []
        texts = []
        for quickly in (True, False):
            texts.append(b"".join(trace.text()) if quickly else slowly(trace))
            notes.append(trace.notes)
        assert texts[0] == texts[1]
        assert notes[0] == notes[1]


def test_older_kernels(tmp_path: Path) -> None:
    old = POINTS | {"kvm_hv_hypercall": OLD_HYPERCALL}
    expected = list(opened(tmp_path, trace_dat(ENTRIES)).events())
    for data in (trace_dat(ENTRIES, points=old), perf(ENTRIES, old), ftrace(ENTRIES, old, 9)):
        trace = opened(tmp_path, data)
        assert list(trace.events()) == expected
        assert trace.damaged == 0


@pytest.mark.skipif(TRACE_CMD is None, reason="trace-cmd is not installed")
@pytest.mark.parametrize("options", [[], ["-N"], ["-l"]], ids=["plugins", "plain", "latency"])
@pytest.mark.parametrize("name", ["version 6", "version 7", "zstd"])
def test_trace_cmd_reads_the_same(
    name: str, options: list[str], expected: list[Event], tmp_path: Path
) -> None:
    path = tmp_path / "trace.dat"
    path.write_bytes(FILES[name]())
    assert TRACE_CMD is not None
    command = [TRACE_CMD, "report", "-t", *options, str(path)]
    found = subprocess.run(command, capture_output=True, check=True)
    trace = KvmTrace(io.BytesIO(found.stdout), "the report")
    assert list(trace.events()) == expected
    assert trace.damaged == 0


@pytest.mark.skipif(TRACE_CMD is None, reason="trace-cmd is not installed")
def test_trace_cmd_converts_times_the_same(tmp_path: Path) -> None:
    options = [(7, b"-0x100\0"), (1, b"0x20\0"), (14, struct.pack("<IIQ", 3 << 20, 20, 777))]
    path = tmp_path / "trace.dat"
    path.write_bytes(trace_dat(ENTRIES, options=options, clock="x86-tsc"))
    assert TRACE_CMD is not None
    found = subprocess.run([TRACE_CMD, "report", "-t", str(path)], capture_output=True, check=True)
    reported = KvmTrace(io.BytesIO(found.stdout), "the report")
    read = open_kvm_trace(path)
    assert list(read.events()) == list(reported.events())
    assert read.notes == []


def test_a_trace_is_read_again(tmp_path: Path) -> None:
    for name in ("version 7", "tracefs"):
        trace = opened(tmp_path, FILES[name]())
        assert list(trace.events()) == list(trace.events())


class Pipe(io.RawIOBase):
    """Gives a few bytes at a time, and cannot go back."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        part, self._data = self._data[:777], self._data[777:]
        return part


def test_a_pipe(expected: list[Event]) -> None:
    trace = KvmTrace(Pipe(FILES["tracefs"]()), "the pipe")  # type: ignore[arg-type]
    assert not trace.seekable
    assert list(trace.events()) == expected
    with pytest.raises(InputError, match="twice"):
        trace.counts()
    with pytest.raises(InputError, match="not from a pipe"):
        KvmTrace(Pipe(FILES["version 7"]()), "the pipe")  # type: ignore[arg-type]


def test_some_threads(expected: list[Event], tmp_path: Path) -> None:
    trace = opened(tmp_path, FILES["version 7"]())
    assert list(trace.events([4001])) == [e for e in expected if e.position.vp_index == 1][:40]
    assert trace.counts([4001]).calls.total == 20
    assert trace.counts([1]).calls.total == 0


def test_events_of_a_trace_that_is_text_in_a_trace_dat(
    expected: list[Event], tmp_path: Path
) -> None:
    data = trace_dat([], version=6)
    at = data.index(b"flyrecord\0")
    data = data[:at] + b"latency  \0" + FILES["tracefs"]()
    assert list(opened(tmp_path, data).events()) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"hello\n", "first lines are none"),
        (b"PERFILE2" + bytes(100), "perf script"),
        (b"\x1f\x8b\x08", "gunzip"),
        (b"\x28\xb5\x2f\xfd", "unzstd"),
        (b"\xfd7zXZ\0", "unxz"),
        (b"\x17\x08\x44tracing9\0\0\x08\0\0\0\0", "version 9"),
        (bytes(1000), "first lines are none"),
    ],
)
def test_what_is_none_of_the_formats(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        opened(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        open_kvm_trace(tmp_path / "none")


def test_damaged_lines_are_told_and_the_others_read(expected: list[Event], tmp_path: Path) -> None:
    lines = FILES["tracefs"]().splitlines(keepends=True)
    lines[3:3] = [b"garbage\n", b"\xff\0\xfe\n", b"x" * 200_000 + b"\n"]
    trace = opened(tmp_path, b"".join(lines))
    assert list(trace.events()) == expected
    assert [each.place for each in trace.damage] == ["line 4", "line 5", "line 6"]
    assert trace.damaged == 3


def test_a_text_that_is_cut_off(tmp_path: Path) -> None:
    data = FILES["tracefs"]()
    at = data.rindex(b"kvm_hv_syndbg_get_msr")
    trace = opened(tmp_path, data[: at + 40])
    assert len(list(trace.events())) == 97
    assert trace.damage[0].place == f"line {data.count(bytes([10])) - 1}"


def test_a_file_that_is_cut_off(expected: list[Event], tmp_path: Path) -> None:
    data = trace_dat(recording(400), version=6)
    trace = opened(tmp_path, data[:-5000])
    events = list(trace.events())
    assert 400 < len(events) < 818
    assert trace.damage[0].place == f"byte {len(data) - 5000:#x}"
    assert "the file ends" in trace.damage[0].what


def test_notes(tmp_path: Path) -> None:
    def notes(*entries: Entry, write: Callable[..., bytes] = ftrace) -> list[str]:
        trace = opened(tmp_path, write(entries))
        list(trace.events())
        return trace.notes

    call = Entry(5, 1, 0, "kvm_hv_hypercall", {"code": 2}, "t")
    assert "the threads 1 run" in notes(call)[0]
    entered = [Entry(5, pid, 0, "kvm_entry", {"vcpu_id": 0}, "t") for pid in (1, 2)]
    assert "several guests" in notes(*entered, call)[0]
    assert "no hypercall was recorded" in notes(*entered[:1])[0]
    ticks = b"t-1 [000] 12345: kvm_hv_hypercall: code 0x2 fast cnt 0x0 idx 0x0 in 0x0 out 0x0\n"
    assert "taken for nanoseconds" in notes(write=lambda _: ticks)[0]
    assert "x86-tsc" in "".join(notes(call, write=lambda e: trace_dat(e, clock="x86-tsc")))
    lost = bytearray(ring_buffer([call]))
    lost[11] |= 0x80
    assert "events were lost" in "".join(notes(write=lambda _: trace_dat([], rings=[bytes(lost)])))


MUTATED = [FILES["version 6"](), FILES["version 7"](), FILES["zstd"](), FILES["tracefs"]()]


@settings(max_examples=150, deadline=None)
@given(
    base=st.sampled_from(MUTATED),
    changes=st.lists(
        st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=9)), max_size=6
    ),
    end=st.integers(0, 1 << 20),
    cut=st.booleans(),
)
def test_damage_is_never_an_error_of_another_kind(
    base: bytes,
    changes: list[tuple[int, bytes]],
    end: int,
    cut: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data = bytearray(base)
    for at, new in changes:
        at %= len(data)
        data[at : at + len(new)] = new
    if cut:
        del data[end % len(data) :]
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(data)
    try:
        trace = open_kvm_trace(path)
        events = list(trace.events())
        counts = trace.counts()
    except InputError:
        return
    assert counts.calls.total <= len(events)
    assert len(events) < len(data)


@settings(max_examples=150, deadline=None)
@given(
    pages=st.lists(st.binary(max_size=200), max_size=5),
    commit=st.lists(st.integers(0, (1 << 32) - 1), min_size=5, max_size=5),
)
def test_any_bytes_may_be_a_ring_buffer(
    pages: list[bytes], commit: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rings = [
        (struct.pack("<QQ", 1000, length if length & 1 else length % 300) + page).ljust(4096, b"\0")
        for page, length in zip(pages, commit, strict=False)
    ]
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(trace_dat([], rings=[b"".join(rings), b"".join(pages)]))
    trace = open_kvm_trace(path)
    assert len(list(trace.events())) < 5000


@settings(max_examples=150, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(
            [b" ", b"t-1", b"[000]", b"1.5:", b"kvm_hv_hypercall:", b"code", b"0x5", b"fast", b"in",
             b"kvm_msr:", b"msr_write", b"=", b"\n", b":", b"(", b")", b"-", b"\xff", b"0x", b"]",
             b"kvm_exit:", b"rip", b"HLT", b"18446744073709551616", b"CPU 9/KVM-5"]
        )
    )
)  # fmt: skip
def test_any_words_may_be_a_line(text: list[bytes]) -> None:
    trace = KvmTrace(io.BytesIO(b"# tracer: nop\n" + b" ".join(text)), "words", "text")
    list(trace.events())
    trace.counts()
