import pytest

from hypercall.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("name+0x1a [hv_vmbus]", "name+0x1a [hv_vmbus]"),
        ("a\x1b[31mb\x07\n", "a?[31mb??"),
        ("\u202eback", "?back"),
        ("x" * 50, "x" * 30),
        ("", ""),
        ("a\tb\x1b\u202ec✓", "a?b??c✓"),
    ],
)
def test_nothing_reaches_the_terminal_that_would_change_it(text: str, shown: str) -> None:
    assert printable(text, 30) == shown
