"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_runtime.engines import EngineName

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder made by `stts-export build`.")]
EngineOption = Annotated[
    Optional[EngineName],
    typer.Option(help="What runs the model. Default: on a GPU what the bundle was compiled or built for, else cpu."),
]
