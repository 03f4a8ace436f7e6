"""What the GPU can do at most in this very run: copies, matrix products, attention. Measured with torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict

from stts_export.modules.config import ModelConfig
from stts_tools.gpu_bench.timing import interleaved

_ROUNDS = 11
_COPIED_VALUES = 1 << 28
_FRAMES = 32
_PREFILL_TOKENS = 8192


class Rates(BaseModel):
    """Rates for the model's own shapes, in its format; a multiplication and an addition are two operations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    copy_tb_s: float
    vision_products_tflops: float
    """The tower's MLP, the larger half of its products."""
    vision_attention_tflops: float
    """Whole frames."""
    language_products_tflops: float
    language_attention_tflops: float
    """All tokens see all, which has no mask; the two-way prefill can only be slower."""


def measure_rates(model: ModelConfig, dtype: torch.dtype) -> Rates:
    vision, text = model.vision, model.text
    rows = _FRAMES * vision.patches
    source = torch.empty(_COPIED_VALUES, dtype=dtype, device="cuda")
    target = torch.empty_like(source)
    up = _product(rows, vision.width, vision.mlp_width, dtype)
    down = _product(rows, vision.mlp_width, vision.width, dtype)
    gate = _product(_PREFILL_TOKENS, text.width, text.mlp_width, dtype)
    frame = _attention(_FRAMES, vision.heads, vision.patches, vision.width // vision.heads, dtype)
    prompt = _attention(1, text.heads, _PREFILL_TOKENS, text.head_dim, dtype)
    times = interleaved(
        {
            "copy": lambda: target.copy_(source),
            "up": up,
            "down": down,
            "gate": gate,
            "frame": frame,
            "prompt": prompt,
        },
        _ROUNDS,
    )
    mlp = rows * vision.width * vision.mlp_width
    milliseconds = {name: value.median for name, value in times.items()}
    return Rates(
        copy_tb_s=round(2 * source.nbytes / milliseconds["copy"] / 1e9, 2),
        vision_products_tflops=_tera(2 * mlp, milliseconds["up"] + milliseconds["down"]),
        vision_attention_tflops=_tera(2 * _FRAMES * vision.width * vision.patches**2, milliseconds["frame"]),
        language_products_tflops=_tera(_PREFILL_TOKENS * text.width * text.mlp_width, milliseconds["gate"]),
        language_attention_tflops=_tera(2 * text.heads * text.head_dim * _PREFILL_TOKENS**2, milliseconds["prompt"]),
    )


def _tera(multiplications: int, milliseconds: float) -> float:
    return round(2 * multiplications / milliseconds / 1e9, 1)


def _product(rows: int, inner: int, columns: int, dtype: torch.dtype) -> Callable[[], object]:
    x, weight = (torch.randn(size, inner, dtype=dtype, device="cuda") for size in (rows, columns))
    return lambda: F.linear(x, weight)


def _attention(rows: int, heads: int, tokens: int, width: int, dtype: torch.dtype) -> Callable[[], object]:
    q, k, v = (torch.randn(rows, heads, tokens, width, dtype=dtype, device="cuda") for _ in range(3))
    return lambda: F.scaled_dot_product_attention(q, k, v)
