import pytest

from hypercall.cli.readings import readings_command
from hypercall.errors import InputError
from hypercall.tlfs.readings import READINGS, SET_NAMES


def test_the_table_has_every_reading_and_the_four_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    readings_command()
    lines = capsys.readouterr().out.splitlines()
    starts = [line.split()[0] for line in lines if line[:1] not in ("", " ")]
    assert starts == ["reading", *(each.name for each in READINGS), str(len(READINGS))]
    for name in SET_NAMES:
        assert sum(f" {name} " in line for line in lines) >= len(READINGS)


@pytest.mark.parametrize("name", ["page_crossing", "PAGE-CROSSING"])
def test_one_reading(capsys: pytest.CaptureFixture[str], name: str) -> None:
    readings_command(name)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "page_crossing"
    assert "hyperv INVALID_ALIGNMENT (4)" in lines
    assert "kvm not checked" in lines
    assert "openvmm INVALID_HYPERCALL_INPUT (3)" in lines
    assert any(line.startswith("Sources: TLFS common statuses") for line in lines)


def test_an_unknown_reading_is_told_with_what_is_near() -> None:
    with pytest.raises(InputError, match="page_crossing"):
        readings_command("crossing")
    with pytest.raises(InputError, match=r"lists all$"):
        readings_command("nonsense")
