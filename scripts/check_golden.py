#!/usr/bin/env python3
"""Runs golden files of the reference implementation through the modules and through exported ONNX graphs.

Prints one line a file and exits with 1 if a file misses the bar: identical kept set, scores and features within 1e-4
of their norm.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_export.lowering import LOWERINGS
from stts_runtime.bundle.publish import published
from stts_runtime.cli.entry import run_app
from stts_runtime.errors import UserError
from stts_tools.golden import (
    Comparison,
    Golden,
    compare_modules,
    compare_onnx,
    compare_outputs,
    read_golden,
    write_graph,
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def line_of(comparison: Comparison) -> str:
    worst = max(comparison.bias_layer_error, comparison.last_layer_error)
    swapped, scores = comparison.swapped_groups, comparison.score_error
    return f"{comparison.what} {swapped} swapped, scores {scores:.1e}, features {worst:.1e}"


@app.command(help=__doc__)
def check(
    files: Annotated[list[Path], typer.Argument(help="Golden .npz files.")],
    write_graphs: Annotated[
        Optional[Path], typer.Option(help="Only write graphs here, for scripts/run_on_tensorrt.py on another machine.")
    ] = None,
    outputs: Annotated[Optional[Path], typer.Option(help="Check what that made of them, in this folder.")] = None,
) -> None:
    if write_graphs is not None and outputs is not None:
        raise UserError("--write-graphs comes before --outputs, not with it")
    goldens = [read_golden(path) for path in files]
    if write_graphs is not None:
        with published(write_graphs) as folder:
            for golden in goldens:
                write_graph(golden, "tensorrt-8", folder)
        return
    failed = 0
    for golden in goldens:
        comparisons = [compare_outputs(golden, outputs)] if outputs else here(golden)
        passes = all(comparison.passes for comparison in comparisons)
        failed += not passes
        print(f"{'pass' if passes else 'FAIL'}  {golden.path}: {'; '.join(line_of(one) for one in comparisons)}")
    if failed:
        raise typer.Exit(1)


def here(golden: Golden) -> list[Comparison]:
    return [compare_modules(golden), *(compare_onnx(golden, lowering) for lowering in LOWERINGS)]


if __name__ == "__main__":
    sys.exit(run_app(app, "check_golden.py"))
