import pytest

from hypercall.tlfs.readings.gates import Enforcement
from hypercall.tlfs.readings.reading import SET_NAMES, reading
from hypercall.tlfs.status import HvStatus


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HvStatus.INVALID_PARAMETER, "INVALID_PARAMETER (5)"),
        (True, "yes"),
        (False, "no"),
        (None, "goes on"),
        (0xFF, "0xff"),
        (-1000, "-1000"),
        (Enforcement.ADVICE, "advice only"),
    ],
)
def test_an_answer_in_words(answer: object, words: str) -> None:
    for name in SET_NAMES:
        answers = dict.fromkeys(SET_NAMES, object()) | {name: answer}
        declared = reading("what", "What?", "nobody", none="goes on", **answers)
        assert declared.answer(name) == words
