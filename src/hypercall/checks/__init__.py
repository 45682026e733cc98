"""Checks: named rules for guests, and what finds where a guest breaks them."""

from hypercall.checks.checker import Checker
from hypercall.checks.finding import Finding
from hypercall.checks.recorded import RecordedChecks, Unchecked, offline_findings
from hypercall.checks.rule import Rule, Severity, Source

__all__ = [
    "Checker",
    "Finding",
    "RecordedChecks",
    "Rule",
    "Severity",
    "Source",
    "Unchecked",
    "offline_findings",
]
