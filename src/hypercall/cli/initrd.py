"""``hypercall initrd``: make an initial RAM disk of one static busybox."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hypercall.errors import InputError


def initrd(
    busybox: Annotated[
        Path, typer.Option(metavar="PATH", help="A statically linked busybox for the guest.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Write the RAM disk here.")
    ],
    init: Annotated[
        Path | None,
        typer.Option(metavar="SCRIPT", help="Run this shell script as /init instead."),
    ] = None,
    shell: Annotated[bool, typer.Option("--shell", help="Give a shell prompt instead.")] = False,
) -> None:
    """Make an initial RAM disk.

    Its /init mounts /proc and /sys, prints a line, runs a short workload of several processes
    that makes the processors interrupt each other and flush, and powers off.
    """
    from hypercall.cli.inputs import check_input_file, check_output_file, reason_of
    from hypercall.machine.initrd import build_initrd

    if init is not None and shell:
        raise InputError("--init and --shell: give one of them")
    inputs = [("busybox", busybox)]
    if init is not None:
        inputs.append(("init script", init))
    for what, path in inputs:
        check_input_file(path, what)
    check_output_file(output, "-o", inputs)
    script = None if init is None else init.read_bytes().decode("utf-8", "surrogateescape")
    data = build_initrd(busybox.read_bytes(), script, shell, name=str(busybox))
    try:
        output.write_bytes(data)
    except (OSError, ValueError) as error:
        raise InputError(f"-o: cannot write {output}: {reason_of(error)}") from None
