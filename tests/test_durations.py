import pytest

from hypercall.durations import duration_text, parse_duration


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        *((0, "0ns"), (1, "1ns"), (1_500, "1500ns"), (2_000, "2us")),
        *((5_000_000, "5ms"), (3_000_000_000, "3s")),
    ],
)
def test_durations_are_written_and_read(nanoseconds: int, text: str) -> None:
    assert duration_text(nanoseconds) == text
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1.5s", 1_500_000_000),
        ("0.25ms", 250_000),
        ("0.4ns", 0),
        ("123456789.123456789s", 123_456_789_123_456_789),
        *((text, None) for text in ("", "5", "5m", "-1s", "1.s", "1e3s", " 1s", "\u0661s")),
    ],
)
def test_durations_as_users_write_them(text: str, nanoseconds: int | None) -> None:
    assert parse_duration(text) == nanoseconds
