"""What a stream says: answers and changes of state, one line of JSON each."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from stts_runtime.answer import TokenRecord


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AgeRecord(_Part):
    """How old the newest frame of the window was, counted from its capture, in milliseconds."""

    at_first_token: float
    at_last_token: float


class StageRecord(_Part):
    """Wall time in milliseconds; `vision` of the newest frame alone, which is all that it costs to go on by one."""

    vision: float
    prefill_video: float
    prefill_question: float
    decode: float


class StreamAnswer(_Part):
    schema_name: Literal["stts.stream-answer/1"] = "stts.stream-answer/1"
    stream: str
    """The stream's name."""
    number: int
    """Counts the answers of this stream from 1, without gaps: who gets them sees what is missing. 0: somebody asked."""
    created: str
    """Wall-clock time in UTC, ISO 8601 with milliseconds."""
    question: str
    answer: str
    finish: Literal["end", "length"]
    trigger: str
    """Why now: `novelty 0.41 > 0.3`, `longest pause`, `every window`."""
    novelty: float
    """Highest of the frames since the last answer."""
    times_seconds: list[float]
    """Of the window's frames, on the stream's own time line."""
    key_frames: list[bool]
    kept_per_frame: list[int]
    tokens: TokenRecord
    milliseconds: StageRecord
    age_ms: AgeRecord
    dropped: dict[str, int]
    """Frames not looked at since the last answer, by cause."""


class StreamEvent(_Part):
    schema_name: Literal["stts.stream-event/1"] = "stts.stream-event/1"
    stream: str
    created: str
    state: str
    """One of `sources.state.State`."""
    reason: str


Record = StreamAnswer | StreamEvent
