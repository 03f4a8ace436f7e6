"""What the scorer says of test clips: a line of JSON each, made once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from stts_calib.clips import Clip, ClipSet, Split
from stts_runtime.bundle import Bundle
from stts_runtime.engines import VisionEngine, load_vision
from stts_runtime.errors import UserError

_DIGITS = 5


class ClipScores(BaseModel):
    """One test clip."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    clip: int
    """Its number among those of all sets, which take turns."""
    moving: float
    """Share of the groups in frames 2 to T in which something moves."""
    scores: list[list[float]]
    """(T, G)"""

    @property
    def later(self) -> NDArray[np.float64]:
        """Those of frames 2 to T, the highest first: the first frame is kept whole, whatever its scores."""
        return np.sort(np.array(self.scores[1:]).reshape(-1))[::-1]


def scores_of(
    bundle: Bundle, variant: str, clips: Sequence[int], clip_sets: Sequence[ClipSet], file: Path
) -> list[ClipScores]:
    """Scores of these clips, in order: those in `file` are read, the others are computed and appended to it."""
    known = {one.clip: one for one in _read(file)} if file.exists() else {}
    missing = [number for number in clips if number not in known]
    if missing:
        engine = load_vision(bundle, variant)
        with file.open("a", encoding="utf-8") as out:
            for number in missing:
                known[number] = _look(bundle, variant, engine, number, clip_sets)
                out.write(known[number].model_dump_json() + "\n")
                out.flush()
    return [known[number] for number in clips]


def _look(bundle: Bundle, variant: str, engine: VisionEngine, number: int, clip_sets: Sequence[ClipSet]) -> ClipScores:
    vision = bundle.manifest.vision
    clip = Clip.in_turn(Split.test, number, clip_sets)
    window = clip.window(bundle.manifest.variants[variant].frames, vision.image_size)
    scores = engine.run(window.frames).scores
    if scores is None:
        raise UserError(f"{variant} keeps everything and scores nothing")
    moving = clip.moving(window.times_seconds.tolist(), vision.groups_per_side)[1:].mean()
    rounded = scores.astype(float).round(_DIGITS).tolist()
    return ClipScores(clip=number, moving=round(float(moving), _DIGITS), scores=rounded)


def _read(file: Path) -> list[ClipScores]:
    try:
        return [ClipScores.model_validate_json(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (ValidationError, UnicodeError):
        raise UserError(f"{file} holds no scores of this script; name another file") from None
