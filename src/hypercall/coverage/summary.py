"""The coverage of a run in plain values, for JSON and for pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypercall.coverage.advice import advice_on
from hypercall.coverage.coverage import Coverage, Uses, call_name
from hypercall.tlfs.msrs import msr_name

_MOST_SITES = 5
_HYPERVISOR_LEAVES = range(0x4000_0000, 0x4000_0100)


def coverage_summary(
    coverage: Coverage, symbol: Callable[[int], str | None] = lambda address: None
) -> dict[str, Any]:
    """Return what a run covers.

    Args:
        coverage: the counts.
        symbol: the name of a guest-virtual address, or None.

    Returns:
        ``advice`` (about, text), ``enlightenments`` (word, name, offered, read, used, refused, by,
        verdict), and ``calls``, ``msrs``, ``cpuid``, which has the leaves of a
        hypervisor (name, count, refused, writes, sites) and
        ``pages`` (name, count), most frequent first.
    """

    def uses(table: Mapping[int, Uses], name: Callable[[int], str]) -> list[dict[str, Any]]:
        rows = [
            {
                "name": name(number),
                "count": each.count,
                "refused": each.refused,
                "writes": each.writes,
                "sites": [
                    [symbol(site) or f"{site:#x}", count]
                    for site, count in sorted(
                        each.sites.items(), key=lambda item: (-item[1], item[0])
                    )[:_MOST_SITES]
                ],
                "more_sites": max(0, len(each.sites) - _MOST_SITES),
            }
            for number, each in table.items()
        ]
        return sorted(rows, key=lambda row: (-row["count"], row["name"]))

    return {
        "advice": [{"about": each.about, "text": each.text} for each in advice_on(coverage)],
        "enlightenments": [
            {
                "word": row.enlightenment.word.value,
                "name": row.enlightenment.name,
                "offered": row.offered,
                "read": row.read,
                "used": row.used,
                "refused": row.refused,
                "by": [list(each) for each in row.by],
                "verdict": row.verdict.value,
            }
            for row in coverage.rows()
        ],
        "calls": uses(coverage.calls, call_name),
        "msrs": uses(coverage.msrs, msr_name),
        "cpuid": uses(
            {leaf: each for leaf, each in coverage.leaves.items() if leaf in _HYPERVISOR_LEAVES},
            lambda leaf: f"{leaf:#x}",
        ),
        "pages": [
            [msr_name(index), count]
            for index, count in sorted(coverage.pages.items(), key=lambda item: item[0])
        ],
    }
