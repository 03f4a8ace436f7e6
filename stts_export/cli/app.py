"""The program `stts-export`, of the build host: one file a command."""

from __future__ import annotations

from stts_export.cli.build import build_command
from stts_export.cli.calibrate import calibrate_command
from stts_export.cli.evaluate import evaluate_command
from stts_export.cli.importing import import_command
from stts_export.cli.train_scorer import train_scorer_command
from stts_export.cli.verify import verify_command
from stts_runtime.cli.help import add_command, program_app
from stts_runtime.cli.options import VersionOption

_CHECKPOINTS = "Checkpoints"
_BUNDLES = "Bundles"

app = program_app("stts-export")


@app.callback()
def program(version: VersionOption = False) -> None:
    """Exports STTS checkpoints to bundles for `stts-runtime`, and measures them.

    The usual order: import (if needed), build, verify; then on the device stts-runtime compile and run.
    """


add_command(
    app,
    "import",
    import_command,
    _CHECKPOINTS,
    "stts-export import CHECKPOINT --tokenizer MOLMO2 --out FOLDER",
)
add_command(
    app,
    "train-scorer",
    train_scorer_command,
    _CHECKPOINTS,
    "stts-export train-scorer MOLMO2 --videos RECORDINGS --out MOLMO2-PRUNED",
)
add_command(
    app,
    "build",
    build_command,
    _BUNDLES,
    "stts-export build CHECKPOINT --out BUNDLE --frames 16 --keep 1 --keep 0.5 --target cuda",
)
add_command(
    app,
    "verify",
    verify_command,
    _BUNDLES,
    "stts-export verify BUNDLE --checkpoint CHECKPOINT --frames-from clip.mp4",
)
add_command(
    app,
    "calibrate",
    calibrate_command,
    _BUNDLES,
    "stts-export calibrate BUNDLE --frames-from street.mp4 --out SMALLER",
)
add_command(
    app,
    "evaluate",
    evaluate_command,
    _BUNDLES,
    "stts-export evaluate BUNDLE --questions questions.jsonl --page page.html",
)
