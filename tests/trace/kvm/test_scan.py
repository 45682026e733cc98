import struct
from collections.abc import Iterator

import pytest
from tests.trace.kvm.recordings import (
    OLD_HYPERCALL,
    POINTS,
    Entry,
    ftrace,
    perf,
    report,
    ring_buffer,
)

from hypercall.trace.kvm.scan import Calls, Kind, RingSource, TextSource
from hypercall.trace.kvm.tracepoints import words

CALL = " qemu-77 [003] ..... 12.000345: kvm_hv_hypercall: "
NEW = "code 0x14 slow var_cnt 0x1 rep_cnt 0x2 idx 0x1 in 0x7f000 out 0x8000"


def read(text: str | bytes) -> tuple[list[tuple[int, ...]], TextSource]:
    source, calls = TextSource(words()), Calls(collect=True)
    source.feed(text.encode() if isinstance(text, str) else text, calls)
    calls.finish()
    return calls.take(), source


def test_both_texts_of_a_call() -> None:
    rows, source = read(
        CALL + NEW + "\n" + CALL + "code 0xb fast cnt 0x0 idx 0x0 in 0xfb out 0x3\n"
    )
    assert [row[6:13] for row in rows] == [
        (0x14, 0, 1, 2, 1, 0x7F000, 0x8000),
        (0xB, 1, 0, 0, 0, 0xFB, 3),
    ]
    assert rows[0][1:4] == (12_000_345_000, 77, -1)
    assert source.unreadable == 0


TASKS = [
    ("qemu-system-x86", 1),
    ("CPU 11/KVM", 4_194_303),
    ("<idle>", 0),
    ("<...>", 12),
    ("a-b-7", 8),
    ("kworker/0:1-ev", 9),
    ("x: [001] y: z", 10),
    ("[000] ", 11),
    (" ", 13),
    ("(7)", 14),
    ("1.5: kvm_fpu:", 15),
    ("\xe9\xff", 16),
]


@pytest.mark.parametrize(("task", "pid"), TASKS)
@pytest.mark.parametrize("write", [ftrace, perf, report])
def test_odd_names_of_tasks(task: str, pid: int, write: object) -> None:
    entry = Entry(7_000_001_000, pid, 1, "kvm_hv_hypercall_done", {"result": 5}, task)
    call = Entry(7_000_000_000, pid, 1, "kvm_hv_hypercall", {"code": 8}, task)
    assert callable(write)
    rows, source = read(write([call, entry]))
    assert source.unreadable == 0
    (row,) = rows
    assert row[1:3] == (7_000_000_000, pid)
    assert row[14:17] == (7_000_001_000, 1, 5)


def test_the_name_of_qemus_thread_tells_its_processor() -> None:
    rows, _ = read(ftrace([Entry(1, 5, 0, "kvm_inj_virq", {"vector": 9}, "CPU 11/KVM")]))
    assert rows[0][3] == 11
    rows, _ = read(ftrace([Entry(1, 5, 0, "kvm_inj_virq", {"vector": 9}, "CPU x/KVM")]))
    assert rows[0][3] == -1


@pytest.mark.parametrize(
    "line",
    [
        " q-5     (     12) [003] d..1.  1.5: kvm_hv_notify_acked_sint: vcpu_id 1 sint 2",
        " q-5     (-------) [003]  1.5: kvm_hv_notify_acked_sint: vcpu_id 1 sint 2",
        "q-5       3d..1.  1.5: kvm_hv_notify_acked_sint: vcpu_id 1 sint 2",
        "q 5/5 [003] 1.500000000: kvm:kvm_hv_notify_acked_sint: vcpu_id 1 sint 2\r",
        "q     5 [003]  1.5:          1 kvm:kvm_hv_notify_acked_sint: vcpu_id 1 sint 2",
        "q-5 [003] 1.5: (+12)   kvm_hv_notify_acked_sint: vcpu_id 1 sint 2",
        "q-5 [128] 1.5:\tkvm_hv_notify_acked_sint: vcpu_id=1 vcpu_id 1 sint 2",
    ],
)
def test_variants_of_a_line(line: str) -> None:
    rows, source = read(line)
    assert source.unreadable == 0
    (row,) = rows
    assert row[:3] == (Kind.ACKNOWLEDGED, 1_500_000_000, 5)
    assert row[6:8] == (1, 2)


def test_older_texts() -> None:
    rows, source = read(
        "q-5 [0] 1.0: kvm_inj_virq: irq 65\n"
        "q-5 [0] 1.1: kvm_inj_virq: IRQ 0x41 [reinjected]\n"
        "q-5 [0] 1.2: kvm_hv_stimer_expiration: vcpu_id 3 timer 1 msg send result -11\n"
        "q-5 [0] 1.3: kvm_entry: vcpu 2\n"
        "q-5 [0] 1.4: kvm_exit: reason HLT rip 0x123 info 0 0\n"
    )
    assert source.unreadable == 0
    assert [row[6] for row in rows] == [65, 65, 3, 0x123]
    assert rows[1][7] == 1
    assert rows[2][9] == (1 << 64) - 11
    assert rows[3][3] == 2


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        (NEW[:-7] + "x", b"fields are missing"),
        (NEW.replace("in 0x7f000 ", ""), b"fields are missing"),
        (NEW.replace("code 0x14 ", ""), b"fields are missing"),
        (NEW.replace("0x8000", "0x" + "f" * 17), b"64 bits"),
        (NEW.replace("0x8000", "0x8000" + "0" * 60_000), b"64 bits"),
        ("", b"fields are missing"),
    ],
)
def test_fields_that_are_damaged(fields: str, what: bytes) -> None:
    _, source = read("# comment\n" + CALL + fields + "\n")
    assert source.unreadable == 1
    ((line, why, text),) = source.damage
    assert line == 2
    assert what in why
    assert text.startswith(b" qemu-77")


def test_a_call_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    rows, _ = read(CALL + "code 0x5d fast var_cnt 0x0 rep_cn")
    assert rows[0][6:8] == (0x5D, 1)
    assert read(CALL + "fast")[0] == []


@pytest.mark.parametrize("time", ["99999999999999999999", "9999999999.5", "1.5.6", ".5", "-1.5"])
def test_times_that_are_none(time: str) -> None:
    rows, source = read(f"q-5 [000] {time}: kvm_inj_virq: IRQ 0x41\n")
    assert rows == []
    assert source.unreadable == 1


def test_times_without_a_point() -> None:
    rows, source = read("q-5 [000] 12345: kvm_inj_virq: IRQ 0x41\n")
    assert rows[0][1] == 12345
    assert source.counter_clock


def test_lines_that_are_no_events() -> None:
    harmless = (
        "# tracer: nop\n\ncpus=2\nCPU 1 is empty\nCPU:0 [LOST 5 EVENTS]\n => do_it\n<stack trace>\n"
        "\tffffffff81000000 function+0x10 (/lib/x)\nversion = 6\n"
    )
    _, source = read(harmless)
    assert (source.unreadable, source.others, source.line) == (0, 0, 9)
    _, source = read("what is this\nq-5 [000] 1.5: sched_switch: x: y\nand this")
    assert (source.unreadable, source.others) == (2, 1)
    assert [line for line, *_ in source.damage] == [1, 3]


def test_damage_is_counted_but_not_kept_for_ever() -> None:
    _, source = read("nonsense here\n" * 1000)
    assert source.unreadable == 1000
    assert len(source.damage) == 16


def call(time: int, pid: int = 1, **values: int) -> Entry:
    return Entry(time, pid, 0, "kvm_hv_hypercall", {"code": 2, **values}, "t")


def done(time: int, pid: int = 1, result: int = 0) -> Entry:
    return Entry(time, pid, 0, "kvm_hv_hypercall_done", {"result": result}, "t")


def other(name: str, time: int, pid: int = 1, **values: int) -> Entry:
    return Entry(time, pid, 0, name, values, "t")


def joined(*entries: Entry) -> list[tuple[int, ...]]:
    rows, source = read(ftrace(entries, digits=9))
    assert source.unreadable == 0
    return rows


def test_a_call_lasts_from_the_exit_to_the_entry() -> None:
    (row,) = joined(
        other("kvm_exit", 10, guest_rip=0x1000, vcpu_id=3),
        call(12),
        done(15),
        other("kvm_entry", 20, vcpu_id=3),
    )
    assert row[:5] == (Kind.HYPERCALL, 10, 1, 3, 0x1000)
    assert row[14] == 20


def test_a_call_lasts_to_its_end_without_exits() -> None:
    (row,) = joined(call(12), done(15))
    assert (row[1], row[14]) == (12, 15)


def test_an_entry_that_never_came() -> None:
    rows = joined(other("kvm_exit", 10), call(12), done(15), other("kvm_exit", 30), call(31))
    assert [(row[1], row[14], row[15]) for row in rows] == [(10, 15, 1), (30, 31, 0)]


def test_a_call_without_its_end() -> None:
    rows = joined(call(12), call(20), done(25, result=5))
    assert [row[14:17] for row in rows] == [(12, 0, 0), (25, 1, 5)]


def test_threads_are_told_apart() -> None:
    rows = joined(call(1, 1), call(2, 2, code=3), done(3, 2, 6), done(4, 1, 7))
    assert {(row[2], row[6], row[16]) for row in rows} == {(1, 2, 7), (2, 3, 6)}


def test_an_end_or_a_sibling_without_a_call_is_nothing() -> None:
    assert joined(done(3), other("kvm_hv_flush_tlb", 4), done(5)) == []


def test_siblings_belong_to_the_call_of_their_thread() -> None:
    rows = joined(
        call(1, 1),
        call(2, 2),
        other("kvm_hv_flush_tlb", 3, 1, processor_mask=7, flags=1),
        done(4, 1),
        done(5, 2),
    )
    assert [row[17] for row in rows] == [Kind.FLUSH, -1]
    assert rows[0][18:21] == (7, 0, 1)


def test_counting_agrees_with_collecting() -> None:
    entries = [
        entry
        for number in range(50)
        for entry in (
            call(number * 100, 1 + number % 3, code=number % 5),
            done(number * 100 + 7, 1 + number % 3, number % 2 * 5 | number << 32),
        )
    ]
    source, calls = TextSource(words()), Calls(collect=False)
    source.feed(ftrace(entries, digits=9), calls)
    calls.finish()
    expected: dict[tuple[int, int], list[int]] = {}
    for row in joined(*entries):
        counted = expected.setdefault((row[6], row[16] & 0xFFFF), [0, 0, row[1], row[1], 0])
        counted[0] += 1
        counted[1] += row[16] >> 32
        counted[3] = row[1]
        counted[4] += row[14] - row[1]
    assert {(code, status): rest for code, status, *rest in calls.counters()} == expected
    assert calls.kinds()[:2] == [50, 50]
    assert calls.span() == (0, 4907)


def test_only_some_threads() -> None:
    source, calls = TextSource(words()), Calls(collect=True, only=[2])
    source.feed(ftrace([call(1, 1), call(2, 2), done(3, 1), done(4, 2)]), calls)
    assert [row[2] for row in calls.take()] == [2]
    assert calls.rows == 2


def test_two_threads_of_one_processor_are_noticed() -> None:
    entries = [other("kvm_entry", 1, 1, vcpu_id=4), other("kvm_entry", 2, 2, vcpu_id=4)]
    source, calls = TextSource(words()), Calls(collect=False)
    source.feed(ftrace(entries[:1]), calls)
    assert calls.shared is None
    source.feed(ftrace(entries), calls)
    assert calls.shared == (4, 1, 2)


def test_more_threads_than_are_counted() -> None:
    source, calls = TextSource(words()), Calls(collect=False)
    line = "t-{} [0] 0.1: kvm_hv_hypercall: code 0x2 fast rep_cnt 0x0 idx 0x0 in 0x0 out 0x0\n"
    source.feed("".join(line.format(pid) for pid in range(65537)).encode(), calls)
    assert calls.crowded
    assert sum(count for _, _, count, *_ in calls.counters()) == 0
    calls.finish()
    assert sum(count for _, _, count, *_ in calls.counters()) == 65536


def test_the_frontier_is_the_oldest_call_under_way() -> None:
    source, calls = TextSource(words()), Calls(collect=True)
    source.feed(ftrace([call(1000, 1), call(2000, 2)]), calls)
    assert calls.frontier() == 1000
    source.feed(ftrace([done(3000, 1)]), calls)
    assert calls.frontier() == 2000
    source.feed(ftrace([done(3000, 2)]), calls)
    assert calls.frontier() is None
    source.feed(ftrace([other("kvm_exit", 4000, 2)]), calls)
    assert calls.frontier() == 4000
    source.feed(ftrace([done(4_000_000, 1)]), calls)
    assert calls.frontier() is None


LAYOUTS = [
    (113, Kind.HYPERCALL, [(0, 32, 2, False), (6, 24, 8, False)]),
    (112, Kind.DONE, [(0, 8, 8, False)]),
    (73, Kind.SET_IRQ, [(0, 8, 4, True), (1, 12, 4, False), (2, 16, 4, True), (3, 20, 4, True)]),
]


def rings(
    *data: bytes, page: int = 4096, clock: tuple[int, int] = (0, 0), added: int = 0
) -> tuple[list[tuple[int, ...]], RingSource]:
    def chunks(ring: bytes) -> Iterator[tuple[int, bytes]]:
        yield 0x1000, ring

    source = RingSource(
        [chunks(ring) for ring in data], LAYOUTS, page, (8, 8), 16, (0, 4), clock, added
    )
    calls = Calls(collect=True)
    while source.run(calls, 3):
        pass
    calls.finish()
    return calls.take(), source


def test_records_of_several_processors_in_order() -> None:
    first = ring_buffer([call(10, 1, outgpa=7), done(500_000_000, 1)])
    second = ring_buffer([call(20, 2), done(30, 2), call(40, 2), done(50, 2, 9)])
    rows, source = rings(first, second, b"")
    assert [(row[2], row[1], row[14], row[16]) for row in rows] == [
        (2, 20, 30, 0),
        (2, 40, 50, 9),
        (1, 10, 500_000_000, 0),
    ]
    assert rows[2][12] == 7
    assert (source.unreadable, source.others, source.lost) == (0, 0, 0)


def test_numbers_with_a_sign() -> None:
    rows, _ = rings(ring_buffer([other("kvm_hv_synic_set_irq", 1, vcpu_id=1, ret=-2)]))
    assert rows[0][9] == (1 << 64) - 2


def test_many_pages() -> None:
    entries = [each for n in range(1000) for each in (call(n * 10), done(n * 10 + 1))]
    data = ring_buffer(entries)
    assert len(data) > 10 * 4096
    assert len(rings(data)[0]) == 1000
    assert len(rings(ring_buffer(entries, page=65536), page=65536)[0]) == 1000


def page_of(*words_: int, time: int = 100, length: int | None = None) -> bytes:
    data = struct.pack(f"<{len(words_)}I", *words_)
    head = struct.pack("<QQ", time, len(data) if length is None else length)
    return (head + data).ljust(4096, b"\0")


# A record of kvm_hv_hypercall_done: its number, its thread and its result.
DONE = (112, 5, 0, 0)


def done_times(*words_: int, **options: int) -> tuple[list[int], RingSource]:
    """Return the times of calls that every record of DONE ends."""
    source_rows, source = rings(ring_buffer([call(0, 5)]) + page_of(*words_, **options), page=4096)
    return [row[14] for row in source_rows], source


def test_times_that_do_not_fit_into_a_delta() -> None:
    extend = (30 | 5 << 5, 1)
    assert done_times(*extend, 4 | 3 << 5, *DONE)[0] == [100 + 5 + (1 << 27) + 3]
    stamp = (31 | 7 << 5, 2)
    assert done_times(*stamp, 4, *DONE)[0] == [7 + (2 << 27)]
    high = 1 << 60
    assert done_times(*stamp, 4, *DONE, time=high)[0] == [high + 7 + (2 << 27)]


def test_a_record_with_its_length_in_a_word() -> None:
    assert done_times(0 | 4 << 5, 20, *DONE)[0] == [104]


def test_padding() -> None:
    assert done_times(29 | 2 << 5, 8, 0, 4, *DONE)[0] == [102]
    assert done_times(29, 0, 4, *DONE)[0] == [0]


@pytest.mark.parametrize(
    ("words_", "length", "what"),
    [
        ((4 | 1 << 5, 112, 5), None, b"longer than its page"),
        ((0, 2, *DONE), None, b"no length"),
        ((0, 0xFFFF_FFFF, *DONE), None, b"no length"),
        ((0,), None, b"cut off"),
        ((30,), None, b"cut off"),
        ((2, 112, 5), None, b"shorter than its fields"),
        ((4, *DONE), 5000, b"no length"),
    ],
)
def test_a_damaged_page_is_left_and_its_place_told(
    words_: tuple[int, ...], length: int | None, what: bytes
) -> None:
    ring = page_of(*words_, length=length) + ring_buffer([call(1000, 5), done(1001, 5, 3)])
    rows, source = rings(ring)
    assert [row[16] for row in rows] == [3]
    ((place, why),) = source.damage
    assert place == 0x1000
    assert what in why


def test_a_page_that_is_cut_off_is_read_to_its_end() -> None:
    data = ring_buffer([call(n) for n in range(10)])[:300]
    rows, source = rings(data)
    assert len(rows) == (300 - 16) // 44
    assert b"within a page" in source.damage[0][1]
    rows, source = rings(data[:10])
    assert rows == []
    assert b"head of a page" in source.damage[0][1]


def test_lost_events_and_others_are_counted() -> None:
    flagged = bytearray(ring_buffer([call(1), Entry(2, 1, 0, "kvm_fpu"), done(3)]))
    flagged[11] |= 0x80
    rows, source = rings(bytes(flagged))
    assert len(rows) == 1
    assert (source.lost, source.others, source.unreadable) == (1, 1, 0)


def test_clocks() -> None:
    data = ring_buffer([call(1 << 40)])
    assert rings(data, added=-5)[0][0][1] == (1 << 40) - 5
    assert rings(data, clock=(3 << 20, 20))[0][0][1] == 3 * (1 << 40)


def test_an_older_record() -> None:
    old = POINTS | {"kvm_hv_hypercall": OLD_HYPERCALL}
    rows, source = rings(ring_buffer([call(1)], old))
    assert source.unreadable == 0
    assert rows[0][6] == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"commit": (8, 3)},
        {"data_at": 4},
        {"data_at": 5000},
        {"page": 8},
        {"clock": (1, 64)},
        {"layouts": [(70000, 1, [])]},
        {"layouts": [(1, 99, [])]},
        {"layouts": [(1, 1, [(9, 0, 4, False)])]},
        {"layouts": [(1, 1, [(0, 0, 3, False)])]},
    ],
)
def test_geometry_is_checked(changed: dict[str, object]) -> None:
    options: dict[str, object] = {
        "chunks": [],
        "layouts": [],
        "page": 4096,
        "commit": (8, 8),
        "data_at": 16,
        "common": (0, 4),
        "clock": (0, 0),
        "added": 0,
    }
    with pytest.raises(ValueError, match=r"\w"):
        RingSource(**(options | changed))  # type: ignore[arg-type]
