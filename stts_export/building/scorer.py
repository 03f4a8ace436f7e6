"""What scores groups in a bundle: the checkpoint's trained scorer, or one without weights in its place."""

from __future__ import annotations

from typing import Any

from stts_export.building.request import BuildRequest
from stts_export.checkpoint import Checkpoint
from stts_export.errors import CheckpointError
from stts_export.modules.config import ModelConfig, ScorerConfig
from stts_runtime.bundle.manifest import Novelty, Scorer
from stts_runtime.errors import UserError

_NOVELTY = {True: Novelty(news=0.2, jump=0.5), False: Novelty(news=0.15, jump=0.3)}
"""By whether the scorer is trained. Of 486 that appear in 200 synthetic scenes nobody is missed with `news`. Without a
trained scorer 0.2 misses the first four at an early layer, and nobody at the last but one; above 0.3 lie 27 to 29 of
100 looks, and above 0.5 hardly any (benchmarks/cpu/live.json, live-change.json, live-change-late.json).
"""


def with_scorer(request: BuildRequest, checkpoint: Checkpoint) -> tuple[Checkpoint, list[str]]:
    """The checkpoint with the scorer that was asked for, and notes. Raises `UserError` if it cannot have it."""
    is_trained = isinstance(checkpoint.config.scorer, ScorerConfig)
    if request.scorer != "change":
        if request.prune_at is not None:
            raise UserError(
                "--prune-at goes with --scorer change: a trained scorer reads the layer that it was trained on"
            )
        if request.scorer == "trained" and not is_trained:
            raise CheckpointError(f"{request.checkpoint} has no trained scorer: pass --scorer change, which needs none")
        return checkpoint, []
    notes = (
        [f"--scorer change: the scorer that {request.checkpoint} was trained with is left out"] if is_trained else []
    )
    if request.prune_at is None and checkpoint.hf_config.stts is None:
        notes.append(
            f"--prune-at {checkpoint.config.vision.last_prune_at}: the checkpoint was not trained with pruning, so its "
            "vision tower keeps all patches and the language model alone gets fewer tokens; a lower layer is quicker "
            "and answers worse"
        )
    return checkpoint.scored_by_change(_layer(request, checkpoint)), notes


def _layer(request: BuildRequest, checkpoint: Checkpoint) -> int:
    stts = checkpoint.hf_config.stts
    if request.prune_at is not None:
        return request.prune_at
    return checkpoint.config.vision.last_prune_at if stts is None else stts.prune_at


def scorer_record(model: ModelConfig) -> Scorer:
    """What a manifest says of the scorer, which the model must have."""
    assert model.scorer is not None
    trained = isinstance(model.scorer, ScorerConfig)
    return Scorer(kind="trained" if trained else "change", trained=trained, prune_at=model.scorer.prune_at)


def features_record(model: ModelConfig) -> dict[str, Any]:
    """What it says of that scorer's features, which frames of a stream hand on: the fields of `Live` about them."""
    assert model.scorer is not None
    return {
        "pooled_width": model.scorer.feature_width(model.vision),
        "pooled_precision": model.scorer.feature_precision,
        "novelty": _NOVELTY[isinstance(model.scorer, ScorerConfig)],
    }
