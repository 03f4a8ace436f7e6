"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_runtime.engines import EngineName

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder made by `stts-export build`.")]
MaybeBundleArgument = Annotated[
    Optional[Path], typer.Argument(metavar="[BUNDLE]", help="Folder made by `stts-export build`, unless FILE names it.")
]
SourcesArgument = Annotated[
    Optional[list[str]],
    typer.Argument(
        metavar="[SOURCE]...", help="rtsp://, http://, /dev/video0, csi://0, gst:PIPELINE, file, loop:FILE, folder."
    ),
]
WhenOption = Annotated[
    Optional[str], typer.Option(metavar="CONDITION", help="novelty>0.2, say. Default: about every window.")
]
ShortestPauseOption = Annotated[
    Optional[str], typer.Option(metavar="TIME", help="Between two answers of a stream: 2, 2s, 1m.")
]
EngineOption = Annotated[
    Optional[EngineName],
    typer.Option(help="What runs the model. Default: on a GPU what the bundle was compiled or built for, else cpu."),
]
