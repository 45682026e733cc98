"""What the checks found in a run, for the command: when to stop, and the text at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from hypercall.checks.finding import Finding
    from hypercall.checks.recorded import RecordedChecks
    from hypercall.cli.guest import GuestMachine
    from hypercall.trace.description import RunDescription
    from hypercall.trace.events import Event
    from hypercall.trace.hub import EventKind

CHECK_MODES = ("warn", "strict", "off")
"""What ``--check`` takes: tell at the end, end the run at the first mistake, look at nothing."""

_MOST_SHOWN = 40
_LONGEST_NAME = 200


def attach_checks(machine: GuestMachine, mode: str, *, stale: bool = False) -> None:
    """Let a machine be watched.

    Args:
        machine: the machine.
        mode: one of `CHECK_MODES`.
        stale: whether to look for uses of old translations too.
    """
    if mode == "off":
        return
    checks = machine.check(stale=stale)
    if mode == "strict":
        from hypercall.checks.rule import Severity

        def stop(finding: Finding) -> None:
            if finding.rule.severity is not Severity.ADVICE:
                machine.pause()

        checks.on_new.append(stop)


def checks_told(mode: str, stale: bool, kinds: Sequence[EventKind]) -> str | None:
    """Return what a trace tells of how its run was checked, for its description.

    Args:
        mode: one of `CHECK_MODES`.
        stale: whether uses of old translations are looked for too.
        kinds: the kinds of events that the trace has; without findings it tells nothing.
    """
    from hypercall.trace.events import FindingEvent

    if FindingEvent not in kinds:
        return None
    if mode == "off":
        return "off"
    return "stale" if stale else "on"


def write_findings(
    stream: IO[str], findings: Sequence[Finding], place: Callable[[Finding], str]
) -> None:
    """Write what was found: what the guest did, where, the code there, and once why it matters.

    Args:
        stream: where to.
        findings: the findings; none write nothing.
        place: the guest's name for a finding's place.
    """
    if not findings:
        return
    # Not at the top: a run without findings does not need it.
    from hypercall.checks.code import disassembly

    total = sum(finding.count for finding in findings)
    times = "" if total == len(findings) else f", {total:,} times in all"
    stream.write(
        f"\n{len(findings)} finding{'s' if len(findings) != 1 else ''} of the checks{times};"
        " `hypercall checks RULE` says why each matters\n"
    )
    explained: set[str] = set()
    for finding in findings[:_MOST_SHOWN]:
        position = finding.position
        rule = finding.rule
        vtl = f" VTL {position.vtl}" if position.vtl else ""
        where = f" in {place(finding)}" if finding.address else ""
        section = f"; TLFS {rule.section}" if rule.section else ""
        stream.write(
            f"{rule.severity.value} {rule.name} x{finding.count:,}: {finding.text}\n"
            f"    at {position.time_ns / 1e9:.6f} s on VP {position.vp_index}{vtl}"
            f"{where}{section}\n"
        )
        for line in disassembly(finding):
            stream.write(f"        {line}\n")
        if rule.why and rule.name not in explained:
            explained.add(rule.name)
            stream.write(f"    why: {rule.why}\n")
    if len(findings) > _MOST_SHOWN:
        stream.write(f"and {len(findings) - _MOST_SHOWN} more\n")


def check_events(events: Iterable[Event], description: RunDescription) -> RecordedChecks:
    """Check a recorded run.

    Args:
        events: all its events in their order.
        description: what is known of it.
    """
    # Not at the top: most runs are not recorded.
    from hypercall.checks.recorded import RecordedChecks

    checks = RecordedChecks(description)
    for event in events:
        checks.feed(event)
    checks.finish()
    return checks


def write_recorded(
    stream: IO[str], checks: RecordedChecks, symbol: Callable[[int], str | None]
) -> None:
    """Write what was found in a recorded run, and what could not be looked for.

    Args:
        stream: where to.
        checks: what has seen all its events.
        symbol: the name of a guest-virtual address, or None.
    """
    # Not at the top: most runs are not recorded.
    from hypercall.printable import printable

    def place(finding: Finding) -> str:
        name = symbol(finding.address)
        return f"{finding.address:#x}" if name is None else printable(name, _LONGEST_NAME)

    findings = checks.findings
    if not findings:
        stream.write("\nThe checks found nothing.\n")
    write_findings(stream, findings, place)
    if checks.left_out:
        stream.write(f"and {checks.left_out:,} more that were not taken up\n")
    for each in checks.unchecked:
        how = "Checked in part" if each.in_part else "Not checked"
        names = ", ".join(rule.name for rule in each.rules)
        stream.write(f"{how}, for want of {each.reason}: {names}\n")
