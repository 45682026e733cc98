import io

from hypercall.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_only_a_terminal_gets_a_line() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.show("loading")
    progress.show_run(1, 1)
    progress.clear()
    assert stream.getvalue() == ""


def test_nothing_is_shown_unless_wanted() -> None:
    stream = Terminal()
    progress = Progress(stream, wanted=False)
    progress.show("loading")
    assert stream.getvalue() == ""


def test_the_line_is_written_over_not_too_often_and_gone_at_the_end() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(stream, now=clock)
    progress.show("loading")
    for _ in range(10):
        clock.now += 0.03
        progress.show_run(2_500_000_000, 1234)
    progress.clear()
    progress.show_run(9, 9)
    parts = stream.getvalue().split("\r\x1b[K")
    assert parts[1] == "loading"
    assert parts[2] == "running: 2.50 s of virtual time in 0.1 s, 1,234 hypercalls"
    assert len(parts) == 2 + 2 + 1
    assert parts[-1] == ""
    assert "\n" not in stream.getvalue()


def test_a_terminal_that_went_away_is_forgotten() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    progress = Progress(Gone())
    progress.show("loading")
    progress.clear()
