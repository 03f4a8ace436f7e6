"""What the language model sees of calibration frames: whole prompts, for formats whose scales are searched on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_calib.calibration.gather import pruned_variant
from stts_calib.calibration.store import CalibrationFrames
from stts_runtime.bundle import Bundle
from stts_runtime.engines import load_vision
from stts_runtime.prompt import PromptBuilder

_QUESTION = "What happens in this video?"


@dataclass(frozen=True, eq=False)
class SeenPrompt:
    """A video and a question."""

    ids: NDArray[np.int64]
    """(L,)"""
    positions: NDArray[np.int64]
    visual_tokens: NDArray[np.float32]
    """(K, width)"""


def seen_prompts(bundle: Bundle, calibration: CalibrationFrames) -> list[SeenPrompt]:
    """One for each window, pruned as its variant prunes."""
    engine = load_vision(bundle, pruned_variant(bundle))
    builder = PromptBuilder.of(bundle)
    prompts = []
    for frames, origin in zip(calibration.frames, calibration.origins, strict=True):
        seen = engine.run(frames)
        video = builder.video([time - origin.times_seconds[0] for time in origin.times_seconds], seen.kept)
        asked = builder.question(_QUESTION, video)
        ids, positions = np.concatenate([video.ids, asked.ids]), np.concatenate([video.positions, asked.positions])
        prompts.append(SeenPrompt(ids, positions, engine.downloaded(seen).copy()))
    return prompts
