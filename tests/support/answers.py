"""Answers with a text of one's own, about frames that no model has seen."""

from __future__ import annotations

import numpy as np

from stts_runtime.answering import Generation, Reply
from stts_runtime.records import Answer, StreamAnswer
from stts_runtime.video import Window

KEPT = np.ones((3, 9), np.bool_)


def reply_of(text: str, question: str = "Where?", cached: int = 0, turns: int = 0) -> Reply:
    """`cached` tokens of the prompt's 40 were in the cache."""
    spent = {"prefill_video": 1.0, "prefill_question": 1.0, "decode": 1.0}
    made = Generation([1, 2], True, spent, 0.0, 0.0)
    return Reply(question, text, made, 40, cached, spent, cached > 0, turns=turns)


def answer_of(
    text: str, source: str = "a.mp4", question: str = "Where?", *, cached: int = 0, turns: int = 0, seen: bool = False
) -> Answer:
    """About three frames of a source of 640 x 480 pixels, at 0, 1 and 2 seconds; `cached` and `turns` as in `reply_of`,
    `seen` for an earlier question.
    """
    window = Window(source, 2.0, np.arange(3.0), np.full((3, 42, 42, 3), 128, np.uint8), 640 / 480, height=480)
    watching = {"read": 0.0, "vision": 0.0}
    return Answer.about(
        window,
        KEPT,
        reply_of(text, question, cached, turns),
        variant="full-t3",
        keep=1.0,
        budget="clip",
        watching=watching,
        notes=["a note"],
        scorer=None,
        reused_vision=seen,
    )


def stream_answer_of(text: str, cached: int = 0) -> StreamAnswer:
    """About three frames at 100, 101 and 102 seconds of a stream."""
    return StreamAnswer.about(
        reply_of(text, cached=cached),
        KEPT,
        times_seconds=[100.0, 101.0, 102.0],
        key_frames=[True, False, False],
        captured=0.0,
        vision_ms=1.0,
        novelty=0.0,
        stream="gate",
        number=1,
        trigger="asked",
        dropped={},
        scorer=None,
    )
