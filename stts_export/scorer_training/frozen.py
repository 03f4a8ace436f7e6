"""A checkpoint's modules with a scorer that is new: weights frozen and, on a GPU, matrices in bfloat16.

Norms of the residual stream, biases and embeddings are float32 there and products run in bfloat16 by autocast, so that
stream is float32 as in `stts_export.training`. The scorer is float32 throughout.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from stts_export.checkpoint import Checkpoint
from stts_export.modules.config import ScorerConfig
from stts_export.modules.language import Language
from stts_export.modules.scorer import TokenScorer
from stts_export.modules.vision import Vision
from stts_export.molmo2.names import SCORER
from stts_export.training.precision import keep_in_float32, narrow_norms
from stts_runtime.tell import TellStep

_WIDE = ("positional_embedding", "embed_tokens")
_HEAD_NORMS = ("q_norm", "k_norm")
"""They norm what products gave, in one go where both are of one type."""


def without_scorer(checkpoint: Checkpoint) -> Checkpoint:
    """The same as a plain Molmo2; a stored scorer is passed over."""
    return replace(checkpoint, config=replace(checkpoint.config, scorer=None))


def is_narrow(name: str, dimensions: int) -> bool:
    """Whether a frozen weight is held in bfloat16 on a GPU."""
    if dimensions == 1:
        return any(part in name for part in _HEAD_NORMS)
    return not any(part in name for part in _WIDE)


def load_frozen(
    checkpoint: Checkpoint, scorer: ScorerConfig, seed: int, device: torch.device, tell: TellStep
) -> tuple[Vision, Language]:
    """Modules on the device, of which the scorer alone wants gradients; its first weights depend on the seed.

    Raises `CheckpointError` unless the weights fit the configuration.
    """
    plain = without_scorer(checkpoint).lazy()
    for note in plain.notes:
        tell(f"note: {note}")
    with torch.device("meta"):
        vision = Vision(replace(plain.vision.config, scorer=scorer))
    first = _first_weights(vision, scorer, seed)
    language, done = plain.language, 0
    names = [*vision.state_dict(), *language.state_dict()]
    for module in (vision, language):
        weights = {}
        for name, weight in module.state_dict().items():
            done += 1
            tell("reading weights", done, len(names))
            narrow = device.type == "cuda" and is_narrow(name, weight.ndim) and not name.startswith(SCORER)
            read = first[name] if name in first else plain.read(name)
            weights[name] = read.to(device, torch.bfloat16 if narrow else torch.float32)
        module.load_state_dict(weights, assign=True)
        module.requires_grad_(False).eval()
    _prepare(vision, language, device)
    return vision, language


def _first_weights(vision: Vision, scorer: ScorerConfig, seed: int) -> dict[str, Tensor]:
    """Those of torch, under their full names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = TokenScorer(vision.config.vision, scorer)
    return {f"{SCORER}{name}": weight for name, weight in made.state_dict().items()}


def _prepare(vision: Vision, language: Language, device: torch.device) -> None:
    assert vision.temporal_token_scorer is not None
    vision.temporal_token_scorer.requires_grad_(True)
    if device.type == "cuda":
        keep_in_float32(vision.temporal_token_scorer)
        narrow_norms(vision.vision_tower)
    blocks = (*vision.vision_tower.layers, vision.multi_modal_projector, *language.language_model.layers)
    for block in blocks:
        block.forward = functools.partial(_recomputing, block.forward)


def _recomputing(forward: Callable[..., Tensor], *given: Any) -> Tensor:
    """Keeps what goes into a block alone, and computes the rest again where gradients are asked for."""
    if not torch.is_grad_enabled():
        return forward(*given)
    out: Tensor = recomputed(forward, *given, use_reentrant=False)
    return out


def scorer_of(vision: Vision) -> nn.Module:
    """The part that is trained."""
    assert vision.temporal_token_scorer is not None
    return vision.temporal_token_scorer
