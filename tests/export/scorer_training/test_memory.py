"""Memory that is stated before a training starts, against what runs on an H200 took."""

from __future__ import annotations

import pytest

from stts_export.modules.config import ScorerConfig
from stts_export.scorer_training.memory import clip_bytes
from stts_tools.checkpoints.byte_tokenizer import byte_level_tokenizer
from stts_tools.checkpoints.sizes import SIZES, model_config


@pytest.mark.parametrize(
    ("name", "layer", "clips", "frames", "keep", "weights", "peak"),
    [
        # Bytes of weights, the scorer and its optimiser; torch.cuda.max_memory_allocated.
        pytest.param("molmo2-4b", 23, 2, 64, 0.5, 11.02e9, 34.38e9, id="reading the unpruned prompt takes most"),
        pytest.param("molmo2-4b", 3, 2, 64, 0.5, 11.02e9, 36.94e9, id="gradients of the biased layer take most"),
        pytest.param("tiny", 1, 48, 31, 0.7, 0.03e9, 12.02e9, id="many small clips"),
    ],
)
def test_what_is_stated_is_kept_and_not_much_too_much(
    name: str, layer: int, clips: int, frames: int, keep: float, weights: float, peak: float
) -> None:
    size = SIZES[name]
    model = model_config(size, byte_level_tokenizer(size.vocab), 0.5)
    stated = weights + clips * clip_bytes(model, ScorerConfig(layer, size.vision_mlp, 0.5), frames, keep, narrow=True)
    assert peak <= stated <= 1.05 * peak
