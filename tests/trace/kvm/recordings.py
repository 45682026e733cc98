"""Writes traces as the tools do: tracepoints of KVM as text, and as ring buffers in a trace.dat."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import zstandard

PAGE = 4096
_HEAD = 16
_MAGIC = b"\x17\x08\x44tracing"

HEADER_PAGE = (
    b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    b"\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
    b"\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
    b"\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n"
)
HEADER_EVENT = (
    b"# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n"
    b"\tarray       :   32 bits\n\n\tpadding     : type == 29\n\ttime_extend : type == 30\n"
    b"\ttime_stamp : type == 31\n\tdata max type_len  == 28\n"
)
_COMMON = (
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n"
)
_SIZES = {
    "__u16": 2,
    "u32": 4,
    "__u64": 8,
    "u64": 8,
    "bool": 1,
    "u8": 1,
    "int": 4,
    "unsigned int": 4,
    "unsigned long": 8,
}


@dataclass(frozen=True)
class Point:
    """A tracepoint as a kernel has it: types and names of its fields, and its text."""

    name: str
    number: int
    fields: tuple[tuple[str, str], ...]
    text: str
    arguments: str

    @property
    def offsets(self) -> dict[str, tuple[int, int]]:
        """Offset and size of each field, aligned as a compiler does."""
        at, found = 8, {}
        for kind, name in self.fields:
            size = _SIZES[kind]
            at = (at + size - 1) // size * size
            found[name] = (at, size)
            at += size
        return found

    @property
    def size(self) -> int:
        """The bytes of a record."""
        alignment = max(4, *(size for _, size in self.offsets.values()))
        end = max(at + size for at, size in self.offsets.values())
        return (end + alignment - 1) // alignment * alignment

    @property
    def format(self) -> bytes:
        """What the kernel says in ``events/kvm/NAME/format``."""
        lines = "".join(
            f"\tfield:{kind} {name};\toffset:{self.offsets[name][0]};"
            f"\tsize:{self.offsets[name][1]};\tsigned:{int(kind == 'int')};\n"
            for kind, name in self.fields
        )
        return (
            f"name: {self.name}\nID: {self.number}\nformat:\n{_COMMON}\n{lines}\n"
            f'print fmt: "{self.text}", {self.arguments}\n'
        ).encode()

    def record(self, pid: int, values: dict[str, int]) -> bytes:
        """The bytes of a record."""
        data = bytearray(self.size)
        struct.pack_into("<HBBi", data, 0, self.number, 0, 0, pid)
        for name, (at, size) in self.offsets.items():
            mask = (1 << 8 * size) - 1
            data[at : at + size] = (values.get(name, 0) & mask).to_bytes(size, "little")
        return bytes(data)


def _point(name: str, number: int, fields: str, text: str, arguments: str) -> Point:
    pairs = [each.strip().rsplit(" ", 1) for each in fields.split(";")]
    return Point(name, number, tuple((kind, each) for kind, each in pairs), text, arguments)


def _rec(*names: str) -> str:
    return ", ".join(f"REC->{name}" for name in names)


_FAST = 'REC->fast ? "fast" : "slow"'
OLD_HYPERCALL = _point(
    "kvm_hv_hypercall",
    113,
    "__u16 rep_cnt; __u16 rep_idx; __u64 ingpa; __u64 outgpa; __u16 code; bool fast",
    "code 0x%x %s cnt 0x%x idx 0x%x in 0x%llx out 0x%llx",
    f"REC->code, {_FAST}, {_rec('rep_cnt', 'rep_idx', 'ingpa', 'outgpa')}",
)
HYPERCALL = _point(
    "kvm_hv_hypercall",
    113,
    "__u16 rep_cnt; __u16 rep_idx; __u64 ingpa; __u64 outgpa; __u16 code; __u16 var_cnt; bool fast",
    "code 0x%x %s var_cnt 0x%x rep_cnt 0x%x idx 0x%x in 0x%llx out 0x%llx",
    f"REC->code, {_FAST}, {_rec('var_cnt', 'rep_cnt', 'rep_idx', 'ingpa', 'outgpa')}",
)
_L2 = 'REC->guest_mode ? "(L2)" : ""'
_POINTS = (
    HYPERCALL,
    _point("kvm_hv_hypercall_done", 112, "__u64 result", "result 0x%llx", _rec("result")),
    _point(
        "kvm_hv_flush_tlb",
        55,
        "u64 processor_mask; u64 address_space; u64 flags; bool guest_mode",
        "processor_mask 0x%llx address_space 0x%llx flags 0x%llx %s",
        f"{_rec('processor_mask', 'address_space', 'flags')}, {_L2}",
    ),
    _point(
        "kvm_hv_flush_tlb_ex",
        54,
        "u64 valid_bank_mask; u64 format; u64 address_space; u64 flags; bool guest_mode",
        "valid_bank_mask 0x%llx format 0x%llx address_space 0x%llx flags 0x%llx %s",
        f"{_rec('valid_bank_mask', 'format', 'address_space', 'flags')}, {_L2}",
    ),
    _point(
        "kvm_hv_send_ipi",
        53,
        "u32 vector; u64 processor_mask",
        "vector %x processor_mask 0x%llx",
        _rec("vector", "processor_mask"),
    ),
    _point(
        "kvm_hv_send_ipi_ex",
        52,
        "u32 vector; u64 format; u64 valid_bank_mask",
        "vector %x format %llx valid_bank_mask 0x%llx",
        _rec("vector", "format", "valid_bank_mask"),
    ),
    _point(
        "kvm_entry",
        115,
        "unsigned int vcpu_id; unsigned long rip; bool immediate_exit",
        "vcpu %u, rip 0x%lx%s",
        _rec("vcpu_id", "rip") + ', REC->immediate_exit ? "[immediate exit]" : ""',
    ),
    _point(
        "kvm_exit",
        103,
        "unsigned int exit_reason; unsigned long guest_rip; u32 isa; u64 info1; u64 info2;"
        " u32 intr_info; u32 error_code; unsigned int vcpu_id",
        "vcpu %u reason %s rip 0x%lx info1 0x%016llx info2 0x%016llx intr_info 0x%08x"
        " error_code 0x%08x",
        "REC->vcpu_id, __print_symbolic(REC->exit_reason,"
        ' { 12, "HLT" }, { 18, "VMCALL" }, { 120, "hlt" }),'
        f" {_rec('guest_rip', 'info1', 'info2', 'intr_info', 'error_code')}",
    ),
    _point(
        "kvm_inj_virq",
        102,
        "unsigned int vector; bool soft; bool reinjected",
        "%s 0x%x%s",
        'REC->soft ? "Soft/INTn" : "IRQ", REC->vector, REC->reinjected ? " [reinjected]" : ""',
    ),
    _point(
        "kvm_msr",
        99,
        "unsigned int write; u32 ecx; u64 data; u8 exception",
        "msr_%s %x = 0x%llx%s",
        'REC->write ? "write" : "read", REC->ecx, REC->data, REC->exception ? " (#GP)" : ""',
    ),
    _point(
        "kvm_vcpu_wakeup",
        41,
        "__u64 ns; bool waited; bool valid",
        "%s time %lld ns, polling %s",
        'REC->waited ? "wait" : "poll", REC->ns, REC->valid ? "valid" : "invalid"',
    ),
    _point(
        "kvm_hv_notify_acked_sint",
        74,
        "int vcpu_id; u32 sint",
        "vcpu_id %d sint %u",
        _rec("vcpu_id", "sint"),
    ),
    _point(
        "kvm_hv_synic_set_irq",
        73,
        "int vcpu_id; u32 sint; int vector; int ret",
        "vcpu_id %d sint %u vector %d ret %d",
        _rec("vcpu_id", "sint", "vector", "ret"),
    ),
    _point(
        "kvm_hv_synic_send_eoi",
        72,
        "int vcpu_id; u32 sint; int vector; int ret",
        "vcpu_id %d vector %d",
        _rec("vcpu_id", "vector"),
    ),
    _point(
        "kvm_hv_synic_set_msr",
        71,
        "int vcpu_id; u32 msr; u64 data; bool host",
        "vcpu_id %d msr 0x%x data 0x%llx host %d",
        _rec("vcpu_id", "msr", "data", "host"),
    ),
    _point(
        "kvm_hv_stimer_set_config",
        70,
        "int vcpu_id; int timer_index; u64 config; bool host",
        "vcpu_id %d timer %d config 0x%llx host %d",
        _rec("vcpu_id", "timer_index", "config", "host"),
    ),
    _point(
        "kvm_hv_stimer_set_count",
        69,
        "int vcpu_id; int timer_index; u64 count; bool host",
        "vcpu_id %d timer %d count %llu host %d",
        _rec("vcpu_id", "timer_index", "count", "host"),
    ),
    _point(
        "kvm_hv_stimer_start_periodic",
        68,
        "int vcpu_id; int timer_index; u64 time_now; u64 exp_time",
        "vcpu_id %d timer %d time_now %llu exp_time %llu",
        _rec("vcpu_id", "timer_index", "time_now", "exp_time"),
    ),
    _point(
        "kvm_hv_stimer_start_one_shot",
        67,
        "int vcpu_id; int timer_index; u64 time_now; u64 count",
        "vcpu_id %d timer %d time_now %llu count %llu",
        _rec("vcpu_id", "timer_index", "time_now", "count"),
    ),
    _point(
        "kvm_hv_stimer_callback",
        66,
        "int vcpu_id; int timer_index",
        "vcpu_id %d timer %d",
        _rec("vcpu_id", "timer_index"),
    ),
    _point(
        "kvm_hv_stimer_cleanup",
        64,
        "int vcpu_id; int timer_index",
        "vcpu_id %d timer %d",
        _rec("vcpu_id", "timer_index"),
    ),
    _point(
        "kvm_hv_stimer_expiration",
        65,
        "int vcpu_id; int timer_index; int direct; int msg_send_result",
        "vcpu_id %d timer %d direct %d send result %d",
        _rec("vcpu_id", "timer_index", "direct", "msg_send_result"),
    ),
    _point(
        "kvm_hv_syndbg_set_msr",
        49,
        "int vcpu_id; u32 vp_index; u32 msr; u64 data",
        "vcpu_id %d vp_index %u msr 0x%x data 0x%llx",
        _rec("vcpu_id", "vp_index", "msr", "data"),
    ),
    _point(
        "kvm_hv_syndbg_get_msr",
        48,
        "int vcpu_id; u32 vp_index; u32 msr; u64 data",
        "vcpu_id %d vp_index %u msr 0x%x data 0x%llx",
        _rec("vcpu_id", "vp_index", "msr", "data"),
    ),
    _point("kvm_fpu", 44, "u32 load", "%s", 'REC->load ? "load" : "unload"'),
)
POINTS = {point.name: point for point in _POINTS}
_EXITS = {12: "HLT", 18: "VMCALL", 120: "hlt"}


@dataclass(frozen=True)
class Entry:
    """One record of a trace."""

    time: int
    pid: int
    cpu: int
    name: str
    values: dict[str, int] = field(default_factory=dict)
    task: str = "CPU 0/KVM"


def message(entry: Entry, points: dict[str, Point] = POINTS) -> str:
    """The text of a record, as the kernel prints it."""
    point = points[entry.name]
    values = {name: entry.values.get(name, 0) for _, name in point.fields}
    shown: list[int | str] = []
    # Split at commas that are in no parentheses.
    depth, word, words = 0, "", []
    for letter in point.arguments + ",":
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            words.append(word.strip())
            word = ""
        else:
            word += letter
    for each in words:
        choice = re.fullmatch(r'REC->(\w+) \? "(.*)" : "(.*)"', each)
        plain = re.fullmatch(r"REC->(\w+)", each)
        if choice:
            shown.append(choice[2] if values[choice[1]] else choice[3])
        elif plain:
            shown.append(values[plain[1]])
        else:
            shown.append(_EXITS.get(values["exit_reason"], str(values["exit_reason"])))
    return re.sub(r"%(0?\d*)l*([xduli])", r"%\1\2", point.text) % tuple(shown)


def ftrace(entries: Iterable[Entry], points: dict[str, Point] = POINTS, digits: int = 6) -> bytes:
    """The text of tracefs: ``trace`` and ``trace_pipe``."""
    lines = ["# tracer: nop", "#", "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION"]
    lines += [
        f"{each.task:>16}-{each.pid:<7} [{each.cpu:03d}] d..1. {seconds(each.time, digits)}:"
        f" {each.name}: {message(each, points)}"
        for each in entries
    ]
    return ("\n".join(lines) + "\n").encode()


def perf(entries: Iterable[Entry], points: dict[str, Point] = POINTS) -> bytes:
    """The text of ``perf script --ns``."""
    lines = [
        f"{each.task:>16} {each.pid:5d} [{each.cpu:03d}] {seconds(each.time, 9)}:"
        f" {'kvm:' + each.name:>32}: {message(each, points)}"
        for each in entries
    ]
    return ("\n".join(lines) + "\n").encode()


def report(entries: Iterable[Entry], points: dict[str, Point] = POINTS) -> bytes:
    """The text of ``trace-cmd report -t``."""
    lines = ["cpus=2"]
    lines += [
        f"{each.task:>16}-{each.pid:<5} [{each.cpu:03d}] {seconds(each.time, 9)}:"
        f" {each.name + ':':<20} {message(each, points)}"
        for each in entries
    ]
    return ("\n".join(lines) + "\n").encode()


def seconds(time: int, digits: int) -> str:
    """A time as the tools print it, cut off after so many digits."""
    whole, part = divmod(time, 1_000_000_000)
    return f"{whole:5d}.{part:09d}"[: len(f"{whole:5d}") + 1 + digits]


def ring_buffer(
    entries: Sequence[Entry], points: dict[str, Point] = POINTS, page: int = PAGE
) -> bytes:
    """The ring buffer of one processor: pages with records that are told apart by time deltas."""
    pages: list[bytes] = []
    data, start, last = bytearray(), 0, 0
    for entry in entries:
        record = points[entry.name].record(entry.pid, entry.values)
        need = 8 + 8 + len(record)
        if not data or len(data) + need > page - _HEAD:
            if data:
                pages.append(_page(start, data, page))
            data, start, last = bytearray(), entry.time, entry.time
        delta = entry.time - last
        if delta >> 27:
            data += struct.pack("<II", 30 | (delta & 0x7FFFFFF) << 5, delta >> 27)
            delta = 0
        last = entry.time
        if len(record) <= 28 * 4:
            data += struct.pack("<I", len(record) // 4 | delta << 5) + record
        else:
            data += struct.pack("<II", delta << 5, len(record) + 4) + record
    if data:
        pages.append(_page(start, data, page))
    return b"".join(pages)


def _page(time: int, data: bytearray, page: int) -> bytes:
    return (struct.pack("<QQ", time, len(data)) + bytes(data)).ljust(page, b"\0")


def _pack(compression: str, data: bytes) -> bytes:
    if compression == "zstd":
        return zstandard.ZstdCompressor().compress(data)
    return zlib.compress(data)


def trace_dat(
    entries: Iterable[Entry],
    *,
    version: int = 7,
    compression: str = "none",
    cpus: int = 2,
    points: dict[str, Point] = POINTS,
    page: int = PAGE,
    options: Sequence[tuple[int, bytes]] = (),
    rings: Sequence[bytes] | None = None,
    clock: str = "local",
) -> bytes:
    """A whole trace.dat."""
    entries = list(entries)
    if rings is None:
        rings = [
            ring_buffer([each for each in entries if each.cpu == cpu], points, page)
            for cpu in range(cpus)
        ]
    tasks = {each.pid: each.task for each in entries}
    names = "".join(f"{pid} {task}\n" for pid, task in tasks.items()).encode()
    header_page = HEADER_PAGE.replace(b"4080", str(page - _HEAD).encode())
    header = b"header_page\0" + struct.pack("<Q", len(header_page)) + header_page
    header += b"header_event\0" + struct.pack("<Q", len(HEADER_EVENT)) + HEADER_EVENT
    formats = struct.pack("<I", 1) + b"kvm\0" + struct.pack("<I", len(points))
    for point in points.values():
        formats += struct.pack("<Q", len(point.format)) + point.format
    initial = _MAGIC + f"{version}".encode() + b"\0\0\x08" + struct.pack("<I", PAGE)
    clocks = b"[" + clock.encode() + b"] global\0"
    all_options = [(4, clocks), *options]
    if version == 6:
        return _version6(initial, header, formats, names, all_options, rings, page)
    return _version7(initial, header, formats, names, all_options, rings, page, compression, clock)


def _option(number: int, data: bytes) -> bytes:
    return struct.pack("<HI", number, len(data)) + data


def _version6(
    initial: bytes,
    header: bytes,
    formats: bytes,
    names: bytes,
    options: Sequence[tuple[int, bytes]],
    rings: Sequence[bytes],
    page: int,
) -> bytes:
    data = initial + header + struct.pack("<I", 0) + formats + struct.pack("<II", 0, 0)
    data += struct.pack("<Q", len(names)) + names + struct.pack("<I", len(rings)) + b"options  \0"
    data += b"".join(_option(*each) for each in options) + struct.pack("<H", 0) + b"flyrecord\0"
    at = (len(data) + 16 * len(rings) + page - 1) // page * page
    table = b""
    for ring in rings:
        table += struct.pack("<QQ", at, len(ring))
        at += len(ring)
    data += table
    return data.ljust((len(data) + page - 1) // page * page, b"\0") + b"".join(rings)


def _version7(
    initial: bytes,
    header: bytes,
    formats: bytes,
    names: bytes,
    options: Sequence[tuple[int, bytes]],
    rings: Sequence[bytes],
    page: int,
    compression: str,
    clock: str,
) -> bytes:
    data = bytearray(initial + compression.encode() + b"\0" + b"1\0")
    first = len(data)
    data += bytes(8)
    packed = compression != "none"

    def section(number: int, content: bytes, *, plain: bool = False) -> int:
        at = len(data)
        flags = int(packed and not plain)
        if flags:
            small = _pack(compression, content)
            content = struct.pack("<II", len(small), len(content)) + small
        data.extend(struct.pack("<HHIQ", number, flags, 0, len(content)) + content)
        return at

    listed = list(options)
    listed.append((16, struct.pack("<Q", section(16, header))))
    listed.append((18, struct.pack("<Q", section(18, formats))))
    listed.append((21, struct.pack("<Q", section(21, struct.pack("<Q", len(names)) + names))))
    buffer = len(data)
    data.extend(struct.pack("<HHIQ", 3, int(packed), 0, 0))
    data.extend(bytes(-len(data) % page))
    option = struct.pack("<Q", buffer) + b"\0" + clock.encode() + b"\0"
    option += struct.pack("<II", page, len(rings))
    for cpu, ring in enumerate(rings):
        at = len(data)
        size = len(ring)
        if packed and ring:
            parts = [ring[each : each + 10 * page] for each in range(0, len(ring), 10 * page)]
            content = b"".join(
                struct.pack("<II", len(small), len(part)) + small
                for part in parts
                for small in (_pack(compression, part),)
            )
            data.extend(struct.pack("<I", len(parts)) + content)
            size = len(content)
        else:
            data.extend(ring)
        option += struct.pack("<IQQ", cpu, at, size)
    struct.pack_into("<Q", data, buffer + 8, len(data) - buffer - 16)
    listed.append((3, option))
    listed.append((0, struct.pack("<Q", 0)))
    content = b"".join(_option(*each) for each in listed)
    struct.pack_into("<Q", data, first, len(data))
    section(0, content, plain=True)
    return bytes(data)
