"""What was seen of one video: every setting's answers, and what it kept."""

from __future__ import annotations

import base64
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from stts_calib.accuracy.seen import Seen


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Said(_Part):
    """One setting's answer to one question."""

    text: str
    """What was written; of options, the likeliest one's own text."""
    probability: float | None = None
    """Probability of the likeliest option among all; None if the answer was generated."""
    right: bool


class SettingSaid(_Part):
    """One setting on one video."""

    answers: dict[str, Said]
    """By the question's place in its file."""
    vision_ms: float
    clip_ms: float
    """Vision, prefill and all questions."""
    kept: Annotated[str, Field(pattern="^[A-Za-z0-9+/=]*$")]
    """Which groups were kept, a bit each, frame by frame, in base64."""

    def kept_groups(self, frames: int, groups: int) -> NDArray[np.bool_]:
        """(frames, groups)."""
        bits = np.unpackbits(np.frombuffer(base64.b64decode(self.kept), np.uint8), count=frames * groups)
        return bits.astype(np.bool_).reshape(frames, groups)


def packed(kept: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(kept.reshape(-1)).tobytes()).decode()


class VideoSeen(Seen):
    """All settings on one video."""

    settings: dict[str, SettingSaid] = Field(default_factory=dict)
    """Empty if it could not be read."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """By place, why a question was not asked."""

    @property
    def is_final(self) -> bool:
        """A video that cannot be read may be there by the next run."""
        return bool(self.settings)
