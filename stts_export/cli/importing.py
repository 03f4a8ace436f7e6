"""`stts-export import`: a checkpoint of any layout becomes a clean Hugging Face folder."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_export.cli.extra import check_export_extra


class DtypeName(str, Enum):
    """What weights may be written in."""

    fp16 = "fp16"
    bf16 = "bf16"
    fp32 = "fp32"


def import_command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Hugging Face folder, or one with config.yaml.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    tokenizer: Annotated[
        Optional[Path], typer.Option(help="Folder with tokenizer.json and its settings. Default: CHECKPOINT.")
    ] = None,
    dtype: Annotated[Optional[DtypeName], typer.Option(help="Of the weights. Default: as they are stored.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is a checkpoint.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Writes a checkpoint of any layout as a Hugging Face folder that transformers and `build` read."""
    from rich.console import Console

    check_export_extra("importing a checkpoint")
    import torch

    from stts_export.checkpoint.importing import import_checkpoint
    from stts_runtime.cli.text import printable

    dtypes = {DtypeName.fp16: torch.float16, DtypeName.bf16: torch.bfloat16, DtypeName.fp32: torch.float32}
    notes: list[str] = []
    with Console(stderr=True, highlight=False).status("reading") as status:

        def report(note: str) -> None:
            notes.append(note)
            if not as_json:
                print(printable(f"note: {note}"), flush=True)

        def progress(done: int, of: int) -> None:
            status.update(f"writing weight {done} of {of}")

        import_checkpoint(checkpoint, out, tokenizer, dtypes[dtype] if dtype else None, force, report, progress)
    size = sum(path.stat().st_size for path in out.iterdir())
    if as_json:
        print(json.dumps({"out": str(out), "bytes": size, "notes": notes}))
    else:
        print(f"{out}: {size / 1e6:.1f} MB; build it with: stts-export build {out} --out BUNDLE")
