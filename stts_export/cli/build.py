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
        help="Hugging Face folder; `import` makes one. Or a hub's OWNER/NAME, OWNER/NAME@REVISION.",
    ),
]
FramesOption = Annotated[Optional[list[int]], typer.Option(help="Frames of a window, repeatable. Default: 8.")]
KeepOption = Annotated[Optional[list[float]], typer.Option(help="Keep ratio, repeatable. Default: 1 and 0.5.")]
BudgetOption = Annotated[
    Optional[list[BudgetName]],
    typer.Option(help="Budget, repeatable; `given` is a control for `evaluate`. Default: clip."),
]
VariantOption = Annotated[
    Optional[list[str]],
    typer.Option(help="Another variant by name, such as clip-t32-k0.25, repeatable.", metavar="<name>"),
]
TargetOption = Annotated[
    Optional[list[TargetName]],
    typer.Option(help="What the graphs are made for, repeatable. Default: cpu; cpu-16bit for large models."),
]
FramesFromOption = Annotated[
    Optional[Path], typer.Option(help="Video to look for values on that fp16 cannot hold. Default: made-up frames.")
]
CompileOption = Annotated[
    bool, typer.Option("--compile", help="Compile engines too, as `stts-runtime compile` does on the device.")
]
ContextOption = Annotated[
    Optional[int], typer.Option(min=1, max=1 << 20, help="Slots of the cache. Default: as needed.")
]

ScorerOption = Annotated[
    Optional[ScorerName],
    typer.Option(help="change: prune by what changed, without a trained scorer. Default: the trained one, if any."),
]
PruneAtOption = Annotated[
    Optional[int],
    typer.Option(
        min=0,
        help="Layer that --scorer change reads: lower is quicker, and worse where pruning was not trained. "
        "Default: the checkpoint's, else the last but one.",
    ),
]
BatchOption = Annotated[
    int,
    typer.Option(min=1, help="With --budget frame: the most streams that go through at once (1, 2, 4, 8, ...)."),
]


def build_command(
    checkpoint: CheckpointArgument,
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    frames: FramesOption = None,
    keep: KeepOption = None,
    budget: BudgetOption = None,
    variant: VariantOption = None,
    target: TargetOption = None,
    precision: Annotated[Half, typer.Option(help="Of targets in 16 bits.")] = "fp16",
    frames_from: FramesFromOption = None,
    compile_too: CompileOption = False,
    arch: ArchOption = None,
    max_context: ContextOption = None,
    positions: Annotated[Optional[Positions], typer.Option(help="Overrides the checkpoint's choice.")] = None,
    scorer: ScorerOption = None,
    prune_at: PruneAtOption = None,
    batch: BatchOption = 8,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Builds a bundle: every frames x keep x budget is one vision variant over the same weights."""
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
    print(f"{bundle.folder}: {variants} vision variants and the language model, {size:.1f} MB")


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
