"""Arguments that several commands take."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_runtime.budget import AnsweringScope
from stts_runtime.cli.help import ANSWERS, ENGINE, OPERATION, VARIANT
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
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, one object per line.")]

BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", parser=as_typed, help="Folder made by `stts-export build`.")
]
MaybeBundleArgument = Annotated[
    Optional[Path],
    typer.Argument(
        metavar="BUNDLE", parser=as_typed, help="Folder made by `stts-export build`, unless --config names it."
    ),
]
SourcesArgument = Annotated[
    Optional[list[str]],
    typer.Argument(
        metavar="SOURCE", help="rtsp://, http://, /dev/video0, csi://0, gst:PIPELINE, file, loop:FILE or folder."
    ),
]

AskOption = Annotated[Optional[list[str]], typer.Option(metavar="QUESTION", help="Question to answer; repeatable.")]
ConfigOption = Annotated[
    Optional[Path],
    typer.Option(metavar="FILE", help="Settings in YAML or TOML. Options may add what the file leaves out."),
]

KeepOption = Annotated[
    Optional[float],
    typer.Option(
        help="Share of the groups kept between key frames, 0 to 1.", show_default="as trained", rich_help_panel=VARIANT
    ),
]
VariantKeepOption = Annotated[
    Optional[float],
    typer.Option(help="Share of the groups kept, 0 to 1.", show_default="as trained", rich_help_panel=VARIANT),
]
BudgetOption = Annotated[
    Optional[AnsweringScope],
    typer.Option(help="Budget of the variant, if the bundle has both.", rich_help_panel=VARIANT),
]
FramesOption = Annotated[
    Optional[int],
    typer.Option(
        min=1, help="Use exactly this many frames.", show_default="depends on the video", rich_help_panel=VARIANT
    ),
]

WhenOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="CONDITION",
        help="Answer only after a change: novelty, or novelty>0.2.",
        show_default="after every window",
        rich_help_panel=ANSWERS,
    ),
]
ShortestPauseOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="TIME",
        help="Answer at most this often: 2 or 2s, 1m, 1h.",
        show_default="no limit",
        rich_help_panel=ANSWERS,
    ),
]
ChoicesOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="A,B,...",
        help="Answer with one of these, such as yes,no, and give the probability of each.",
        rich_help_panel=ANSWERS,
    ),
]
SchemaOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE.json", help="Answer with JSON that conforms to this JSON schema.", rich_help_panel=ANSWERS
    ),
]
MaxTokensOption = Annotated[
    int, typer.Option(min=1, help="Length limit of an answer, in tokens.", rich_help_panel=ANSWERS)
]

EngineOption = Annotated[
    Optional[EngineName],
    typer.Option(
        help="What runs the model.",
        show_default="on a GPU, what the bundle was compiled or built for; otherwise cpu",
        rich_help_panel=ENGINE,
    ),
]
DeviceOption = Annotated[
    Optional[str],
    typer.Option(metavar="cuda:N", help="GPU to use.", show_default="cuda:0", rich_help_panel=ENGINE),
]
NvdecOption = Annotated[bool, typer.Option("--nvdec", help="Decode video on the GPU.", rich_help_panel=ENGINE)]

CheckOption = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Print what would run, then exit; exit code 2 if something is wrong.",
        rich_help_panel=OPERATION,
    ),
]
ConnectOption = Annotated[
    bool,
    typer.Option(
        "--connect",
        help="With --check: also wait for a picture from each source and reach each sink.",
        rich_help_panel=OPERATION,
    ),
]
