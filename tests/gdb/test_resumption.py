import pytest

from hypercall.errors import InputError
from hypercall.gdb.resumption import Resumption, parse_actions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"c", Resumption()),
        (b"c:-1", Resumption()),
        (b"C05;c", Resumption()),
        (b"s", Resumption(2)),
        (b"s:1", Resumption(1)),
        (b"s:p1.3;c", Resumption(3)),
        (b"S05:1;c:-1", Resumption(1)),
        (b"c:1;s:3", Resumption(3)),
        (b"s:1;s:3", Resumption(1)),
        (b"r1000,1010:3;c", Resumption(3, 0x1000, 0x1010)),
    ],
)
def test_only_the_step_counts(text: bytes, expected: Resumption) -> None:
    assert parse_actions(text, current=2) == expected


@pytest.mark.parametrize(
    "text", [b"", b"t", b"x:1", b"c1", b"Cxx", b"s:-2", b"s:zz", b"r1000:1", b"r:1", b"c;", b"S"]
)
def test_what_is_no_action_is_refused(text: bytes) -> None:
    with pytest.raises(InputError):
        parse_actions(text, current=1)
