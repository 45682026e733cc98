"""Recordings as the commands make and repeat them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hypercall.cli.guest import GuestMachine, RunOptions
from hypercall.cli.inputs import reason_of
from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.machine.result import RunResult
    from hypercall.recording.recording import Guest


def record_run(
    machine: GuestMachine, options: RunOptions, append: str
) -> Callable[[RunResult | None], None]:
    """Record what comes to a machine from now on.

    Args:
        machine: a machine, loaded and not yet run.
        options: what it was made of, and where the recording goes.
        append: the command line that the guest got.

    Returns:
        A function that writes the recording, given how the run ended if it is known.

    Raises:
        InputError: an image cannot be read again.
    """
    # Not at the top: few runs need it.
    from hypercall.machine.machine import Machine
    from hypercall.recording.inputs import InputRecorder
    from hypercall.recording.recording import End, Recording

    assert isinstance(machine, Machine)
    path = options.record
    assert path is not None
    guest = _guest(options, append)
    recorder = InputRecorder(machine)

    def write(result: RunResult | None) -> None:
        end = None if result is None else End.of(result, machine)
        Recording(machine.configuration, guest, options.inject, recorder.inputs, end).save(path)

    return write


def _guest(options: RunOptions, append: str) -> Guest:
    from hypercall.recording.recording import TOUR_NAME, Guest

    if options.image is None:
        from hypercall.tour import tour_image

        return Guest(tour_image(), TOUR_NAME, image_format="flat")
    initrd = None if options.initrd is None else _contents(options.initrd, "initrd")
    image = _contents(options.image, "image")
    return Guest(image, options.image.name, initrd, append, options.entry)


def _contents(path: Path, what: str) -> bytes:
    if not path.is_file():
        raise InputError(f"cannot read the {what} {path} twice: copy it into a file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {reason_of(error)}") from None
