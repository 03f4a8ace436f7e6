"""Whether a build fits this machine's memory."""

from __future__ import annotations

import psutil

from stts_export.building.plan import Plan
from stts_export.checkpoint import Checkpoint
from stts_export.graphs.check import WHOLE_BYTES
from stts_runtime.errors import UserError

# torch, ONNX Runtime and their arenas, before any weight.
_LIBRARY_BYTES = 1_000_000_000
# Rows of activations that torch and ONNX Runtime hold at once for every patch: hidden state, MLP and a few copies.
_ACTIVATION_COPIES = 4


def check_memory(checkpoint: Checkpoint, plan: Plan) -> str:
    """What the build needs, in words. Raises `UserError` before a build that would be killed for memory."""
    vision, text = checkpoint.config.vision, checkpoint.config.text
    frames = max(budget.frames for budget in plan.budgets)
    activations = frames * vision.patches * (vision.mlp_width + vision.width * _ACTIVATION_COPIES)
    caches = 2 * text.layers * plan.context * text.kv_heads * text.head_dim
    # Weights come one at a time; the check of a graph loads a piece of it, which ONNX Runtime may hold twice.
    weights = min(4 * checkpoint.files.values(), 2 * WHOLE_BYTES)
    needed = _LIBRARY_BYTES + weights + 4 * (2 * activations + 4 * caches)
    free = psutil.virtual_memory().available
    words = f"the build needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free"
    if needed > free:
        raise UserError(
            f"{words}; close other programs, add swap, or ask for fewer --frames or a smaller --max-context"
        )
    return words
