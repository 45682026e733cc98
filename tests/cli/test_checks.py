import pytest

from hypercall.checks.rules import RULES
from hypercall.cli.checks import checks_command
from hypercall.errors import InputError


def test_the_list_has_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    checks_command()
    lines = capsys.readouterr().out.splitlines()
    starts = [line.split()[0] for line in lines if line[:1] not in ("", " ")]
    assert starts == ["rule", *(rule.name for rule in RULES), str(len(RULES))]


def test_one_rule_with_why_it_matters(capsys: pytest.CaptureFixture[str]) -> None:
    checks_command("parameter_overlap")
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("parameter-overlap (error)")
    assert "before it has read all input" in text
    assert "TLFS hypercall-interface" in text
    assert "recorded traces too" in text


def test_an_unknown_rule_is_told_with_what_is_near() -> None:
    with pytest.raises(InputError, match="did you mean parameter-overlap"):
        checks_command("overlap")
