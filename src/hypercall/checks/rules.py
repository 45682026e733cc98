"""All rules, as the list and the documents show them."""

from __future__ import annotations

from hypercall.checks.check import Check
from hypercall.checks.checker import STREAM_CHECKS
from hypercall.checks.messages import MessageCheck
from hypercall.checks.outputs import OutputCheck
from hypercall.checks.rule import Rule
from hypercall.checks.spinning import SpinCheck
from hypercall.checks.translations import TranslationCheck
from hypercall.checks.trust_levels import TrustLevelCheck
from hypercall.errors import InputError

ALL_CHECKS: tuple[type[Check], ...] = (
    *STREAM_CHECKS,
    OutputCheck,
    MessageCheck,
    SpinCheck,
    TrustLevelCheck,
    TranslationCheck,
)
"""The checks of a live machine: those of events, and those that must be told more."""

RULES: tuple[Rule, ...] = tuple(rule for check in ALL_CHECKS for rule in check.rules)
"""Every rule."""


def rule_named(name: str) -> Rule | None:
    """Return the rule of a name, in any case, with ``-`` or ``_``; None if there is none."""
    return next((rule for rule in RULES if rule.name == _wanted(name)), None)


def find_rule(name: str) -> Rule:
    """Return the rule of a name, in any case, with ``-`` or ``_``.

    Raises:
        InputError: there is none of that name.
    """
    found = rule_named(name)
    if found is not None:
        return found
    wanted = _wanted(name)
    near = [rule.name for rule in RULES if wanted in rule.name]
    hint = f"; did you mean {', '.join(near)}?" if wanted and near else ""
    raise InputError(f"no rule is named {name[:60]!r}: `hypercall checks` lists all{hint}")


def _wanted(name: str) -> str:
    return name.strip().lower().replace("_", "-")
