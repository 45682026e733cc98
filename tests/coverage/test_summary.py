import json

from tests.coverage.guest import covered
from tests.guests.assembly import call, read_msr

from hypercall.coverage.summary import coverage_summary


def test_it_is_what_json_knows() -> None:
    text = f"mov eax, 0x40000003\ncpuid\n{read_msr(0x40000002)}\n{call(0x1000B, 0xFB, 0)}"
    summary = coverage_summary(covered(text), lambda address: "here")
    assert json.loads(json.dumps(summary)) == summary
    assert summary["calls"] == [
        {
            "name": "HvCallSendSyntheticClusterIpi",
            "count": 1,
            "refused": 0,
            "writes": 0,
            "sites": [["here", 1]],
            "more_sites": 0,
        }
    ]
    assert {row["name"] for row in summary["msrs"]} == {"GUEST_OS_ID", "HYPERCALL", "VP_INDEX"}
    assert [row["name"] for row in summary["cpuid"]] == ["0x40000003"]
    assert summary["pages"] == [["HYPERCALL", 1]]
    (row,) = [row for row in summary["enlightenments"] if row["name"] == "ACCESS_VP_INDEX"]
    assert row == {
        "word": "privilege",
        "name": "ACCESS_VP_INDEX",
        "offered": True,
        "read": 1,
        "used": 1,
        "refused": 0,
        "by": [["VP_INDEX", 1]],
        "verdict": "used",
    }
    assert all(set(each) == {"about", "text"} for each in summary["advice"])
