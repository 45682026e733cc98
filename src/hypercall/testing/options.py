"""What users say about guests: on the command line, in the ini file and by a marker.

One table has every setting with how its text is read, so that the three say the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypercall.errors import InputError

LARGEST_SEED = (1 << 64) - 1
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Setting:
    """One setting of a guest.

    Attributes:
        name: as the marker names it; ``--hypercall-NAME`` and ``hypercall_NAME`` elsewhere.
        read: turns a value into that of `GuestSettings`; it gets the value and the folder from
            which relative paths count, and raises InputError.
        metavar: what stands for the value in the help.
        help: one line.
    """

    name: str
    read: Callable[[Any, Path], Any]
    metavar: str
    help: str

    @property
    def option(self) -> str:
        """The name on the command line."""
        return f"--hypercall-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        """The name in the ini file, and of the option's value."""
        return f"hypercall_{self.name}"


def parse_seeds(text: str) -> tuple[int, ...]:
    """Turn ``0-3,7`` into seeds.

    Raises:
        InputError: it means nothing, or more seeds than 10,000.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            begin = int(first)
            end = int(last) if dash else begin
        except ValueError:
            raise InputError(f"{part.strip()!r} is no seed: give numbers such as 0-3,7") from None
        if end < begin or end - begin >= MOST_SEEDS:
            raise InputError(f"{part.strip()} is no range of at most {MOST_SEEDS} seeds")
        seeds += range(begin, end + 1)
    return check_seeds(seeds)


def check_seeds(values: Any) -> tuple[int, ...]:
    """Check the seeds of ``@pytest.mark.hypercall_seeds``: numbers, and collections of numbers.

    Raises:
        InputError: there is none, one is no seed, or there are more than 10,000.
    """
    seeds: list[int] = []
    for value in values:
        more = (value,) if isinstance(value, int) else value
        if isinstance(more, str) or not hasattr(more, "__iter__"):
            raise InputError(f"{value!r} is no seed: give numbers, or a range of them")
        for each in more:
            seeds.append(_seed(each, Path()))
            if len(seeds) > MOST_SEEDS:
                raise InputError(f"more than {MOST_SEEDS} seeds are too many: give fewer")
    if not seeds:
        raise InputError("there is no seed: give at least one number")
    return tuple(dict.fromkeys(seeds))


def read_settings(given: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Turn what somebody said into attributes of `GuestSettings`.

    Args:
        given: values by the names of settings.
        base: the folder from which relative paths count.

    Raises:
        InputError: there is no such setting, or a value makes no sense.
    """
    read: dict[str, Any] = {}
    for name, value in given.items():
        setting = SETTINGS.get(name)
        if setting is None:
            raise InputError(
                f"there is no setting {name!r}: there are {', '.join(sorted(SETTINGS))}"
            )
        try:
            read[name] = setting.read(value, base)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    return read


def _path(value: Any, base: Path) -> Path:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise InputError(f"{value!r} is no path")
    return base / Path(os.path.expandvars(os.fspath(value))).expanduser()


def _image(value: Any, base: Path) -> Path | bytes:
    return value if isinstance(value, bytes) else _path(value, base)


def _files(value: Any, base: Path) -> tuple[tuple[str, Path | bytes], ...]:
    if not isinstance(value, Mapping):
        raise InputError("give a mapping of paths in the disk to paths on the host, or to bytes")
    return tuple((str(path), _image(source, base)) for path, source in value.items())


def _text(value: Any, base: Path) -> str:
    if not isinstance(value, str):
        raise InputError(f"{value!r} is no text")
    return value


def _awaited(value: Any, base: Path) -> str:
    if not _text(value, base):
        raise InputError("an empty text is on the console from the beginning: give some")
    return str(value)


def _number(value: Any, base: Path) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise InputError(f"{value!r} is no whole number") from None


def _seed(value: Any, base: Path) -> int:
    number = _number(value, base)
    if not 0 <= number <= LARGEST_SEED:
        raise InputError(f"{number} is not between 0 and 2**64 - 1")
    return number


def _seconds(value: Any, base: Path) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{value!r} is no number of seconds") from None
    if not 0 < seconds <= 1e9:
        raise InputError(f"{value} is no number of seconds between 0 and 1e9")
    return seconds


def _size(value: Any, base: Path) -> int:
    if isinstance(value, str):
        # Not at the top: few tests say it.
        from hypercall.cli.inputs import parse_size

        return parse_size(value)
    return _number(value, base)


def _format(value: Any, base: Path) -> str:
    if value not in ("auto", "flat"):
        raise InputError(f"there is no {value!r}: give auto or flat")
    return str(value)


SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("kernel", _image, "FILE", "The image of the guests that tests boot."),
        Setting("initrd", _path, "FILE", "Their initial RAM disk; then say ready, too."),
        Setting(
            *("busybox", _path, "FILE"),
            "A static busybox, to build an initial RAM disk with a shell from.",
        ),
        Setting("files", _files, "", "More files of that disk; by the marker only."),
        Setting("append", _text, "TEXT", "The kernel's command line."),
        Setting("cpus", _number, "N", "Virtual processors, 1 by default."),
        Setting("memory", _size, "SIZE", "Guest memory, 256M by default."),
        Setting("seed", _seed, "N", "Varies the turns of the processors, 0 by default."),
        Setting("like", _text, "SET", "hyperv, kvm, xen or openvmm."),
        Setting("privileges", _text, "TEXT", "A profile, a privilege mask, or changes."),
        Setting("image_format", _format, "auto|flat", "flat takes any bytes for an image."),
        Setting("ready", _awaited, "TEXT", "A guest is up when its console has this text."),
        Setting("boot_limit", _seconds, "SECONDS", "Virtual time that a boot may take, 60."),
    )
}
"""Every setting by its name."""

MARKER_ONLY = frozenset({"files"})
"""What cannot be said on the command line and in the ini file."""
