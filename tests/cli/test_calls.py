import pytest

from hypercall.calls import HANDLERS
from hypercall.cli.calls import calls_command
from hypercall.errors import InputError
from hypercall.tlfs.calls import DECLARATIONS


def test_list_has_every_call_and_whether_it_is_implemented(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls_command()
    lines = capsys.readouterr().out.splitlines()
    for declaration in DECLARATIONS:
        (line,) = [line for line in lines if line.split()[:1] == [f"{declaration.code:#06x}"]]
        assert declaration.name in line.split()
        assert line.rstrip().endswith("not yet") != (declaration.code in HANDLERS)
    beside = [each for each in DECLARATIONS if not each.in_reference_table]
    counted = len(HANDLERS) - len(beside)
    assert lines[-1].startswith(f"32 calls, {counted} of them implemented; 1 beside them, 1 of")


def test_calls_beside_the_reference_table_have_a_table_of_their_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls_command()
    out = capsys.readouterr().out
    of_the_table, beside = out.split("Beside the reference table")
    assert of_the_table.count(" 0x") == 32
    assert beside.count(" 0x") == 1
    assert "HvCallTranslateVirtualAddress" in beside


@pytest.mark.parametrize("name", ["0x5C", "HvPostMessage", "hvcallpostmessage", "POST_MESSAGE"])
def test_one_call_by_all_its_names(capsys: pytest.CaptureFixture[str], name: str) -> None:
    calls_command(name)
    out = capsys.readouterr().out
    assert out.startswith("HvCallPostMessage (0x005c)")
    for word in ("connection_id", "POST_MESSAGES", "INSUFFICIENT_BUFFERS", "240"):
        assert word in out


@pytest.mark.parametrize("declaration", list(DECLARATIONS), ids=lambda each: each.name)
def test_every_call_can_be_described(
    capsys: pytest.CaptureFixture[str], declaration: object
) -> None:
    name = declaration.name  # type: ignore[attr-defined]
    calls_command(name)
    assert capsys.readouterr().out.startswith(name)


@pytest.mark.parametrize("name", ["HvCallNonsense", "0x9999", "beef"])
def test_unknown_calls(name: str) -> None:
    with pytest.raises(InputError) as caught:
        calls_command(name)
    assert "\n" not in str(caught.value)
