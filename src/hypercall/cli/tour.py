"""``hypercall tour``: a bundled guest makes every call, and says what came of each."""

from __future__ import annotations

from typing import Annotated

import typer

from hypercall.cli.run import run


def tour(
    like: Annotated[
        str,
        typer.Option(
            metavar="SET",
            help="Whose reading of the specification: hyperv, kvm, xen or openvmm.",
        ),
    ] = "hyperv",
    privileges: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE|MASK|+NAME,-NAME",
            help="What the partition may do and has, as for hypercall run; all by default.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(metavar="N", help="Varies the turns of the processors."),
    ] = 0,
    shuffle_vp_index: Annotated[
        int | None,
        typer.Option(metavar="N", help="Seed by which VP indexes and APIC ids are made to differ."),
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Write every hypercall here; - is the standard error."),
    ] = None,
) -> None:
    """Run the bundled guest: it makes all calls, and looks for what each must do.

    It is what hypercall run does without an image. Exit codes: 0 every call did what it must, 1 at
    least one did not, otherwise as hypercall run.
    """
    run(
        like=like,
        privileges=privileges,
        seed=seed,
        shuffle_vp_index=shuffle_vp_index,
        trace=trace,
    )
