"""What users type on the command line, turned into values or into one clear line."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from hypercall.errors import InputError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_SMALLEST_MEMORY = 1 << 20
_PAGE = 4096
_BEGINNING = 64


def parse_size(text: str) -> int:
    """Turn ``256M``, ``1G``, ``64KiB``, ``64kb`` or a plain number of bytes into bytes.

    All units are powers of 1024.

    Raises:
        InputError: the text is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    # A size of more digits than any memory has is a slip; int() would also refuse thousands.
    if match is None or len(match[1]) > 20:
        raise InputError(f"{text!r} is not a size: write 256M, 1G, 64KiB or a number of bytes")
    return int(match[1]) * _UNITS[match[2].upper()]


def parse_memory(text: str) -> int:
    """Turn ``--memory`` into bytes.

    Raises:
        InputError: it is no size, less than 1 MiB, or not a multiple of a page.
    """
    try:
        size = parse_size(text)
    except InputError as error:
        raise InputError(f"--memory: {error}") from None
    if size < _SMALLEST_MEMORY:
        raise InputError(f"--memory: {text} is too little: a guest needs at least 1M")
    if size % _PAGE:
        raise InputError(f"--memory: {text} is not a multiple of the 4096 bytes of a page")
    return size


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Make sure that an option has one of a few values.

    Raises:
        InputError: it has another.
    """
    if value not in choices:
        raise InputError(
            f"{option}: there is no {value!r}: give {', '.join(choices[:-1])} or {choices[-1]}"
        )


def check_input_file(path: Path, what: str) -> None:
    """Make sure that a file can be read, before anything else is done.

    Args:
        path: the file; a pipe will do, a directory or device will not.
        what: what the file is for, for the message.

    Raises:
        InputError: the file is missing, unreadable or not a file.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb"):
                return
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the {what} {path}: {reason_of(error)}") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"cannot read the {what} {path}: it is a directory")
    if not stat.S_ISFIFO(mode):
        raise InputError(f"cannot read the {what} {path}: it is not a file")


def begins_like_json(path: Path) -> bool:
    """Tell whether a file begins as a trace of JSON lines does.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            # Not further than it must: a pipe's bytes are gone when they were read.
            if not stream.seekable():
                return False
            return stream.read(_BEGINNING).lstrip().startswith(b"{")
    except OSError as error:
        raise InputError(f"cannot read the trace {path}: {reason_of(error)}") from None


def check_output_file(path: Path, option: str, others: list[tuple[str, Path]]) -> None:
    """Make sure that writing a file will not destroy an input or mix with another output.

    Args:
        path: the file about to be written.
        option: the option that named it, for the message.
        others: names and paths of the files that must be other files.

    Raises:
        InputError: it is one of the others.
    """
    for name, other in others:
        try:
            same = path.samefile(other)
        except (OSError, ValueError):
            same = os.path.abspath(path) == os.path.abspath(other)
        # Several outputs may go to one terminal or to /dev/null.
        if same and not path.is_char_device():
            raise InputError(f"{option}: {path} is also the {name}: choose another file")


def check_new_file(path: Path, option: str) -> None:
    """Make sure that a file can be put at a place when a run is over.

    Args:
        path: the place.
        option: the option that named it, for the message.

    Raises:
        InputError: it cannot.
    """
    place = path.parent
    reason = None
    if not place.is_dir():
        reason = f"there is no directory {place}"
    elif path.exists() and not path.is_file():
        reason = "it is not a file"
    elif not os.access(place, os.W_OK):
        reason = "permission denied"
    if reason is not None:
        raise InputError(f"{option}: cannot write {path}: {reason}")


def reason_of(error: Exception) -> str:
    """Return what went wrong in an operating system call, without its number and file name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error)
