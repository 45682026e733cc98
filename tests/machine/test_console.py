import pytest

from hypercall.machine.console import panic_line


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            "<6>[ 1.0] Run /init\n<0>[ 2.0] Kernel panic - not syncing: Attempted to kill init!\n"
            "<4>[ 2.1]  panic+0x118/0x2e0\n<0>[ 2.2] ---[ end Kernel panic - not syncing: Attem",
            "Kernel panic - not syncing: Attempted to kill init!",
        ),
        (
            "<0>[ 2.2] ---[ end Kernel panic - not syncing: Fatal exception ]---",
            "Kernel panic - not syncing: Fatal exception",
        ),
        ("booting\npanic: out of memory\nstopped\n", "panic: out of memory"),
        ("all is well\n", None),
        ("", None),
    ],
)
def test_the_line_of_a_panic(log: str, line: str | None) -> None:
    assert panic_line(log) == line
