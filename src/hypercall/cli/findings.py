"""What the checks found in a run, for the command: when to stop, and the text at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from hypercall.checks.finding import Finding
    from hypercall.cli.guest import GuestMachine

CHECK_MODES = ("warn", "strict", "off")
"""What ``--check`` takes: tell at the end, end the run at the first mistake, look at nothing."""

_MOST_SHOWN = 40


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


def write_findings(
    stream: IO[str], findings: Sequence[Finding], place: Callable[[Finding], str]
) -> None:
    """Write what was found: what the guest did, where, and the code there.

    Args:
        stream: where to.
        findings: the findings; none write nothing.
        place: the guest's name for a finding's place.
    """
    if not findings:
        return
    # Not at the top: a run without findings needs neither.
    from hypercall.checks.machine_checks import disassembly

    total = sum(finding.count for finding in findings)
    times = "" if total == len(findings) else f", {total:,} times in all"
    stream.write(
        f"\n{len(findings)} finding{'s' if len(findings) != 1 else ''} of the checks{times};"
        " `hypercall checks RULE` says why each matters\n"
    )
    for finding in findings[:_MOST_SHOWN]:
        position = finding.position
        rule = finding.rule
        vtl = f" VTL {position.vtl}" if position.vtl else ""
        stream.write(
            f"{rule.severity.value} {rule.name} x{finding.count:,}: {finding.text}\n"
            f"    at {position.time_ns / 1e9:.6f} s on VP {position.vp_index}{vtl}"
            f" in {place(finding)}; TLFS {rule.section}\n"
        )
        for line in disassembly(finding):
            stream.write(f"        {line}\n")
    if len(findings) > _MOST_SHOWN:
        stream.write(f"and {len(findings) - _MOST_SHOWN} more\n")
