"""What a run takes of the device's memory, estimated before it starts: weights, the scorer's training, and a clip.

Blocks keep what goes into them and are computed again for gradients (`frozen`), so a clip takes its residual stream
once a block, and the inside of one block at a time.

Measured on an H200: Molmo2-4B's size, 2 clips of 64 frames at once, 36.94 GB allocated at the peak against 35.99
estimated; a tower of 7 layers, 48 clips at once, 12.02 against 12.05. torch's allocator then held 52.22 and 16.43 GB
of the GPU's, which is not in here.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import psutil
import torch

from stts_export.checkpoint import Checkpoint
from stts_export.modules.config import ModelConfig, ScorerConfig
from stts_export.molmo2.names import own_name
from stts_export.scorer_training.frozen import is_narrow
from stts_export.scorer_training.prompts import ANSWER
from stts_runtime.errors import UserError

_WIDE, _NARROW = 4, 2
_SCORER_COPIES = 4
"""Weight, gradient and both of AdamW's averages."""
_INSIDE = 6
"""Copies of a block's widest rows that live at once while it is computed again and its gradient is taken."""
_POOLED_COPIES = 4
"""Copies of a group's rows of all heads in the scorer's pooling."""
_QUESTION_TOKENS = 256
_SPARE = 0.9
"""Share of free memory that may be used: estimates are rough, and memory fragments."""


class Needs(NamedTuple):
    """Bytes."""

    weights: int
    scorer: int
    """Its weights, gradients and what the optimiser remembers."""
    clip: int

    def of(self, clips: int) -> int:
        """With this many clips at once."""
        return self.weights + self.scorer + clips * self.clip

    def in_words(self, clips: int) -> str:
        at_once = "1 clip" if clips == 1 else f"{clips} clips"
        return (
            f"{self.of(clips) / 1e9:.2f} GB of memory: {self.weights / 1e9:.2f} for weights, {self.scorer / 1e9:.2f} "
            f"for the scorer and its optimiser, {clips * self.clip / 1e9:.2f} for {at_once} at once"
        )


def estimated(checkpoint: Checkpoint, model: ModelConfig, frames: int, keep: float, narrow: bool) -> Needs:
    """`model` has the scorer; `narrow` is for matrices in 16 bits, as on a GPU."""
    assert isinstance(model.scorer, ScorerConfig)
    scorer = _SCORER_COPIES * _WIDE * _scorer_values(model, model.scorer)
    return Needs(_weights(checkpoint, narrow), scorer, _clip(model, model.scorer, frames, keep, narrow))


def clips_at_once(needs: Needs, most: int, free: int) -> int:
    """As many as fit. Raises `UserError` if not even one does."""
    fitting = int((_SPARE * free - needs.weights - needs.scorer) // needs.clip)
    if fitting < 1:
        raise UserError(
            f"training needs about {needs.in_words(1)}; {free / 1e9:.2f} GB are free, of which {_SPARE:.0%} can be "
            "counted on; ask for fewer --frames or a lower --keep, or take a larger GPU"
        )
    return min(fitting, most)


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def _weights(checkpoint: Checkpoint, narrow: bool) -> int:
    shapes = {name: checkpoint.files.shape(name) for name in checkpoint.files}
    return sum(
        prod(shape) * (_NARROW if narrow and is_narrow(own_name(name), len(shape)) else _WIDE)
        for name, shape in shapes.items()
    )


def _scorer_values(model: ModelConfig, scorer: ScorerConfig) -> int:
    width, hidden = model.vision.width, scorer.mlp_width
    return 4 * width * (width + 1) + (2 * width + 1) * hidden + (hidden + 1) * hidden + hidden + 1


def _clip(model: ModelConfig, scorer: ScorerConfig, frames: int, keep: float, narrow: bool) -> int:
    vision, text = model.vision, model.text
    product = _NARROW if narrow else _WIDE
    rows, groups = frames * vision.patches, frames * vision.groups
    kept, behind = int(rows * keep), vision.layers - scorer.prune_at - 2
    tokens, kept_tokens = groups + _QUESTION_TOKENS, int(groups * keep) + _QUESTION_TOKENS
    # Held from one end of the pass to the other.
    stream = _WIDE * vision.width * (rows * (2 + len(vision.feature_layers)) + kept * behind)
    stream += _WIDE * text.width * kept_tokens * (text.layers + 2)
    past = product * 2 * text.layers * tokens * text.kv_heads * text.head_dim
    pooling = _WIDE * groups * vision.heads * vision.width * _POOLED_COPIES
    answers = _WIDE * 4 * ANSWER * text.vocab * 4
    # One after the other.
    patches = product * rows * (vision.mlp_width + vision.width * 2) * _INSIDE
    bias = product * 2 * frames * vision.heads * vision.patches**2
    words = product * tokens * (text.mlp_width + text.width * 2) * _INSIDE + product * 2 * tokens**2
    return stream + past + pooling + answers + max(patches + bias, words)
