"""The program `stts-export`: commands of the build host."""

from __future__ import annotations

import typer

from stts_export.cli.build import build_command
from stts_export.cli.calibrate import calibrate_command
from stts_export.cli.evaluate import evaluate_command
from stts_export.cli.importing import import_command
from stts_export.cli.verify import verify_command

app = typer.Typer(
    name="stts-export",
    help="Exports STTS checkpoints to bundles that `stts-runtime` runs.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("build")(build_command)
app.command("import")(import_command)
app.command("verify")(verify_command)
app.command("evaluate")(evaluate_command)
app.command("calibrate")(calibrate_command)
