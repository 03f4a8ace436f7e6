"""The front door for Python: `stts_export.build` and `stts_export.verify`. The command line is a layer on them.

Their arguments are the options of the command line under the same names. Here they are checked and become a request;
what is made of it is in `building` and `verifying`, which import torch, and are imported when they are called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from stts_export.extras import check_export_extra
from stts_export.options import Half, Target, as_keep_ratio, as_known, as_layer, as_list, as_video, check_of_use
from stts_runtime.arguments import as_count, as_path, as_questions
from stts_runtime.budget import Scope
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Positions, ScorerName
from stts_runtime.hub_id import as_typed
from stts_runtime.tell import tell_nobody

if TYPE_CHECKING:
    from stts_export.verifying import VerifyReport

PathLike = str | os.PathLike[str]


def build(
    checkpoint: PathLike,
    out: PathLike,
    *,
    frames: int | Iterable[int] = 8,
    keep: float | Iterable[float] = (1.0, 0.5),
    budget: Scope | Iterable[Scope] = "clip",
    variant: str | Iterable[str] | None = None,
    target: Target | Iterable[Target] = "cpu",
    precision: Half = "fp16",
    frames_from: PathLike | None = None,
    max_context: int | None = None,
    positions: Positions | None = None,
    scorer: ScorerName | None = None,
    prune_at: int | None = None,
    batch: int = 8,
    force: bool = False,
    on_step: Callable[[str], None] = tell_nobody,
) -> Bundle:
    """Builds a bundle: every frames x keep x budget is one vision variant over the same weights.

    `variant` names more of them, such as `clip-t32-k0.25`. `scorer` "change" prunes without a trained scorer, by what
    changed at the output of layer `prune_at` (None: the checkpoint's, else the last but one); None takes the
    trained one where there is one. With the budget `frame` as many as `batch` streams go through the engines of `cpu`
    and `cuda` at once. `on_step` is called with a line for each step and each note.

    Raises `UserError` for what the caller can put right, before any weight is read where that is possible, and
    `ExportError` if a graph is not right; nothing is left behind in either case. Raises `MissingExtraError` where
    torch is not installed.
    """
    check_export_extra("building a bundle")
    targets = [as_known("target", one, get_args(Target)) for one in as_list("target", target)]
    half = as_known("precision", precision, get_args(Half))
    check_of_use(targets, half, frames_from)
    from stts_export.building import BuildRequest, build_bundle

    request = BuildRequest(
        checkpoint=as_typed(as_path("a checkpoint", checkpoint)),
        out=Path(as_path("out", out)),
        frames=[as_count("frames", one) for one in as_list("frames", frames)],
        keeps=[as_keep_ratio(one) for one in as_list("keep", keep)],
        budgets=[as_known("budget", one, get_args(Scope)) for one in as_list("budget", budget)],
        variants=[] if variant is None else [str(one) for one in as_list("variant", variant)],
        targets=targets,
        half=half,
        frames_from=as_video(frames_from),
        max_context=None if max_context is None else as_count("max_context", max_context),
        positions=None if positions is None else as_known("positions", positions, get_args(Positions)),
        scorer=None if scorer is None else as_known("scorer", scorer, get_args(ScorerName)),
        prune_at=None if prune_at is None else as_layer("prune_at", prune_at),
        batch=as_count("batch", batch),
        replace=force,
    )
    return build_bundle(request, on_step)


def verify(
    bundle: PathLike,
    checkpoint: PathLike,
    *,
    frames_from: PathLike | None = None,
    variant: str | Iterable[str] | None = None,
    ask: str = "What happens in this video?",
    max_tokens: int = 16,
    write_reference: PathLike | None = None,
    on_step: Callable[[str], None] = tell_nobody,
) -> VerifyReport:
    """Compares a bundle with its checkpoint, stage by stage; `.missed` of the report lists the bars that are not kept.

    The report is stored in the bundle. `variant` None: all. `on_step` is called with a line for each step. Raises
    `UserError` if bundle and checkpoint are of different models, or the video will not do, and `MissingExtraError`
    where torch is not installed.
    """
    check_export_extra("verifying a bundle")
    (question,) = as_questions([ask])
    from stts_export.verifying import VerifyRequest, verify_bundle

    request = VerifyRequest(
        bundle=Path(as_path("a bundle", bundle)),
        checkpoint=as_typed(as_path("a checkpoint", checkpoint)),
        frames_from=as_video(frames_from),
        variants=[] if variant is None else as_list("variant", variant),
        question=question,
        max_tokens=as_count("max_tokens", max_tokens),
        write_reference=None if write_reference is None else Path(as_path("write_reference", write_reference)),
    )
    return verify_bundle(request, on_step)
