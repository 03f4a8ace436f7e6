"""One stream's turn: which frames are looked at, when an answer is due, and what it says of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stts_runtime import clock
from stts_runtime.answering import FREE, AnswerForm, Calls, Conversation, OnToken, Reply, go_on
from stts_runtime.errors import SinkError, SourceError
from stts_runtime.record_parts import AlertRecord
from stts_runtime.records import StreamAnswer
from stts_runtime.sources.source import Frame, Source
from stts_runtime.stream.alerts import Alarm
from stts_runtime.stream.orders import Orders
from stts_runtime.stream.standing import FRESH, Standing
from stts_runtime.stream.successor import Successor
from stts_runtime.stream.watcher import SeenFrame, StreamWindow, Watcher
from stts_runtime.stream.witness import Witness

ASKED = "asked"
"""The trigger of an answer that somebody wanted now."""

LATE = "late"
"""A frame that should have been looked at and was not, since something else took the time."""


@dataclass(frozen=True, eq=False)
class Look:
    """A frame that was looked at, while its picture is still there."""

    frame: Frame
    seen: SeenFrame


_PATIENCE_SECONDS = 5.0
"""Of answers without a deadline, beside those that have one."""


class Channel:
    """A source, its watcher and its gate. Used from the pipeline's thread alone."""

    def __init__(
        self,
        name: str,
        source: Source,
        watcher: Watcher,
        orders: Orders,
        standing: Standing = FRESH,
        witness: Witness | None = None,
    ) -> None:
        """`standing` is that of a channel in whose place this one comes. `witness` keeps what was to be seen at an
        alarm. Raises `PromptError` for a question that cannot be asked about a full window.
        """
        watcher.check_questions(orders.questions, orders.form, orders.max_tokens)
        self._alarms: dict[str, Alarm] = {}
        self.name, self.source, self.watcher = name, source, watcher
        self.ask_for(orders)
        for question, last in standing.alarms.items():
            if question in self._alarms:
                self._alarms[question].go_on(last)
        self.successor: Successor | None = None
        """Sees what is looked at here, until it takes over or is given up."""
        self._witness = witness
        self._frame: Frame | None = None
        """The newest that was looked at, where there is a witness."""
        self._due_seconds: float | None = None
        self._answered_seconds: float | None = None
        self._wanted: str | None = None
        self._wanted_since = 0.0
        """When the frame was captured for which an answer is due."""
        self.is_answering = False
        """Whether an answer of its own is under way."""
        self.answers = standing.answers
        """How many were given; the number of the last."""
        self._highest_novelty = 0.0
        self._dropped: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self.skipped = 0
        """Full windows about which the gate saw no reason to ask."""
        self.missed = 0
        """Answers that were due and left out, since their deadline was over before they could begin."""

    def ask_for(self, orders: Orders) -> None:
        """From the next look on. An answer that is due stays due, an alarm whose rule stays goes on."""
        before, rule = self._alarms, orders.alert
        self._orders = orders
        self._period = 1 / orders.frames_per_second
        self._alarms = {}
        for question in orders.questions if rule is not None else ():
            assert rule is not None
            alarm = before.get(question)
            self._alarms[question] = alarm if alarm is not None and alarm.rule == rule else Alarm(rule)

    def take_over(self) -> None:
        """The successor looks at this stream from now on, and answers with what it has seen."""
        assert self.successor is not None
        self.watcher, orders, self.successor = self.successor.watcher, self.successor.orders, None
        self.ask_for(orders)

    @property
    def questions(self) -> Sequence[str]:
        """For any thread."""
        return self._orders.questions

    @property
    def successor_is_ready(self) -> bool:
        """Whether there is one, and no answer has to wait for it."""
        return self.successor is not None and (self.over or self.successor.is_ready(self.watcher.ring))

    @property
    def asks_above(self) -> float | None:
        """The novelty above which an answer is due; None if it has no say."""
        return self._orders.gate.above

    @property
    def over(self) -> bool:
        return self.source.status.over

    def due_frame(self) -> Frame | None:
        """Takes the next frame that is to be looked at; None if there is none yet.

        A file waits for its answer; time that goes on without us does not.
        """
        if (self._wanted is not None or self.is_answering) and not self.source.live:
            return None
        while (frame := self.source.take(0.0)) is not None:
            if self._due_seconds is None or frame.seconds >= self._due_seconds:
                self._count_late(frame.seconds)
                return frame
        return None

    def looked(self, frame: Frame, seen: SeenFrame) -> Look:
        """Once it was looked at."""
        if self._witness is not None:
            self._frame = frame
        if self.successor is not None:
            self.successor.see(frame)
        self._decide(seen)
        return Look(frame, seen)

    @property
    def wanted(self) -> str | None:
        """Why an answer is due; None if none is, or one is being given."""
        if not self._orders.questions or self.is_answering:
            return None
        newest = self.watcher.ring.newest
        never_full = newest is not None and self._answered_seconds is None and not self.watcher.ring.is_full
        return "the source ended before a window was full" if self.over and never_full else self._wanted

    @property
    def newest_captured(self) -> float | None:
        """When the newest frame that was looked at was taken, on the clock of `clock.now`. For any thread."""
        newest = self.watcher.ring.newest
        return None if newest is None else newest.captured

    @property
    def waiting(self) -> int:
        """Questions that are due and not answered yet. For any thread."""
        return 0 if self.wanted is None else len(self._orders.questions)

    @property
    def answered_seconds(self) -> float:
        """Stream time of the newest frame of the last answer; -1 before the first."""
        return -1.0 if self._answered_seconds is None else self._answered_seconds

    @property
    def due_by(self) -> float:
        """When the first token of the answer that is due should be there, on the clock of `clock.now`: what no
        deadline was given for can wait for some seconds.
        """
        return self._wanted_since + min(self._orders.deadline, _PATIENCE_SECONDS)

    def give_up_late(self) -> None:
        """Forgets an answer whose deadline is over before it was begun; it is counted."""
        if self._wanted is not None and clock.now() > self._wanted_since + self._orders.deadline:
            self._wanted = None
            self.missed += 1

    def answering(self, conversation: Conversation) -> Calls[list[StreamAnswer]]:
        """Answers every question about the window as it is when it begins. Raises `ValueError` if no answer is due."""
        reason = self.wanted
        if reason is None:
            raise ValueError(f"no answer of {self.name} is due")
        window, highest, records = self.watcher.window(), self._highest_novelty, []
        # What comes from here on is for the next answer.
        self._answered_seconds, self._highest_novelty, self._wanted = window.newest.seconds, 0.0, None
        self.is_answering = True
        if self._witness is not None and self._frame is not None:
            self._witness.saw(self._frame, window.newest)
        try:
            prefix = window.prefilled(conversation)
            for question in self._orders.questions:
                reply = yield from conversation.asking(
                    prefix, question, self._orders.max_tokens, form=self._orders.form
                )
                self.answers += 1
                (alert, notes), dropped = self._judged(question, reply), self._newly_dropped()
                records.append(self._record(window, reply, reason, self.answers, dropped, highest, alert, notes))
            if self._witness is not None:
                self._witness.answered()
        finally:
            self.is_answering = False
        return records

    def close(self) -> None:
        """Closes the source; clips of alarms end with what it has sent."""
        self.source.close()
        if self._witness is not None:
            self._witness.finish()

    def check_questions(self, questions: Sequence[str], form: AnswerForm = FREE, max_tokens: int = 64) -> None:
        """Raises `PromptError` if one cannot be asked about a full window. For any thread."""
        self.watcher.check_questions(questions, form, max_tokens)

    def answering_now(
        self,
        conversation: Conversation,
        question: str,
        max_tokens: int,
        on_token: OnToken = go_on,
        form: AnswerForm = FREE,
    ) -> Calls[StreamAnswer]:
        """Answers somebody's question about the window as it is, however few frames it has; what is due stays due.

        Its `number` is 0: it is none of the stream's own answers. Raises `SourceError` if no frame has come yet.
        """
        if self.watcher.ring.newest is None:
            status = self.source.status
            raise SourceError(f"{self.name} has no picture yet: {status.state.value}, {status.reason}")
        window, novelty = self.watcher.window(), self._highest_novelty
        prefix = window.prefilled(conversation)
        reply = yield from conversation.asking(prefix, question, max_tokens, on_token, form)
        return self._record(window, reply, ASKED, 0, {}, novelty)

    def _judged(self, question: str, reply: Reply) -> tuple[AlertRecord | None, list[str]]:
        """With notes for the record."""
        alarm, scored = self._alarms.get(question), reply.choices
        if alarm is None or scored is None:
            return None, []
        alert = alarm.judge(dict(zip(scored.choices, scored.probabilities, strict=True)), clock.now())
        if alert.change != "raised" or self._witness is None:
            return alert, []
        try:
            return alert.model_copy(update={"snapshot": self._witness.raised(question, alert.number)}), []
        except SinkError as error:
            return alert, [f"no picture: {error}"]

    def _record(
        self,
        window: StreamWindow,
        reply: Reply,
        trigger: str,
        number: int,
        dropped: dict[str, int],
        novelty: float,
        alert: AlertRecord | None = None,
        notes: Sequence[str] = (),
    ) -> StreamAnswer:
        frames = window.frames
        return StreamAnswer.about(
            reply,
            window.kept,
            times_seconds=[frame.seconds for frame in frames],
            key_frames=[frame.is_key for frame in frames],
            scorer=self.watcher.scorer,
            captured=frames[-1].captured,
            vision_ms=frames[-1].vision_ms,
            novelty=novelty,
            notes=notes,
            stream=self.name,
            number=number,
            alert=alert,
            trigger=trigger,
            dropped=dropped,
            **self._orders.labels.of_answer([frame.captured for frame in frames]),
        )

    def _decide(self, seen: SeenFrame) -> None:
        """A reason stands until the answer is given, whatever comes after."""
        self._highest_novelty = max(self._highest_novelty, seen.novelty)
        if not self._orders.questions or not self.watcher.ring.is_full or self._wanted is not None:
            return
        if self._answered_seconds is None:
            self._wanted = "the first window"
        else:
            self._wanted = self._orders.gate.reason(self._highest_novelty, seen.seconds - self._answered_seconds)
            self.skipped += self._wanted is None
        self._wanted_since = seen.captured

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


def close_all(channels: Sequence[Channel]) -> None:
    """Closes them in the time that the slowest takes."""
    for channel in channels:
        channel.source.ask_to_close()
    for channel in channels:
        channel.close()
