"""The program `stts-export`, of the build host: one file a command."""

from __future__ import annotations

import typer

from stts_export.cli.build import build_command
from stts_export.cli.calibrate import calibrate_command
from stts_export.cli.evaluate import evaluate_command
from stts_export.cli.importing import import_command
from stts_export.cli.train_scorer import train_scorer_command
from stts_export.cli.verify import verify_command
from stts_runtime.cli.options import VersionOption

app = typer.Typer(name="stts-export", add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def program(version: VersionOption = False) -> None:
    """Exports STTS checkpoints to bundles that `stts-runtime` runs, and says what they are worth."""


app.command("import")(import_command)
app.command("build")(build_command)
app.command("train-scorer")(train_scorer_command)
app.command("verify")(verify_command)
app.command("calibrate")(calibrate_command)
app.command("evaluate")(evaluate_command)
