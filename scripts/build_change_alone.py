#!/usr/bin/env python3
"""A bundle scored by change since the frame before and by nothing else: what the spatial part of `--scorer change` is
worth is the difference to it. A measurement and no product: its manifest says no more than `change`.

Example: build_change_alone.py PLAIN --out out/scorers/change-alone --frames 16 --keep 0.5
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from stts_export.building import BuildRequest, build_bundle
from stts_export.cli.build import CheckpointArgument
from stts_export.modules import change
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.steps import steps

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def build(
    checkpoint: CheckpointArgument,
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    frames: Annotated[int, typer.Option(min=1)] = 16,
    keep: Annotated[list[float], typer.Option(help="Keep ratio below 1, repeatable.")] = [0.5],  # noqa: B006 - Typer copies it
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    change.UNLIKE = 0.0
    request = BuildRequest(checkpoint, out, [frames], keep, ["clip"], scorer="change", replace=force)
    with steps() as tell:
        build_bundle(request, tell)


if __name__ == "__main__":
    sys.exit(run_app(app, "build_change_alone.py"))
