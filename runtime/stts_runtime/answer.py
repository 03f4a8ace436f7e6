"""The answer record: one line of JSON per answer, with everything that it cost."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowRecord(_Part):
    """What was looked at; times are the ones in the prompt."""

    frames: int
    times_seconds: list[float]
    duration_seconds: float


class TokenRecord(_Part):
    """Visual tokens before and after pruning; prompt tokens with the visual ones; generated tokens with the end."""

    visual_in: int
    visual_kept: int
    prompt: int
    generated: int


class MillisecondRecord(_Part):
    """Wall time by stage. What an earlier question about the same window has paid for is 0."""

    read: float
    vision: float
    prefill_video: float
    prefill_question: float
    decode: float
    total: float


class Answer(_Part):
    schema_name: Literal["stts.answer/1"] = "stts.answer/1"
    source: str
    window: WindowRecord
    question: str
    answer: str
    finish: Literal["end", "length"]
    """`end`: the model ended its text; `length`: the token budget or the context was used up."""
    variant: str
    keep: float
    budget: str
    kept_per_frame: list[int]
    tokens: TokenRecord
    milliseconds: MillisecondRecord
    reused_prefix: bool
    """The video was prefilled for an earlier question about the same window."""
    notes: list[str]
