from pathlib import Path
from types import MappingProxyType

import pytest
from fake_machine import FakeMachine

from hypercall.cli import guest
from hypercall.cli.app import main
from hypercall.cli.optional_value import with_values

VALUES = MappingProxyType({"--check": ("warn", "strict", "off")})
TAKING = {"--check", "--append"}


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("--check", "--check=warn"),
        ("--check image", "--check=warn image"),
        ("image --check", "image --check=warn"),
        ("--check strict image", "--check=strict image"),
        ("image --check off", "image --check=off"),
        ("image --check=strict", "image --check=strict"),
        ("--check --check-stale image", "--check=warn --check-stale image"),
        ("--check warn strict", "--check=warn strict"),
        ("--check stricter", "--check=warn stricter"),
        ("--append --check image", "--append --check image"),
        ("--append=a --check image", "--append=a --check=warn image"),
        ("--check -- --check", "--check=warn -- --check"),
        ("image --append", "image --append"),
        ("", ""),
    ],
)
def test_a_value_that_was_left_out_is_put_in(words: str, given: str) -> None:
    assert with_values(words.split(), VALUES, TAKING) == given.split()


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        ("IMAGE", "warn"),
        ("--check IMAGE", "warn"),
        ("IMAGE --check", "warn"),
        ("--check strict IMAGE", "strict"),
        ("IMAGE --check strict", "strict"),
        ("--check=strict IMAGE", "strict"),
        ("IMAGE --check=off", "off"),
        ("--check --limit 1 IMAGE", "warn"),
        ("IMAGE --append --check", "warn"),
        ("", "off"),
        ("--check", "warn"),
        ("--check strict", "strict"),
    ],
)
def test_the_option_of_run(
    words: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(b"\xf4")
    made: list[guest.RunOptions] = []

    def make(options: guest.RunOptions) -> FakeMachine:
        made.append(options)
        return FakeMachine(options, "POWER_OFF")

    monkeypatch.setattr(guest, "make_machine", make)
    with pytest.raises(SystemExit) as left:
        main(["run", *words.replace("IMAGE", str(image)).split()])
    assert left.value.code == 0
    (options,) = made
    assert options.check == mode
    assert options.image == (image if "IMAGE" in words else None)
    assert options.append == ("--check" if "--append" in words else None)
