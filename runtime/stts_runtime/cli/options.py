"""Arguments that several commands take."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_runtime.engines import EngineName
from stts_runtime.hub_id import as_typed


def _show_version(context: typer.Context, wanted: bool) -> None:
    """Names the program; both come with one package and have its version."""
    if wanted:
        print(f"{context.info_name} {version('stts-export')}")
        raise typer.Exit


# Typer reads annotations at run time, and Python 3.10 is supported: hence Optional.
VersionOption = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the program's name and version.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, one object a line.")]

DeviceOption = Annotated[
    Optional[str], typer.Option(metavar="cuda:N", help="GPU that engines on a GPU take. Default: cuda:0.")
]
BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", parser=as_typed, help="Folder made by `stts-export build`.")
]
MaybeBundleArgument = Annotated[
    Optional[Path],
    typer.Argument(metavar="BUNDLE", parser=as_typed, help="Folder made by `stts-export build`, unless FILE names it."),
]
ConfigOption = Annotated[
    Optional[Path], typer.Option(metavar="FILE", help="YAML or TOML. Options may stand beside it, for what it lacks.")
]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Say what would run, and end: exit code 2 if something is wrong.")
]
ConnectOption = Annotated[
    bool, typer.Option("--connect", help="With --check: wait for a picture of each source, reach each sink.")
]
AskOption = Annotated[Optional[list[str]], typer.Option(metavar="QUESTION", help="Question to answer, repeatable.")]
KeepOption = Annotated[Optional[float], typer.Option(help="Keep ratio between key frames. Default: the trained one.")]
SourcesArgument = Annotated[
    Optional[list[str]],
    typer.Argument(
        metavar="SOURCE", help="rtsp://, http://, /dev/video0, csi://0, gst:PIPELINE, file, loop:FILE, folder."
    ),
]
WhenOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="CONDITION",
        help="Answer after a change: novelty, or novelty>0.2. Default: after every window.",
    ),
]
ShortestPauseOption = Annotated[
    Optional[str], typer.Option(metavar="TIME", help="Answer at most this often: 2, 2s, 1m. Default: no limit.")
]
ChoicesOption = Annotated[
    Optional[str],
    typer.Option(metavar="A,B,...", help="Answer with one of these, and with how likely each is: yes,no."),
]
SchemaOption = Annotated[
    Optional[Path], typer.Option(metavar="FILE.json", help="Answer with JSON that this JSON schema allows.")
]
NvdecOption = Annotated[bool, typer.Option("--nvdec", help="Decode video on the GPU.")]
EngineOption = Annotated[
    Optional[EngineName],
    typer.Option(help="What runs the model. Default: on a GPU what the bundle was compiled or built for, else cpu."),
]
