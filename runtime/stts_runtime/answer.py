"""Records of answers: one line of JSON per answer, with everything that it cost.

`AnswerRecord` is what answers about clips and streams have in common; `stream/record.py` has what is special to
streams. What was looked at is kept with an answer, but is not part of its JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PrivateAttr

from stts_runtime.answering.conversation import Finish, Reply
from stts_runtime.errors import UserError
from stts_runtime.overlay import Image, picture_of, write_overlay
from stts_runtime.video import Window


class RecordPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowRecord(RecordPart):
    """What was looked at; times are the ones in the prompt."""

    frames: int
    times_seconds: list[float]
    duration_seconds: float


class TokenRecord(RecordPart):
    """Visual tokens before and after pruning; prompt tokens with the visual ones; generated tokens with the end."""

    visual_in: int
    visual_kept: int
    prompt: int
    generated: int


class MillisecondRecord(RecordPart):
    """Wall time by stage. What an earlier question about the same window has paid for is 0."""

    read: float
    vision: float
    prefill_video: float
    prefill_question: float
    decode: float
    total: float

    @classmethod
    def of(cls, spent: Mapping[str, float]) -> MillisecondRecord:
        rounded = {name: round(value, 3) for name, value in spent.items()}
        return cls(**rounded, total=round(sum(spent.values()), 3))


class AnswerRecord(RecordPart):
    """What all answers have in common. Each kind lists its fields in the order of its JSON."""

    _kept: NDArray[np.bool_] | None = PrivateAttr(None)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(T, G): which groups of patches were kept, row by row of each frame.

        Raises `UserError` for an answer that was read from JSON, which has only their numbers.
        """
        if self._kept is None:
            raise UserError("this answer was read from a file, which has only `kept_per_frame`; ask again for the rest")
        return self._kept

    @staticmethod
    def _common(reply: Reply, kept: NDArray[np.bool_]) -> dict[str, Any]:
        """Fields that all answers have, for a reply about a window of which `kept` (T, G) was kept."""
        tokens = TokenRecord(
            visual_in=kept.size,
            visual_kept=int(kept.sum()),
            prompt=reply.prompt_tokens,
            generated=len(reply.generation.ids),
        )
        return {
            "question": reply.question,
            "answer": reply.text,
            "finish": reply.finish,
            "kept_per_frame": kept.sum(axis=1).tolist(),
            "tokens": tokens,
        }


class Answer(AnswerRecord):
    """About a clip or a picture."""

    schema_name: Literal["stts.answer/1"] = "stts.answer/1"
    source: str
    window: WindowRecord
    question: str
    answer: str
    finish: Finish
    variant: str
    keep: float
    budget: str
    kept_per_frame: list[int]
    tokens: TokenRecord
    milliseconds: MillisecondRecord
    reused_prefix: bool
    """The video was prefilled for an earlier question about the same window."""
    notes: list[str]

    _window: Window | None = PrivateAttr(None)

    @classmethod
    def about(
        cls,
        window: Window,
        kept: NDArray[np.bool_],
        reply: Reply,
        *,
        variant: str,
        keep: float,
        budget: str,
        watching: Mapping[str, float],
        notes: Sequence[str],
    ) -> Answer:
        """`watching` are the milliseconds before the prefill, which the first question about a window pays."""
        before = dict.fromkeys(watching, 0.0) if reply.reused_prefix else watching
        answer = cls(
            **cls._common(reply, kept),
            source=window.source,
            window=WindowRecord(
                frames=len(window.frames),
                times_seconds=[round(time, 3) for time in window.times_seconds.tolist()],
                duration_seconds=round(window.duration_seconds, 3),
            ),
            variant=variant,
            keep=keep,
            budget=budget,
            milliseconds=MillisecondRecord.of({**before, **reply.milliseconds}),
            reused_prefix=reply.reused_prefix,
            notes=list(notes),
        )
        answer._kept, answer._window = kept, window
        return answer

    @property
    def seen(self) -> Window:
        """The frames that were looked at, in memory for as long as the answer is. Raises `UserError` as `kept` does."""
        if self._window is None:
            raise UserError("this answer was read from a file, which has no frames; ask again for them")
        return self._window

    def picture(self) -> Image:
        """All frames with their dropped patches dark, RGB (H, W, 3) uint8. Raises `UserError` as `kept` does."""
        return picture_of(self.seen, self.kept)

    def write_picture(self, path: str | Path) -> None:
        """Writes the picture (.png), or a slide show of the frames (.mp4). Raises `UserError` for other names."""
        write_overlay(Path(path), self.seen, self.kept, self.variant)
