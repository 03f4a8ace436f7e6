"""What a stream says: answers and changes of state, one line of JSON each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stts_runtime import clock
from stts_runtime.answer import Answer, AnswerRecord, RecordPart, TokenRecord
from stts_runtime.answering.conversation import Finish, Reply
from stts_runtime.stream.watcher import Ring


class AgeRecord(RecordPart):
    """How old the newest frame of the window was, counted from its capture, in milliseconds."""

    at_first_token: float
    at_last_token: float


class StageRecord(RecordPart):
    """Wall time in milliseconds; `vision` of the newest frame alone, which is all that it costs to go on by one.

    `prefill_video` is 0 where an earlier question about the same window has paid for it.
    """

    vision: float
    prefill_video: float
    prefill_question: float
    decode: float


class StreamAnswer(AnswerRecord):
    schema_name: Literal["stts.stream-answer/1"] = "stts.stream-answer/1"
    stream: str
    """The stream's name."""
    number: int
    """Counts the answers of this stream from 1, without gaps: who gets them sees what is missing. 0: somebody asked."""
    created: str
    """Wall-clock time in UTC, ISO 8601 with milliseconds; it jumps when somebody sets the clock."""
    steady_seconds: float = Field(default_factory=lambda: round(clock.now(), 3))
    """The same moment on the clock of `clock.now`: what to subtract from one another."""
    question: str
    answer: str
    finish: Finish
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

    @classmethod
    def about(
        cls,
        ring: Ring,
        reply: Reply,
        *,
        stream: str,
        number: int,
        trigger: str,
        novelty: float,
        dropped: dict[str, int],
    ) -> StreamAnswer:
        """About the window that `ring` holds; it has a frame at least."""
        frames, kept = ring.frames, ring.kept
        newest = frames[-1]
        moments = reply.generation.first_token_at, reply.generation.last_token_at
        first, last = (round((moment - newest.captured) * 1000, 1) for moment in moments)
        spent = {name: round(value, 3) for name, value in reply.milliseconds.items()}
        answer = cls(
            **cls._common(reply, kept),
            stream=stream,
            number=number,
            created=now(),
            trigger=trigger,
            novelty=round(novelty, 4),
            times_seconds=[round(frame.seconds, 3) for frame in frames],
            key_frames=[frame.is_key for frame in frames],
            milliseconds=StageRecord(vision=round(newest.vision_ms, 3), **spent),
            age_ms=AgeRecord(at_first_token=first, at_last_token=last),
            dropped=dropped,
        )
        answer._kept = kept
        return answer


class StreamEvent(RecordPart):
    schema_name: Literal["stts.stream-event/1"] = "stts.stream-event/1"
    stream: str
    created: str
    steady_seconds: float = Field(default_factory=lambda: round(clock.now(), 3))
    """As in `StreamAnswer`."""
    state: str
    """One of `sources.state.State`."""
    reason: str


AnyAnswer = Answer | StreamAnswer

Record = StreamAnswer | StreamEvent


def now() -> str:
    """Wall-clock time as records have it."""
    return clock.wall().isoformat(timespec="milliseconds")
