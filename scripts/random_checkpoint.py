#!/usr/bin/env python3
"""Writes a seeded random checkpoint in the Hugging Face layout, tokenizer included. Its answers are noise.

Example: random_checkpoint.py out/random-tiny --size tiny --seed 0
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from stts_runtime.cli.entry import run_app
from stts_tools.checkpoints.random import write_random_checkpoint
from stts_tools.checkpoints.sizes import SIZES, size_named

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def write(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    size: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}.")] = "tiny",
    seed: Annotated[int, typer.Option(help="Seed of the weights.")] = 0,
    plain: Annotated[bool, typer.Option("--plain", help="A plain Molmo2 without a scorer.")] = False,
) -> None:
    write_random_checkpoint(out, size_named(size), seed, None if plain else 0.5)
    print(out)


if __name__ == "__main__":
    sys.exit(run_app(app, "random_checkpoint.py"))
