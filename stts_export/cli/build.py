"""`stts-export build`: a checkpoint becomes a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_export.extras import check_export_extra
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Positions
from stts_runtime.cli.compile import ArchOption, Listener, split_architectures
from stts_runtime.cli.options import JsonOption
from stts_runtime.cli.steps import steps
from stts_runtime.compile.run import CompileRequest, check_compiler, compile_bundle
from stts_runtime.errors import UserError
from stts_runtime.tensorrt import FLAVOURS
from stts_runtime.video import check_source


class BudgetName(str, Enum):
    """`stts_runtime.budget.Scope` as an enumeration, which is what Typer takes in a list."""

    clip = "clip"
    frame = "frame"
    given = "given"


class TargetName(str, Enum):
    """`stts_export.lowering.TARGETS`, which is not imported here: it needs torch."""

    cpu = "cpu"
    cpu_16bit = "cpu-16bit"
    cuda = "cuda"
    tensorrt = "tensorrt"
    tensorrt_rtx = "tensorrt-rtx"


class HalfName(str, Enum):
    """`stts_export.precision.Half`."""

    fp16 = "fp16"
    bf16 = "bf16"


def build_command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Hugging Face folder; `import` makes one.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    frames: Annotated[Optional[list[int]], typer.Option(help="Frames of a window, repeatable. Default: 8.")] = None,
    keep: Annotated[Optional[list[float]], typer.Option(help="Keep ratio, repeatable. Default: 1 and 0.5.")] = None,
    budget: Annotated[
        Optional[list[BudgetName]],
        typer.Option(help="Budget, repeatable; `given` is a control for `evaluate`. Default: clip."),
    ] = None,
    target: Annotated[
        Optional[list[TargetName]],
        typer.Option(help="What the graphs are made for, repeatable. Default: cpu; cpu-16bit for large models."),
    ] = None,
    precision: Annotated[HalfName, typer.Option(help="Of targets in 16 bits.")] = HalfName.fp16,
    frames_from: Annotated[
        Optional[Path], typer.Option(help="Video to look for values on that fp16 cannot hold. Default: made-up frames.")
    ] = None,
    compile_too: Annotated[
        bool, typer.Option("--compile", help="Compile engines too, as `stts-runtime compile` does on the device.")
    ] = False,
    arch: ArchOption = None,
    max_context: Annotated[
        Optional[int], typer.Option(min=1, max=1 << 20, help="Slots of the cache. Default: as needed.")
    ] = None,
    positions: Annotated[Optional[Positions], typer.Option(help="Overrides the checkpoint's choice.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Builds a bundle: every frames x keep x budget is one vision variant over the same weights."""
    check_export_extra("building a bundle")
    targets = [name.value for name in target or [TargetName.cpu]]
    _check_options(targets, precision, frames_from, compile_too, arch)
    engines = engines_to_compile(out, targets, split_architectures(arch)) if compile_too else []
    from stts_export.building import BuildRequest, build_bundle

    request = BuildRequest(
        checkpoint=checkpoint,
        out=out,
        frames=frames or [8],
        keeps=keep or [1.0, 0.5],
        budgets=[name.value for name in budget or [BudgetName.clip]],
        targets=targets,
        half=precision.value,
        frames_from=frames_from,
        max_context=max_context,
        positions=positions,
        replace=force,
    )
    with steps(quiet=as_json) as tell:
        bundle = build_bundle(request, tell)
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


def _check_options(
    targets: Sequence[str], precision: HalfName, frames_from: Optional[Path], compile_too: bool, arch: Optional[str]
) -> None:
    """Raises `UserError` for an option that would do nothing, and for a video that is not there."""
    if arch and not compile_too:
        raise UserError("--arch says what to compile for; add --compile, or give it to `stts-runtime compile`")
    if set(targets) <= {"cpu"} and precision != HalfName.fp16:
        raise UserError("--precision is for targets with 16-bit weights, and the target cpu is in float32")
    if set(targets) <= {"cpu", "cpu-16bit"} and frames_from:
        raise UserError("--frames-from looks for what 16 bits cannot hold, and these targets compute in float32")
    if frames_from is not None:
        check_source(str(frames_from))


def engines_to_compile(out: Path, targets: Sequence[str], architectures: Sequence[str]) -> list[CompileRequest]:
    """What `--compile` means for these targets; raises `UserError` before the build if it is impossible."""
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
