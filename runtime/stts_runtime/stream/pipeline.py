"""Many streams on one pair of engines. A round is a look at the newest frames, the beginning of one answer, and a token
or more for every answer that is under way.

Frames that are there go through the vision engine together, and answers decode together; nothing waits for companions.
So a frame waits at most for one look at others and one window's prefill, and as long again for tokens. Who has to be
answered first begins first; questions of others, which use the same engines, have every second turn. Under overload
live sources hand on their freshest frame and the looks that were missed are counted; an answer that waits is about the
window as it is when its turn comes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from stts_runtime.answering import AnswerPool
from stts_runtime.errors import SinkError
from stts_runtime.records import AlertClip, Record, StreamEvent, now
from stts_runtime.service_manager import ServiceManager
from stts_runtime.sinks.open import Sink
from stts_runtime.sources.source import Frame, Status
from stts_runtime.stream.alerts import AlertFilter
from stts_runtime.stream.channel import Channel, Look, close_all
from stts_runtime.stream.orders import Labels
from stts_runtime.stream.watcher import see_together
from stts_runtime.tell import Seldom, Tell

if TYPE_CHECKING:
    from stts_runtime.stream.metrics import StreamMetrics


class Delivery:
    """Hands each stream's records to its sinks. One that fails takes nothing from the others."""

    def __init__(
        self,
        sinks: Mapping[str, Sequence[Sink]],
        tell: Tell,
        metrics: StreamMetrics | None,
        alerts: AlertFilter | None = None,
    ) -> None:
        """`sinks` by stream; `alerts` says which records they get, None: all."""
        self._tell, self._metrics = tell, metrics
        self._say: dict[str, Seldom] = {}
        self.lost: Counter[str] = Counter()
        """Records that a sink did not take, by its name."""
        self.route(sinks, alerts)

    def route(self, sinks: Mapping[str, Sequence[Sink]], alerts: AlertFilter | None) -> None:
        """As when it was made, from the next record on."""
        self._sinks, self._alerts = sinks, alerts
        names = {sink.name for of_stream in sinks.values() for sink in of_stream}
        self._say = {name: self._say.get(name) or Seldom(self._tell) for name in names}

    def saw(self, channel: Channel, look: Look) -> None:
        """Sinks take words, and no pictures."""

    def said(self, record: Record) -> None:
        if self._alerts is not None and not self._alerts.passes(record):
            return
        # A source that was taken out may say one thing more.
        for sink in self._sinks.get(record.stream, ()):
            self._write(sink, record)

    def _write(self, sink: Sink, record: Record) -> None:
        try:
            sink.write(record)
        except SinkError as error:
            self._say[sink.name](f"{sink.name}: a record was lost: {error}")
            self.lost[sink.name] += 1
            if self._metrics is not None:
                self._metrics.lost(sink.name)


_IDLE_SECONDS = 0.02
"""Between two rounds in which no stream had a frame."""


class Listener(Protocol):
    """Who is told what happens, in the pipeline's thread: sinks, metrics, previews."""

    def saw(self, channel: Channel, look: Look) -> None: ...

    def said(self, record: Record) -> None: ...


class Beats:
    """A listener: with many streams a round takes long, and the engines are alive all the same."""

    def __init__(self, manager: ServiceManager) -> None:
        self._manager = manager

    def saw(self, channel: Channel, look: Look) -> None:  # noqa: ARG002  # whatever it is, it came
        self._manager.beat()

    def said(self, record: Record) -> None:  # noqa: ARG002
        self._manager.beat()


class Events:
    """Changes of state from the sources' threads, and clips from the one that writes them, for the pipeline's."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[StreamEvent | AlertClip] = queue.SimpleQueue()

    def of(self, stream: str, status: Status, labels: Labels = Labels()) -> None:  # noqa: B008  # it is frozen
        state, reason = status.state.value, status.reason
        event = StreamEvent(stream=stream, created=now(), state=state, reason=reason, **labels.of_event())
        self._waiting.put(event)

    def clip(self, record: AlertClip) -> None:
        self._waiting.put(record)

    def drain(self) -> list[StreamEvent | AlertClip]:
        events = []
        with suppress(queue.Empty):
            while True:
                events.append(self._waiting.get_nowait())
        return events


class BackgroundJobs(Protocol):
    """Questions of others that want the engines, in the pipeline's thread."""

    def begin_one(self, answers: AnswerPool) -> bool:
        """Begins what waited longest, and says whether there was anything. There is room for it."""
        ...

    def passed(self) -> None:
        """Once a round, also where there is no room."""
        ...

    def wait(self, seconds: float) -> None:
        """Until there is something to do, and no longer than that."""
        ...


def nobody(_: str, __: int) -> None:
    """Where batches are not counted."""


_LOOKS_A_ROUND = 8
"""At the most: answers that are under way wait for them."""

_TOKENS_IN_A_HURRY = 2
"""Of each answer, in a round in which more frames wait than were looked at."""


class Pipeline:
    """Runs until every source is over, or until it is told to stop; with background_jobs, until it is told to."""

    def __init__(
        self,
        channels: Sequence[Channel],
        events: Events,
        listeners: Sequence[Listener],
        background_jobs: BackgroundJobs | None = None,
        answers: AnswerPool | None = None,
        on_batch: Callable[[str, int], None] = nobody,
    ) -> None:
        """`answers` are those of the channels' engines, which need not be given where there are channels. `on_batch`
        hears how many `looks` and `answers` went together.
        """
        self._events, self._listeners = events, list(listeners)
        self.channels = list(channels)
        """May be changed between two rounds."""
        self._background_jobs, self._on_batch = background_jobs, on_batch
        self.answers = answers or channels[0].watcher.engines.answers
        """Also between two rounds, with nothing under way."""
        self._first, self._others_turn = 0, False

    def run(self, stop: threading.Event, between: Callable[[], bool] = lambda: False) -> None:
        """Closes the sources whatever happens. What is being answered when `stop` is set is finished first.

        `between` is called between two rounds, and says whether there is more to come than the streams that there are.
        """
        try:
            while not stop.is_set():
                going_on = self.step()
                if not (between() or going_on):
                    break
                if not going_on:
                    self._rest()
            self.answers.finish()
        finally:
            self.close()

    def close(self) -> None:
        """Closes the sources, and tells what is left to tell."""
        close_all(self.channels)
        self.tell(self._events.drain())

    def step(self) -> bool:
        """One round; whether there is anything left to do."""
        ended = self._background_jobs is None and all(channel.over for channel in self.channels)
        began = time.perf_counter()
        looks = self._look()
        worked = [looks > 0, self._begin()]
        # A full round of looks: more frames wait.
        hurry = looks == _LOOKS_A_ROUND
        worked.append(self._decode(time.perf_counter() - began, hurry))
        self.tell(self._events.drain())
        if any(worked):
            return True
        if not ended:
            self._rest()
        return not ended

    def _rest(self) -> None:
        if self._background_jobs is not None:
            self._background_jobs.wait(_IDLE_SECONDS)
        else:
            time.sleep(_IDLE_SECONDS)

    def _look(self) -> int:
        """At the newest frames of streams that have one, some at once, beginning after those of the last round; at how
        many.
        """
        due: list[tuple[Channel, Frame]] = []
        for _ in self.channels:
            channel = self.channels[self._first % len(self.channels)]
            self._first += 1
            if (frame := channel.due_frame()) is not None:
                due.append((channel, frame))
            if len(due) == _LOOKS_A_ROUND:
                break
        if not due:
            return 0
        self._on_batch("looks", len(due))
        seen = see_together([(channel.watcher, frame) for channel, frame in due])
        for (channel, frame), one in zip(due, seen, strict=True):
            look = channel.looked(frame, one)
            for listener in self._listeners:
                listener.saw(channel, look)
        return len(due)

    def _begin(self) -> bool:
        """One answer, if there is room: of a stream and of somebody who asked by turns."""
        if self._background_jobs is not None:
            self._background_jobs.passed()
        for channel in self.channels:
            channel.give_up_late()
        if not self.answers.has_room:
            return False
        if self._others_turn:
            return self._begin_other() or self._begin_stream()
        return self._begin_stream() or self._begin_other()

    def _begin_stream(self) -> bool:
        wanting = [channel for channel in self.channels if channel.wanted is not None]
        if not wanting:
            return False
        first = min(wanting, key=lambda channel: (channel.due_by, channel.answered_seconds))
        self._others_turn = True
        self.answers.begin(first.answering, self.tell)
        return True

    def _begin_other(self) -> bool:
        self._others_turn = False
        return self._background_jobs is not None and self._background_jobs.begin_one(self.answers)

    def _decode(self, seconds: float, hurry: bool) -> bool:
        """A token more for every answer, and for as long as the round took so far: where a look takes as long as many
        tokens, answers would hardly get on otherwise.

        In a hurry, and with room for another answer, few tokens are enough: the longer answers take, the more of them
        decode together, and that is what leaves time for frames.
        """
        until = time.perf_counter() + seconds
        taken = 0
        while count := self.answers.step():
            self._on_batch("answers", count)
            taken += 1
            enough = taken >= _TOKENS_IN_A_HURRY and hurry and self.answers.has_room
            if enough or time.perf_counter() >= until:
                break
        return taken > 0

    def tell(self, records: Sequence[Record]) -> None:
        """Every listener, of records that are not from here."""
        for record in records:
            for listener in self._listeners:
                listener.said(record)
