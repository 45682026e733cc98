"""Checks: named rules for guests, and what finds where a guest breaks them."""

from hypercall.checks.checker import Checker, offline_findings
from hypercall.checks.finding import Finding
from hypercall.checks.rule import Rule, Severity, Source

__all__ = ["Checker", "Finding", "Rule", "Severity", "Source", "offline_findings"]
