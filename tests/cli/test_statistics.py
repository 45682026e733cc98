import io

from hypercall.cli.statistics import write_counts
from hypercall.trace.counts import TraceCounts
from hypercall.trace.statistics import Statistics


def written(counts: TraceCounts) -> str:
    stream = io.StringIO()
    write_counts(stream, counts)
    return stream.getvalue()


def test_calls_and_records() -> None:
    statistics = Statistics()
    statistics.add(
        2, None, "?", count=1234, reps=0, first_ns=5, last_ns=2_000_000_000, total_ns=2_468_000
    )
    counts = TraceCounts(statistics, {"kvm_exit": 5, "kvm_hv_hypercall": 1234}, 7, 1_500_000_000)
    lines = [line.split() for line in written(counts).splitlines()]
    assert ["1,234", "hypercalls"] in lines
    row = next(line for line in lines if "HvCallFlushVirtualAddressSpace" in line)
    assert row[3:12:2] == ["?", "1,234", "0.000", "2.000", "2.00"]
    names = [line[1] for line in lines if line[1:2] and line[1] in ("kvm_exit", "kvm_hv_hypercall")]
    assert names == ["kvm_hv_hypercall", "kvm_exit"]
    assert ["│", "others", "│", "7", "│"] in lines
    assert lines[-1][0] == "1.500000"


def test_nothing() -> None:
    assert written(TraceCounts(Statistics())).startswith("The trace has no hypercalls.\n")
