"""`stts-export import`: a checkpoint of any layout becomes a clean Hugging Face folder."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_export.extras import check_export_extra
from stts_runtime.cli.options import JsonOption
from stts_runtime.cli.steps import steps
from stts_runtime.hub_id import as_typed
from stts_runtime.leftovers import own_files


class DtypeName(str, Enum):
    """What weights may be written in."""

    fp16 = "fp16"
    bf16 = "bf16"
    fp32 = "fp32"


def import_command(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            parser=as_typed,
            help="Checkpoint folder of any layout, or OWNER/NAME on the Hugging Face hub.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write.")],
    tokenizer: Annotated[
        Optional[Path],
        typer.Option(
            metavar="PATH",
            parser=as_typed,
            help="Folder with tokenizer.json, or OWNER/NAME on the hub.",
            show_default="CHECKPOINT",
        ),
    ] = None,
    adapter: Annotated[
        Optional[Path],
        typer.Option(metavar="FOLDER", help="Merge this LoRA into the weights; saved by PEFT, trained on CHECKPOINT."),
    ] = None,
    dtype: Annotated[
        Optional[DtypeName], typer.Option(help="Data type of the weights.", show_default="as stored")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is a checkpoint.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a checkpoint of any layout to a Hugging Face folder that transformers and `build` read."""
    check_export_extra("importing a checkpoint")
    import torch

    from stts_export.checkpoint.importing import import_checkpoint

    dtypes = {DtypeName.fp16: torch.float16, DtypeName.bf16: torch.bfloat16, DtypeName.fp32: torch.float32}
    with steps(quiet=as_json) as tell:
        notes = import_checkpoint(checkpoint, out, tokenizer, dtypes[dtype] if dtype else None, force, tell, adapter)
    size = sum(path.stat().st_size for path in own_files(out))
    if as_json:
        print(json.dumps({"out": str(out), "bytes": size, "notes": notes}))
    else:
        print(f"{out}: {size / 1e6:.1f} MB; build it with: stts-export build {out} --out BUNDLE")
