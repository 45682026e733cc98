import pytest
from rich.console import Console

from hypercall.cli.decode import control_notes, decode, decode_command, parse_bytes, parse_xmm
from hypercall.errors import InputError
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.control import ControlWord

NO_REGISTERS = (None,) * 8


def text_of(
    control: str | None,
    *registers: str,
    input: str | None = None,
    result: str | None = None,
) -> list[list[str]]:
    """Return the lines of what is shown, each split into words."""
    given = (*registers, *NO_REGISTERS[len(registers) :])
    console = Console(width=200, highlight=False)
    with console.capture() as capture:
        for renderable in decode(control, given, input, result):
            console.print(renderable)
    return [line.split() for line in capture.get().splitlines()]


def test_the_registers_of_a_fast_call() -> None:
    lines = text_of("0x0000000100010003", "0", "2", "4:0x7f0000001000", result="0x100000000")
    assert lines[0] == ["HvCallFlushVirtualAddressList", "(0x0003)"]
    assert ["flags", "ALL_VIRTUAL_ADDRESS_SPACES"] in lines
    assert ["processor_mask", "{2}"] in lines
    assert ["gva_ranges", "[0x7f0000001000+1", "page]"] in lines
    assert lines[-1] == ["result", "SUCCESS,", "1", "rep"]


def test_input_bytes() -> None:
    lines = text_of("0x5D", input="04000000 0700 0000")
    assert ["connection_id", "0x4"] in lines
    assert ["flag_number", "7"] in lines


def test_addresses_of_a_call_in_memory() -> None:
    assert ["output_gpa", "0x5000"] in text_of("0x8001", "0", "0x5000")
    assert ["input_gpa", "0x1000"] in text_of("0x5C", "0x1000")


def test_result_alone(capsys: pytest.CaptureFixture[str]) -> None:
    decode_command(result="0x1b00000005")
    assert capsys.readouterr().out == "result INVALID_PARAMETER, 27 reps\n"


def test_registers_that_are_not_given_end_the_input() -> None:
    lines = text_of("0x1000B", "0xfe")
    assert ["vector", "0xfe"] in lines
    assert ["truncated", "8", "bytes"] in lines


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (0x0000_0000_0800_0002, "reserved bits are set: 0x8000000"),
        (0xBEEF, "no call of the reference has this code"),
        (0x2_0002, "this call takes no variable header"),
        (0x3, "a rep call needs a rep count above its rep start index"),
        (0x1_0000_0002, "a simple call takes neither rep count nor rep start index"),
        (0x1_005C, "this call has no register form"),
    ],
)
def test_notes(value: int, note: str) -> None:
    word = ControlWord.parse(value)
    assert control_notes(word, DECLARATIONS.by_code.get(word.code)) == [note]


def test_a_good_word_has_no_notes() -> None:
    assert control_notes(ControlWord.parse(0x1_0000_0003), DECLARATIONS.find(3)) == []


def test_xmm_forms() -> None:
    expected = (4).to_bytes(8, "little") + (5).to_bytes(8, "little")
    assert parse_xmm("4:5", "--xmm0") == expected
    assert parse_xmm("00000000000000050000000000000004", "--xmm0") == expected
    assert parse_xmm("0x00000000000000050000000000000004", "--xmm0") == expected


def test_bytes_forms() -> None:
    assert parse_bytes("0x01 02\n03") == b"\1\2\3"


BAD = [
    (("beef",), {}, "the control word: 'beef' is not a number"),
    (("0x1g",), {}, "the control word"),
    (("-1",), {}, "64 bits"),
    (("0x1" + "0" * 16,), {}, "64 bits"),
    (("9" * 5000,), {}, "not a number"),
    (("2", "x"), {}, "--rdx"),
    (("2", "0", "0", "1:2:3"), {}, "--xmm0"),
    (("2", "0", "0", "12"), {}, "--xmm0"),
    (("2", "0", "0", "z" * 32), {}, "--xmm0"),
    (("2",), {"input": "123"}, "--input"),
    (("2",), {"input": "zz"}, "--input"),
    (("2", "0"), {"input": "00"}, "one of the two"),
    ((None,), {}, "nothing to decode"),
    ((None,), {"result": "ten"}, "--result"),
    ((None, "1"), {"result": "1"}, "without a control word"),
]


@pytest.mark.parametrize(("words", "options", "message"), BAD)
def test_bad_input_is_one_line(
    words: tuple[str, ...], options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        text_of(words[0], *words[1:], **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_register_after_one_that_is_missing() -> None:
    with pytest.raises(InputError, match="--r8 without --rdx"):
        decode("2", (None, "1", *NO_REGISTERS[2:]))
