"""One stream's turn: which frames are looked at, when an answer is due, and what it says of both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stts_runtime import clock
from stts_runtime.answering import FREE, AnswerForm, OnToken, Reply, go_on
from stts_runtime.errors import SourceError, UserError
from stts_runtime.record_parts import AlertRecord
from stts_runtime.records import StreamAnswer
from stts_runtime.sources.source import Frame, Source
from stts_runtime.stream.alerts import Alarm, AlertRule
from stts_runtime.stream.watcher import SeenFrame, Watcher

ASKED = "asked"
"""The trigger of an answer that somebody wanted now."""

LATE = "late"
"""A frame that should have been looked at and was not, since something else took the time."""


@dataclass(frozen=True)
class Gate:
    """When the language model is asked. Without `above`, whenever the shortest pause is over."""

    above: float | None = None
    shortest_pause: float = 0.0
    """Seconds between two answers, however much happens."""
    longest_pause: float = math.inf
    """Seconds after which an answer comes though nothing happened."""

    def __post_init__(self) -> None:
        if not 0 <= self.shortest_pause <= self.longest_pause:
            raise UserError(
                f"the shortest pause ({self.shortest_pause:g} s) must be at least 0 and at most the longest "
                f"({self.longest_pause:g} s)"
            )

    def reason(self, newest: float, pause: float) -> str | None:
        """Why to ask now, with the highest novelty and the seconds since the last answer; None: not now."""
        if pause < self.shortest_pause:
            return None
        if self.above is None:
            return "no condition"
        if newest > self.above:
            return f"novelty {newest:.2f} > {self.above:g}"
        return f"nothing new for {pause:.1f} s" if pause >= self.longest_pause else None


@dataclass(frozen=True, eq=False)
class Look:
    """A frame that was looked at, while its picture is still there."""

    frame: Frame
    seen: SeenFrame


@dataclass(frozen=True)
class Orders:
    """What a stream is asked for. Without questions it is looked at all the same."""

    questions: Sequence[str]
    gate: Gate
    max_tokens: int
    frames_per_second: float
    form: AnswerForm = FREE
    alert: AlertRule | None = None


class Channel:
    """A source, its watcher and its gate. Used from the pipeline's thread alone."""

    def __init__(self, name: str, source: Source, watcher: Watcher, orders: Orders) -> None:
        """Raises `PromptError` for a question that cannot be asked about a full window."""
        watcher.check_questions(orders.questions, orders.form, orders.max_tokens)
        rule = orders.alert
        self._alarms = {} if rule is None else {question: Alarm(rule) for question in orders.questions}
        self.name, self.source, self._watcher, self._orders = name, source, watcher, orders
        self._period = 1 / orders.frames_per_second
        self._due_seconds: float | None = None
        self._answered_seconds: float | None = None
        self._wanted: str | None = None
        self._answers = 0
        self._highest_novelty = 0.0
        self._dropped: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self.skipped = 0
        """Full windows about which the gate saw no reason to ask."""

    @property
    def asks_above(self) -> float | None:
        """The novelty above which an answer is due; None if it has no say."""
        return self._orders.gate.above

    @property
    def over(self) -> bool:
        return self.source.status.over

    def look(self) -> Look | None:
        """Takes the next frame that is due through the vision engine; None if there is none yet.

        A file waits for its answer; time that goes on without us does not.
        """
        if self._wanted is not None and not self.source.live:
            return None
        while (frame := self.source.take(0.0)) is not None:
            if self._due_seconds is None or frame.seconds >= self._due_seconds:
                self._count_late(frame.seconds)
                seen = self._watcher.see(frame)
                self._decide(seen)
                return Look(frame, seen)
        return None

    @property
    def wanted(self) -> str | None:
        """Why an answer is due; None if none is."""
        if not self._orders.questions:
            return None
        newest = self._watcher.ring.newest
        never_full = newest is not None and self._answered_seconds is None and not self._watcher.ring.is_full
        return "the source ended before a window was full" if self.over and never_full else self._wanted

    @property
    def answered_seconds(self) -> float:
        """Stream time of the newest frame of the last answer; -1 before the first."""
        return -1.0 if self._answered_seconds is None else self._answered_seconds

    def answer(self) -> list[StreamAnswer]:
        """Answers every question about the window as it is now. Raises `ValueError` if no answer is due."""
        reason = self.wanted
        if reason is None:
            raise ValueError(f"no answer of {self.name} is due")
        prefix, records = self._watcher.watch(), []
        for question in self._orders.questions:
            reply = self._watcher.ask(prefix, question, self._orders.max_tokens, form=self._orders.form)
            self._answers += 1
            alert = self._judged(question, reply)
            records.append(self._record(reply, reason, self._answers, self._newly_dropped(), alert))
        newest = self._watcher.ring.newest
        assert newest is not None
        self._answered_seconds, self._highest_novelty, self._wanted = newest.seconds, 0.0, None
        return records

    def check_questions(self, questions: Sequence[str], form: AnswerForm = FREE, max_tokens: int = 64) -> None:
        """Raises `PromptError` if one cannot be asked about a full window. For any thread."""
        self._watcher.check_questions(questions, form, max_tokens)

    def answer_now(
        self, question: str, max_tokens: int, on_token: OnToken = go_on, form: AnswerForm = FREE
    ) -> StreamAnswer:
        """Answers somebody's question about the window as it is, however few frames it has; what is due stays due.

        Its `number` is 0: it is none of the stream's own answers. Raises `SourceError` if no frame has come yet.
        """
        if self._watcher.ring.newest is None:
            status = self.source.status
            raise SourceError(f"{self.name} has no picture yet: {status.state.value}, {status.reason}")
        reply = self._watcher.ask(self._watcher.watch(), question, max_tokens, on_token, form)
        return self._record(reply, ASKED, 0, {})

    def _judged(self, question: str, reply: Reply) -> AlertRecord | None:
        alarm, scored = self._alarms.get(question), reply.choices
        if alarm is None or scored is None:
            return None
        return alarm.judge(dict(zip(scored.choices, scored.probabilities, strict=True)), clock.now())

    def _record(
        self, reply: Reply, trigger: str, number: int, dropped: dict[str, int], alert: AlertRecord | None = None
    ) -> StreamAnswer:
        ring = self._watcher.ring
        frames = ring.frames
        return StreamAnswer.about(
            reply,
            ring.kept,
            times_seconds=[frame.seconds for frame in frames],
            key_frames=[frame.is_key for frame in frames],
            scorer=self._watcher.scorer,
            captured=frames[-1].captured,
            vision_ms=frames[-1].vision_ms,
            novelty=self._highest_novelty,
            stream=self.name,
            number=number,
            alert=alert,
            trigger=trigger,
            dropped=dropped,
        )

    def _decide(self, seen: SeenFrame) -> None:
        """A reason stands until the answer is given, whatever comes after."""
        self._highest_novelty = max(self._highest_novelty, seen.novelty)
        if not self._orders.questions or not self._watcher.ring.is_full or self._wanted is not None:
            return
        if self._answered_seconds is None:
            self._wanted = "the first window"
            return
        self._wanted = self._orders.gate.reason(self._highest_novelty, seen.seconds - self._answered_seconds)
        self.skipped += self._wanted is None

    def _count_late(self, seconds: float) -> None:
        """Looks are due at whole periods; a frame that comes a little after its moment is none the worse."""
        due = seconds if self._due_seconds is None else self._due_seconds
        missed = int((seconds - due) / self._period) if self.source.live else 0
        self._dropped[LATE] += missed
        self._due_seconds = max(due + (missed + 1) * self._period, seconds)

    def _newly_dropped(self) -> dict[str, int]:
        """Since the last record. What the source calls late was not wanted: it shows more frames than are due."""
        total = Counter({cause: count for cause, count in self.source.drops.items() if cause != LATE}) + self._dropped
        new = total - self._told
        self._told = total
        return dict(new)
