"""`stts-export build`: a checkpoint becomes a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

import stts_export
from stts_export.options import Half, Target
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import FLAVOURS
from stts_runtime.bundle.manifest import Positions, ScorerName
from stts_runtime.cli.compile import ArchOption, Listener, split_architectures
from stts_runtime.cli.options import JsonOption
from stts_runtime.cli.steps import steps
from stts_runtime.compile.run import CompileRequest, check_compiler, compile_bundle
from stts_runtime.errors import UserError
from stts_runtime.hub_id import as_typed
from stts_runtime.text import counted

VARIANTS = "Variants"
TARGETS = "Targets"
PRUNING = "Pruning"


class BudgetName(str, Enum):
    """`stts_runtime.budget.Scope` as an enumeration, which is what Typer takes in a list."""

    clip = "clip"
    frame = "frame"
    given = "given"


class TargetName(str, Enum):
    """`stts_export.options.Target`, likewise."""

    cpu = "cpu"
    cpu_16bit = "cpu-16bit"
    cuda = "cuda"
    tensorrt = "tensorrt"
    tensorrt_rtx = "tensorrt-rtx"


CheckpointArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT",
        parser=as_typed,
        help="Hugging Face folder (`import` makes one), or OWNER/NAME on the Hugging Face hub.",
    ),
]
FramesOption = Annotated[
    Optional[list[int]], typer.Option(help="Frames per window; repeatable.", show_default="8", rich_help_panel=VARIANTS)
]
KeepOption = Annotated[
    Optional[list[float]],
    typer.Option(help="Keep ratio, 0 to 1; repeatable.", show_default="1 and 0.5", rich_help_panel=VARIANTS),
]
BudgetOption = Annotated[
    Optional[list[BudgetName]],
    typer.Option(
        help="How kept groups are spread; repeatable. frame also allows streams; given is a control for `evaluate`.",
        show_default="clip",
        rich_help_panel=VARIANTS,
    ),
]
VariantOption = Annotated[
    Optional[list[str]],
    typer.Option(
        help="A further variant by name, such as clip-t32-k0.25; repeatable.", metavar="NAME", rich_help_panel=VARIANTS
    ),
]
TargetOption = Annotated[
    Optional[list[TargetName]],
    typer.Option(
        help="Engine to make graphs for; repeatable. cpu-16bit is for large models.",
        show_default="cpu",
        rich_help_panel=TARGETS,
    ),
]
FramesFromOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="VIDEO", help="Search this video for values too large for fp16.", show_default="made-up frames"
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile", help="Also compile engines, as `stts-runtime compile` does on the device.", rich_help_panel=TARGETS
    ),
]
ContextOption = Annotated[
    Optional[int],
    typer.Option(min=1, max=1 << 20, help="Size of the language model's cache, in tokens.", show_default="as needed"),
]

ScorerOption = Annotated[
    Optional[ScorerName],
    typer.Option(
        help="change: prune by what changed between frames, without a trained scorer.",
        show_default="trained, if there is one",
        rich_help_panel=PRUNING,
    ),
]
PruneAtOption = Annotated[
    Optional[int],
    typer.Option(
        min=0,
        help="With --scorer change: the layer after which groups are dropped. Lower is faster, and less accurate if "
        "the checkpoint was not trained with pruning.",
        show_default="the checkpoint's, or the last but one",
        rich_help_panel=PRUNING,
    ),
]
BatchOption = Annotated[
    int,
    typer.Option(
        min=1,
        help="With --budget frame: streams processed at once, at most (1, 2, 4, 8, ...).",
        rich_help_panel=VARIANTS,
    ),
]


def build_command(
    checkpoint: CheckpointArgument,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Bundle to write.")],
    frames: FramesOption = None,
    keep: KeepOption = None,
    budget: BudgetOption = None,
    variant: VariantOption = None,
    target: TargetOption = None,
    precision: Annotated[
        Half, typer.Option(help="Data type of targets with 16 bits.", rich_help_panel=TARGETS)
    ] = "fp16",
    frames_from: FramesFromOption = None,
    compile_too: CompileOption = False,
    arch: ArchOption = None,
    max_context: ContextOption = None,
    positions: Annotated[
        Optional[Positions],
        typer.Option(
            help="Positions of kept tokens.", show_default="the checkpoint's, or original", rich_help_panel=PRUNING
        ),
    ] = None,
    scorer: ScorerOption = None,
    prune_at: PruneAtOption = None,
    batch: BatchOption = 8,
    force: Annotated[bool, typer.Option("--force", help="Replace the bundle if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a bundle from a checkpoint, with one vision variant per combination of frames, keep and budget."""
    targets: list[Target] = [name.value for name in target or [TargetName.cpu]]
    engines = engines_to_compile(out, targets, arch, compile_too)
    with steps(quiet=as_json) as tell:
        bundle = stts_export.build(
            checkpoint,
            out,
            frames=frames or 8,
            keep=keep or (1.0, 0.5),
            budget=[name.value for name in budget or [BudgetName.clip]],
            variant=variant or None,
            target=targets,
            precision=precision,
            frames_from=frames_from,
            max_context=max_context,
            positions=positions,
            scorer=scorer,
            prune_at=prune_at,
            batch=batch,
            force=force,
            on_step=tell,
        )
    for engine in engines:
        with Listener(quiet=as_json) as listener:
            compile_bundle(engine, listener)
    _show(bundle, as_json)


def _show(bundle: Bundle, as_json: bool) -> None:
    if as_json:
        print(bundle.manifest.model_dump_json())
        return
    size = sum(record.size_bytes for record in bundle.manifest.files.values()) / 1e6
    variants = len(bundle.manifest.variants)
    print(f"{bundle.folder}: {counted(variants, 'vision variant')} and the language model, {size:.1f} MB")


def engines_to_compile(
    out: Path, targets: Sequence[Target], arch: Optional[str], compile_too: bool
) -> list[CompileRequest]:
    """What `--compile` means for these targets; raises `UserError` before the build if it is impossible."""
    if not compile_too:
        if arch:
            raise UserError("--arch says what to compile for; add --compile, or give it to `stts-runtime compile`")
        return []
    architectures = split_architectures(arch)
    requests = [
        CompileRequest(out, flavour, architectures=architectures if flavour == "tensorrt-rtx" else ())
        for flavour in FLAVOURS
        if flavour in targets
    ]
    if not requests:
        raise UserError(f"--compile needs a target that is compiled: add --target {' or --target '.join(FLAVOURS)}")
    for request in requests:
        check_compiler(request)
    return requests
