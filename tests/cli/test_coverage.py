import json
from pathlib import Path

import pytest
from tests.coverage.guest import covered
from tests.guests.assembly import call, read_msr

from hypercall.cli.app import main
from hypercall.cli.coverage import coverage_text

TEXT = f"{read_msr(0x40000002)}\n{call(0x1000B, 0xFB, 0)}"


def test_text_for_people() -> None:
    text = coverage_text(covered(TEXT), lambda address: "[red]place")
    assert "- CPUID 0x40000003: The guest uses the interface without reading" in text
    assert "Pages enabled: HYPERCALL once" in text
    assert "│ HvCallSendSyntheticClusterIpi │     1 │         │ [red]place (1) │" in text
    assert "not used, its leaf never read" in text
    assert "NESTED" not in text
    assert max(map(len, text.splitlines())) <= 150


def test_json_for_programs() -> None:
    values = json.loads(coverage_text(covered(TEXT), lambda address: None, as_json=True))
    assert values["pages"] == [["HYPERCALL", 1]]


@pytest.mark.parametrize("name", ["coverage.txt", "coverage.json"])
def test_at_the_end_of_a_run(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(SystemExit) as left:
        main(["run", "--coverage", str(path), "--console", str(tmp_path / "console")])
    assert left.value.code == 0
    text = path.read_text()
    assert "ACCESS_VSM" in text
    assert (json.loads(text) is not None) if name.endswith("json") else "Calls" in text


def test_it_needs_a_file_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(b"\xc3")
    with pytest.raises(SystemExit) as left:
        main(["run", str(image), "--coverage", str(image)])
    assert left.value.code == 2
    assert "--coverage" in capsys.readouterr().err
