"""What was seen of one clip: every setting's answers, and what it kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class KeptShare:
    """How many of some groups were kept."""

    kept: int = 0
    groups: int = 0

    @classmethod
    def of(cls, kept: NDArray[np.bool_]) -> KeptShare:
        return cls(int(kept.sum()), kept.size)

    def __add__(self, other: KeptShare) -> KeptShare:
        return KeptShare(self.kept + other.kept, self.groups + other.groups)

    @property
    def percent(self) -> float | None:
        return round(100 * self.kept / self.groups, 1) if self.groups else None

    @property
    def percent_lost(self) -> float | None:
        """To two digits, since it should be little."""
        return round(100 - 100 * self.kept / self.groups, 2) if self.groups else None


class SettingSeen(_Part):
    """One setting on one clip."""

    answers: list[str]
    """In the order of the clip's questions."""
    vision_ms: float
    clip_ms: float
    """Vision, prefill and all questions."""
    moving: KeptShare
    """Share kept of the groups in frames 2 to T in which something moves; below, of all others."""
    others: KeptShare
    objects: KeptShare
    """Share of the moving objects, frame by frame, of which a group was kept."""


class Seen(_Part):
    """What any exam sees of one clip."""

    clip: int
    """Its number in the exam."""

    @property
    def is_final(self) -> bool:
        """Whether looking again would find nothing else."""
        return True


class ClipSeen(Seen):
    """All settings on one clip."""

    questions: list[str]
    settings: dict[str, SettingSeen]
