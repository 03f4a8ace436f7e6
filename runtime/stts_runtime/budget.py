"""Token budgets: how many groups a keep ratio keeps. Arithmetic only, shared by export and runtime.

Source of the rounding: the reference implementation of arXiv 2603.18004 (it computes in float32).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

import numpy as np

from stts_runtime.errors import UserError

Scope = Literal["clip", "frame", "given"]
AnsweringScope = Literal["clip", "frame"]
"""All but controls, which need to be told what to keep."""

KEY_FRAMES: Final = "live-key"
"""Name of the vision variant for a stream's key frames."""

_NAME = re.compile(r"(full|clip|frame|given)-t(\d+)(?:-k(\d*\.?\d+))?")


def check_keep(keep: float) -> None:
    """Raises `UserError` if `keep` is no keep ratio."""
    if not 0 < keep <= 1:
        raise UserError(f"the keep ratio must be above 0 and at most 1, got {keep:g}")


@dataclass(frozen=True)
class TokenBudget:
    """Keep `keep` of the groups of `frames` frames with `groups` groups each.

    `clip` fixes the total and lets every frame have what it deserves; `frame` gives every frame after the first the
    same number, so that a stream can compute each frame once. The first frame is kept whole by both. `given` keeps as
    many as `clip`, and which ones is an input: a control, to measure what the scorer's choice is worth.

    Raises `UserError` where no such budget exists.
    """

    frames: int
    groups: int
    keep: float
    scope: Scope = "clip"

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise UserError(f"a window needs at least 1 frame, got {self.frames}")
        check_keep(self.keep)
        lowest = round(1 / self.frames, 6)
        if self.scope != "frame" and round(self.keep, 6) < lowest:
            raise UserError(
                f"keep {self.keep:g} is impossible for {self.frames} frames: the first frame is always kept whole, "
                f"so the lowest keep is 1/{self.frames} = {lowest:g}"
            )
        if self.frames == 1 and self.keep < 1:
            raise UserError("a single frame is always kept whole; use keep 1 or more frames")

    @property
    def prune_fraction(self) -> float:
        """p, rounded as the reference rounds it."""
        return round(1 - self.keep, 6)

    @property
    def kept_per_later_frame(self) -> int:
        """Groups kept of every frame but the first, scope `frame`."""
        return self.groups - int(np.float32(self.groups * self.prune_fraction))

    @property
    def kept(self) -> int:
        """K, groups kept of the whole window."""
        if self.scope == "frame":
            return self.groups + (self.frames - 1) * self.kept_per_later_frame
        dropped = int(np.float32(self.groups * self.prune_fraction) * np.float32(self.frames))
        return self.frames * self.groups - dropped

    @property
    def visual_tokens(self) -> int:
        """Groups before pruning."""
        return self.frames * self.groups

    @property
    def name(self) -> str:
        """Name of the vision variant, such as `clip-t8-k0.5`."""
        prefix = "full" if self.keep == 1 else self.scope
        return f"{prefix}-t{self.frames}" + ("" if self.keep == 1 else f"-k{self.keep:g}")

    @classmethod
    def named(cls, name: str, groups: int) -> TokenBudget:
        """The budget of this name, for frames with `groups` groups."""
        parts = _NAME.fullmatch(name)
        scope, frames, keep = parts.groups() if parts else ("full", "1", None)
        full = scope == "full"
        found = cls(int(frames), groups, float(keep or 1), cast("Scope", "clip" if full else scope))
        if parts is None or found.name != name:
            raise UserError(f"{name!r} names no variant; names are like full-t16, clip-t32-k0.25 and frame-t16-k0.5")
        return found


@dataclass(frozen=True)
class IncrementalBudget:
    """One frame of a stream, budget `frame`: a key frame (keep 1) stays whole as a window's first frame does, and those
    between keep `keep` of their groups.

    Raises `UserError` where no such budget exists.
    """

    groups: int
    keep: float

    def __post_init__(self) -> None:
        check_keep(self.keep)

    @property
    def is_key(self) -> bool:
        return self.keep == 1

    @property
    def kept(self) -> int:
        return self.groups if self.is_key else self.pair.kept_per_later_frame

    @property
    def pair(self) -> TokenBudget:
        """The window of a key frame and this one."""
        return TokenBudget(2, self.groups, self.keep, "frame")

    @property
    def name(self) -> str:
        """Name of the vision variant, such as `live-k0.5`."""
        return KEY_FRAMES if self.is_key else f"live-k{self.keep:g}"
