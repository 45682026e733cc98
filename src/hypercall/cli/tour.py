"""``hypercall tour``: a bundled guest makes every call, and says what came of each."""

from __future__ import annotations

from typing import Annotated

import typer

from hypercall.cli import options
from hypercall.cli.run import run


def tour(
    context: typer.Context,
    like: options.Like = "hyperv",
    privileges: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE|MASK|+NAME,-NAME",
            help="What the partition may do and has, as for hypercall run; all by default.",
        ),
    ] = None,
    seed: options.Seed = 0,
    shuffle_vp_index: options.ShuffleVpIndex = None,
    trace: options.Trace = None,
) -> None:
    """Run the bundled guest: it makes all calls, and looks for what each must do.

    It is what hypercall run does without an image. Exit codes: 0 every call did what it must, 1 at
    least one did not, otherwise as hypercall run.
    """
    run(
        context,
        like=like,
        privileges=privileges,
        seed=seed,
        shuffle_vp_index=shuffle_vp_index,
        trace=trace,
    )
