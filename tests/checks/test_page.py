from pathlib import Path

from hypercall.checks.page import checks_page
from hypercall.checks.rules import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "checks.md"


def test_the_page_is_that_of_the_rules() -> None:
    assert PAGE.read_text(encoding="utf-8") == checks_page(RULES), "run script/checks-page"


def test_each_rule_is_one_row() -> None:
    rows = [line for line in checks_page(RULES).splitlines() if line.startswith("| `")]
    assert sorted(row.split("`")[1] for row in rows) == sorted(rule.name for rule in RULES)
    assert all(row.count(" | ") == 4 for row in rows)
