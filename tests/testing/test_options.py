"""What users say about guests is read, or refused in one line."""

from pathlib import Path

import pytest

from hypercall.errors import InputError
from hypercall.testing.options import check_seeds, parse_seeds, read_settings

BASE = Path("/base")


def test_values_are_read_as_text_and_as_they_are() -> None:
    as_text = {"kernel": "a", "cpus": "2", "memory": "16M", "boot_limit": "1.5", "seed": "7"}
    read = read_settings(as_text, BASE)
    assert read == {
        "kernel": BASE / "a",
        "cpus": 2,
        "memory": 16 << 20,
        "boot_limit": 1.5,
        "seed": 7,
    }
    assert read_settings({**read, "kernel": Path("/b"), "cpus": 2}, BASE)["kernel"] == Path("/b")
    files = read_settings({"files": {"modules/a.ko": "a.ko", "b": b"b"}}, BASE)["files"]
    assert files == (("modules/a.ko", BASE / "a.ko"), ("b", b"b"))


def test_variables_in_paths_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELS", "/kernels")
    assert read_settings({"kernel": "$KERNELS/6.1"}, BASE)["kernel"] == Path("/kernels/6.1")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kernels": "a"}, "no setting 'kernels'"),
        ({"kernel": 5}, "kernel: 5 is no path"),
        ({"busybox": ""}, "busybox: '' is no path"),
        ({"cpus": 1.5}, "cpus: 1.5 is no whole number"),
        ({"cpus": True}, "cpus: True is no whole number"),
        ({"memory": "many"}, "memory: "),
        ({"seed": -1}, "seed: -1 is not between"),
        ({"boot_limit": "nan"}, "boot_limit: nan is no number of seconds"),
        ({"ready": ""}, "ready: an empty text"),
        ({"files": "a"}, "files: give a mapping"),
        ({"image_format": "elf"}, "image_format: there is no 'elf'"),
        ({"append": 5}, "append: 5 is no text"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_settings(given, BASE)
    assert "\n" not in str(caught.value)


def test_seeds() -> None:
    assert parse_seeds("0-3, 7,2") == (0, 1, 2, 3, 7)
    assert check_seeds([1, range(4, 6), [9]]) == (1, 4, 5, 9)


@pytest.mark.parametrize("text", ["", "x", "3-1", "1-", "0-999999999999", "0,99999999999999999999"])
def test_bad_seeds_as_text(text: str) -> None:
    with pytest.raises(InputError):
        parse_seeds(text)


@pytest.mark.parametrize("values", [(), ("0-3",), (-1,), (1.5,), (range(20_000),), (None,)])
def test_bad_seeds_of_a_marker(values: tuple[object, ...]) -> None:
    with pytest.raises(InputError):
        check_seeds(values)
