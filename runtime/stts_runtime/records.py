"""Records: answers about clips and streams with everything that they cost, and a stream's changes of state.

Each is one line of JSON. What was looked at is kept with an answer, but is not part of its JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, SerializerFunctionWrapHandler, model_serializer

from stts_runtime import clock
from stts_runtime.answering.reply import Finish, Reply
from stts_runtime.bundle.manifest import Scorer, ScorerName
from stts_runtime.errors import UserError
from stts_runtime.overlay import Pictured, in_words
from stts_runtime.point_records import PointRecord, pointed_at
from stts_runtime.record_parts import (
    AlertFile,
    AlertRecord,
    BundleRecord,
    ChoiceRecord,
    RecordPart,
    SchemaRecord,
    TokenLogprobRecord,
)
from stts_runtime.video import Window


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
    cached: int = 0
    """Prompt tokens that were in the language model's cache from an earlier question. JSON has it where the
    question follows turns; else the window was there, which `reused_prefix` says, or nothing.
    """
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


class ScorerRecord(RecordPart):
    """What chose the groups that were kept."""

    kind: ScorerName
    trained: bool
    """Whether it has weights that were trained for it."""

    @classmethod
    def of(cls, scorer: Scorer | None) -> ScorerRecord | None:
        return None if scorer is None else cls(kind=scorer.kind, trained=scorer.trained)


class AnswerRecord(RecordPart):
    """What all answers have in common. Each kind lists its fields in the order of its JSON."""

    _kept: NDArray[np.bool_] | None = PrivateAttr(None)
    _only_shares_the_window: bool = PrivateAttr(False)

    @property
    def only_shares_the_window(self) -> bool:
        """Whether it is one answer of several about a window, and no part of a conversation."""
        return self._only_shares_the_window

    @model_serializer(mode="wrap")
    def _as_first_readers_know_it(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Their records have several questions about one window, and no other word for it than `reused_prefix`."""
        fields = self._without_defaults(whole)
        if self._only_shares_the_window:
            fields.pop("reused_vision", None)
            if "tokens" in fields:
                fields["tokens"].pop("cached", None)
        return fields

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(T, G): which groups of patches were kept, row by row of each frame.

        Raises `UserError` for an answer that was read from JSON, which has only their numbers.
        """
        if self._kept is None:
            raise UserError("this answer was read from a file, which has only `kept_per_frame`; ask again for the rest")
        return self._kept

    @staticmethod
    def _common(reply: Reply, kept: NDArray[np.bool_], scorer: Scorer | None) -> dict[str, Any]:
        """Fields that all answers have, for a reply about a window of which `kept` (T, G) was kept by `scorer`."""
        tokens = TokenRecord(
            visual_in=kept.size,
            visual_kept=int(kept.sum()),
            prompt=reply.prompt_tokens,
            cached=reply.cached_tokens,
            generated=len(reply.generation.ids),
        )
        logprobs = reply.logprobs
        is_untrained = scorer is not None and not scorer.trained and not kept.all()
        return {
            "choices": reply.choices and ChoiceRecord.of(reply.choices),
            "logprobs": None if logprobs is None else [TokenLogprobRecord.of(one) for one in logprobs],
            "structured": reply.schema and SchemaRecord.of(reply.schema, len(reply.generation.ids)),
            "question": reply.question,
            "answer": reply.text,
            "finish": reply.finish,
            "scorer": ScorerRecord.of(scorer) if is_untrained else None,
            "kept_per_frame": kept.sum(axis=1).tolist(),
            "tokens": tokens,
        }


class Answer(AnswerRecord, Pictured):
    """About a clip or a picture."""

    schema_name: Literal["stts.answer/1"] = "stts.answer/1"
    source: str
    window: WindowRecord
    question: str
    answer: str
    finish: Finish
    choices: ChoiceRecord | None = None
    logprobs: list[TokenLogprobRecord] | None = None
    structured: SchemaRecord | None = None
    variant: str
    keep: float
    budget: str
    scorer: ScorerRecord | None = None
    """What chose the groups that were kept, if no trained scorer did; None, too, where all were kept, or a control was
    told which."""
    kept_per_frame: list[int]
    tokens: TokenRecord
    milliseconds: MillisecondRecord
    reused_vision: bool = False
    """The visual tokens were computed for an earlier question. JSON leaves it out where `reused_prefix` says so."""
    reused_prefix: bool
    """The video was prefilled for an earlier question about the same window."""
    notes: list[str]
    points: list[PointRecord] = Field(default=[])
    """What the answer points to, in the order of its text."""
    count: int | None = None
    """How many things it points to, as it says itself where it does; None where it does not point at all."""

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
        scorer: Scorer | None,
        watching: Mapping[str, float],
        notes: Sequence[str],
        reused_vision: bool = False,
    ) -> Answer:
        """`watching` are the milliseconds that were spent for this question before the prefill."""
        pointed = pointed_at(reply.text, window.times_seconds.tolist())
        answer = cls(
            **cls._common(reply, kept, scorer),
            source=window.source,
            window=WindowRecord(
                frames=len(window.frames),
                times_seconds=[round(time, 3) for time in window.times_seconds.tolist()],
                duration_seconds=round(window.duration_seconds, 3),
            ),
            variant=variant,
            keep=keep,
            budget=budget,
            milliseconds=MillisecondRecord.of({**watching, **reply.milliseconds}),
            reused_vision=reused_vision,
            reused_prefix=reply.reused_prefix,
            notes=[*notes, *pointed.notes],
            points=pointed.points,
            count=pointed.count,
        )
        answer._kept, answer._window = kept, window
        answer._only_shares_the_window = reply.only_shares_the_window
        return answer

    @property
    def seen(self) -> Window:
        """The frames that were looked at, in memory for as long as the answer is. Raises `UserError` as `kept` does."""
        if self._window is None:
            raise UserError("this answer was read from a file, which has no frames; ask again for them")
        return self._window

    def _looked_at(self) -> tuple[Window, NDArray[np.bool_], str]:
        return self.seen, self.kept, in_words(self.variant, trained=self.scorer is None or self.scorer.trained)

    def _pointed_at(self) -> Sequence[PointRecord]:
        return self.points


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
    """Counts the answers of this stream from 1, without gaps: who gets them sees what is missing. 0: somebody asked.
    Who gets alerts alone sees it by `alert.number`."""
    created: str
    """Wall-clock time in UTC, ISO 8601 with milliseconds; it jumps when the clock is set."""
    steady_seconds: float = Field(default_factory=lambda: round(clock.now(), 3))
    """The same moment on the clock of `clock.now`: what to subtract from one another."""
    question: str
    answer: str
    finish: Finish
    choices: ChoiceRecord | None = None
    logprobs: list[TokenLogprobRecord] | None = None
    structured: SchemaRecord | None = None
    alert: AlertRecord | None = None
    trigger: str
    """Why now: `novelty 0.41 > 0.3`, `nothing new for 6.0 s`, `no condition`, `the first window`, `asked`, or that the
    source ended before a window was full."""
    novelty: float
    """Highest of the frames since the last answer."""
    times_seconds: list[float]
    """Times of the window's frames, on the stream's own time line."""
    key_frames: list[bool]
    scorer: ScorerRecord | None = None
    """As in `Answer`."""
    kept_per_frame: list[int]
    tokens: TokenRecord
    milliseconds: StageRecord
    age_ms: AgeRecord
    dropped: dict[str, int]
    """Frames not looked at since the last answer, by cause."""
    points: list[PointRecord] = Field(default=[])
    """As in `Answer`, as the next; `seconds` are on the stream's own time line."""
    count: int | None = None
    notes: list[str] = Field(default=[])
    site: str | None = None
    """Where the stream and the machine are, if their configuration says."""
    host: str | None = None
    clock_times: list[str] | None = None
    """When each frame of the window was captured, as `created` has it; None unless the configuration wants them."""

    @classmethod
    def about(
        cls,
        reply: Reply,
        kept: NDArray[np.bool_],
        *,
        times_seconds: Sequence[float],
        key_frames: Sequence[bool],
        scorer: Scorer | None,
        captured: float,
        vision_ms: float,
        novelty: float,
        notes: Sequence[str] = (),
        **rest: Any,
    ) -> StreamAnswer:
        """About a window of which `kept` (T, G) was kept. `captured`, on the clock of `clock.now`, and `vision_ms`
        are those of its newest frame; `rest` are `stream`, `number`, `alert`, `trigger`, `dropped` and labels.
        """
        moments = reply.generation.first_token_at, reply.generation.last_token_at
        first, last = (round((moment - captured) * 1000, 1) for moment in moments)
        spent = {name: round(value, 3) for name, value in reply.milliseconds.items()}
        pointed = pointed_at(reply.text, times_seconds, begins=times_seconds[0])
        answer = cls(
            **cls._common(reply, kept, scorer),
            created=now(),
            novelty=round(novelty, 4),
            times_seconds=[round(seconds, 3) for seconds in times_seconds],
            key_frames=list(key_frames),
            milliseconds=StageRecord(vision=round(vision_ms, 3), **spent),
            age_ms=AgeRecord(at_first_token=first, at_last_token=last),
            points=pointed.points,
            count=pointed.count,
            notes=[*pointed.notes, *notes],
            **rest,
        )
        answer._kept, answer._only_shares_the_window = kept, reply.only_shares_the_window
        return answer


class StreamEvent(RecordPart):
    schema_name: Literal["stts.stream-event/1"] = "stts.stream-event/1"
    stream: str
    created: str
    steady_seconds: float = Field(default_factory=lambda: round(clock.now(), 3))
    """As in `StreamAnswer`."""
    state: str
    """One of `sources.source.State`."""
    reason: str
    bundle: BundleRecord | None = None
    """What answers from now on, where that changed."""
    site: str | None = None
    """As in `StreamAnswer`, as the next."""
    host: str | None = None


class AlertClip(RecordPart):
    """The clip of an alarm, when the seconds after it have passed."""

    schema_name: Literal["stts.alert-clip/1"] = "stts.alert-clip/1"
    stream: str
    created: str
    steady_seconds: float = Field(default_factory=lambda: round(clock.now(), 3))
    """As in `StreamAnswer`."""
    question: str
    number: int
    """Number of the alarm: `alert.number` of the answer that raised it."""
    clip: AlertFile | None
    """None where there is none; `reason` says why."""
    before: float
    """Seconds of it before the frame that the answer is about: from a key frame on, so often some more than asked."""
    after: float
    reason: str | None = None


AnyAnswer = Answer | StreamAnswer

Record = StreamAnswer | StreamEvent | AlertClip


def is_alert(record: Record) -> bool:
    """Whether it raises or clears an alarm, or is the clip of one."""
    if isinstance(record, StreamAnswer):
        return record.alert is not None and record.alert.change is not None
    return isinstance(record, AlertClip)


def by_the_clock(moment: float) -> str:
    """A moment on the clock of `clock.now`, as `created` has it."""
    return (clock.wall() - timedelta(seconds=clock.now() - moment)).isoformat(timespec="milliseconds")


def now() -> str:
    """Wall-clock time as records have it."""
    return clock.wall().isoformat(timespec="milliseconds")
