"""What a run takes of the device's memory, estimated before it starts: weights, the scorer's training, and a clip.

Blocks keep what goes into them and are computed again for gradients (`frozen`), so a clip takes its residual stream
once a block, and the inside of one block at a time. torch has no fast kernel for a mask with a gradient, nor on a GPU
for any mask: what attends by one holds float32 numbers for every pair of rows and every head, and the largest of these
moments is what counts.

Measured on an H200, allocated at the peak against estimated: Molmo2-4B's size, 2 clips of 64 frames at keep 0.5 at
once, 34.38 against 34.76 GB where the last layer but one is scored, and 36.94 against 38.29 at layer 3; a tower of 7
layers, 48 clips of 31 frames at keep 0.7 at once, 12.02 against 12.33. torch's allocator held 52.22 and 16.43 GB of
the GPU's in the last two, which is not in here.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import psutil
import torch

from stts_export.checkpoint import Checkpoint
from stts_export.modules.config import ModelConfig, ScorerConfig, TextConfig, VisionConfig
from stts_export.molmo2.names import own_name
from stts_export.scorer_training.frozen import is_narrow
from stts_export.scorer_training.prompts import ANSWER
from stts_runtime.errors import UserError
from stts_runtime.text import counted

_WIDE, _NARROW = 4, 2
_SCORER_COPIES = 4
"""Weight, gradient and both of AdamW's averages."""
_INSIDE = 6
"""Copies of an MLP's rows that live at once while it is computed again and its gradient is taken."""
_PAIR = 4 + 4 + 1
"""Bytes of a pair of rows and a head in attention by a mask: its score, its probability, and whether it is masked."""
_PAIR_BACK = 4 * 4
"""The same while gradients are taken: the probability, its gradient, their product, and the score's gradient."""
_PROJECTED = 4
"""Copies of queries, keys and values that live at once there, in float32."""
_POOLED_COPIES = 2
"""Copies of a group's rows of all heads in the scorer's pooling."""
_TIME_TOKENS = 8
"""Of a frame in the prompt, its marks included."""
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
        return (
            f"{self.of(clips) / 1e9:.2f} GB of memory: {self.weights / 1e9:.2f} for weights, {self.scorer / 1e9:.2f} "
            f"for the scorer and its optimiser, {clips * self.clip / 1e9:.2f} for {counted(clips, 'clip')} at once"
        )


def estimated(checkpoint: Checkpoint, model: ModelConfig, frames: int, keep: float, narrow: bool) -> Needs:
    """`model` has the scorer; `narrow` is for matrices in 16 bits, as on a GPU."""
    assert isinstance(model.scorer, ScorerConfig)
    scorer = _SCORER_COPIES * _WIDE * _scorer_values(model, model.scorer)
    return Needs(_weights(checkpoint, narrow), scorer, clip_bytes(model, model.scorer, frames, keep, narrow))


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


def clip_bytes(model: ModelConfig, scorer: ScorerConfig, frames: int, keep: float, narrow: bool) -> int:
    """The largest of three moments: the unpruned model reads its prompt, and gradients of either side are taken."""
    vision, text = model.vision, model.text
    rows, groups, around = frames * vision.patches, frames * vision.groups, frames * _TIME_TOKENS
    tokens, kept_tokens = groups + around, int(groups * keep) + around + _QUESTION_TOKENS
    # A CPU has a fast kernel for masks, but not for the one of the biased layer.
    pair, pair_back = (_PAIR, _PAIR_BACK) if narrow else (0, 0)
    pictures = frames * vision.frame_size**2 * 3
    # Of the scored layer and of those that the connector reads, unpruned.
    features = _WIDE * vision.width * rows * (1 + len(vision.feature_layers))
    past = (_NARROW if narrow else _WIDE) * 2 * text.layers * tokens * text.kv_heads * text.head_dim
    reading = past + pair * text.heads * tokens**2 + _rows_inside(text, tokens, narrow)
    behind = vision.layers - scorer.prune_at - 2
    stream = _WIDE * vision.width * (rows + int(rows * keep) * (behind + 1))
    pooling = _WIDE * groups * vision.heads * vision.width * _POOLED_COPIES
    answers = _WIDE * 4 * ANSWER * text.vocab * 4
    of_frames = max(
        _PAIR_BACK * frames * vision.heads * vision.patches**2 + _WIDE * rows * vision.width * _PROJECTED,
        _rows_inside(vision, rows, narrow),
    )
    of_words = _WIDE * text.width * kept_tokens * (text.layers + 2) + max(
        pair_back * text.heads * kept_tokens**2 + _WIDE * kept_tokens * text.heads * text.head_dim * _PROJECTED,
        _rows_inside(text, kept_tokens, narrow),
    )
    return pictures + features + max(reading, stream + pooling + answers + max(of_frames, of_words))


def _rows_inside(config: VisionConfig | TextConfig, rows: int, narrow: bool) -> int:
    """Of a block's MLP."""
    return (_NARROW if narrow else _WIDE) * rows * (config.mlp_width + config.width * 2) * _INSIDE
