#!/usr/bin/env python3
"""Writes synthetic clips and ten questions about them, as five benchmarks publish theirs, for `evaluate --questions`.

Example: synthetic_questions.py out/questions
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from stts_runtime.cli.entry import run_app
from stts_runtime.errors import UserError
from stts_runtime.places import check_makeable, is_there
from stts_tools.question_files import write_question_files

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def write(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    size: Annotated[int, typer.Option(min=84, max=2016, help="Pixels along a side.")] = 252,
) -> None:
    check_makeable(out)
    if is_there(out):
        raise UserError(f"{out} is there already; name another folder")
    for layout, path in write_question_files(out, size).items():
        print(f"{layout}: {path}")


if __name__ == "__main__":
    sys.exit(run_app(app, "synthetic_questions.py"))
