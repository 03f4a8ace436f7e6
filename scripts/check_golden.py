#!/usr/bin/env python3
"""Runs golden files of the reference implementation through the modules and through exported ONNX graphs.

Prints one line a file and exits with 1 if a file misses the bar: identical kept set, scores and features within 1e-4
of their norm.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from stts_export.golden import Comparison, compare_modules, compare_onnx, read_golden
from stts_export.lowering import LOWERINGS
from stts_runtime.cli.entry import run_app

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def line_of(comparison: Comparison) -> str:
    worst = max(comparison.bias_layer_error, comparison.last_layer_error)
    swapped, scores = comparison.swapped_groups, comparison.score_error
    return f"{comparison.what} {swapped} swapped, scores {scores:.1e}, features {worst:.1e}"


@app.command(help=__doc__)
def check(files: Annotated[list[Path], typer.Argument(help="Golden .npz files.")]) -> None:
    failed = 0
    for path in files:
        golden = read_golden(path)
        comparisons = [compare_modules(golden), *(compare_onnx(golden, lowering) for lowering in LOWERINGS)]
        passes = all(comparison.passes for comparison in comparisons)
        failed += not passes
        print(f"{'pass' if passes else 'FAIL'}  {path}: {'; '.join(line_of(comparison) for comparison in comparisons)}")
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(run_app(app, "check_golden.py"))
