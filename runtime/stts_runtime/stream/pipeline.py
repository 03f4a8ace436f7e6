"""Many streams on one engine: every round each stream has one look, and the one that waited longest one answer.

So a frame waits at most for one look of every stream and one answer, whatever the others do, and for one errand where
there are such: questions of others that use the same engines. Under overload live
sources hand on their freshest frame and the looks that were missed are counted; an answer that waits is about the
window as it is when its turn comes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from stts_runtime.errors import SinkError
from stts_runtime.records import AlertClip, Record, StreamEvent, now
from stts_runtime.sinks.open import Sink
from stts_runtime.sources.source import Status
from stts_runtime.stream.alerts import AlertFilter
from stts_runtime.stream.channel import Channel, Look
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
        self._sinks, self._metrics, self._alerts = sinks, metrics, alerts
        self._say = {sink.name: Seldom(tell) for of_stream in sinks.values() for sink in of_stream}
        self.lost: Counter[str] = Counter()
        """Records that a sink did not take, by its name."""

    def saw(self, channel: Channel, look: Look) -> None:
        """Sinks take words, and no pictures."""

    def said(self, record: Record) -> None:
        if self._alerts is not None and not self._alerts.passes(record):
            return
        for sink in self._sinks[record.stream]:
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


class Events:
    """Changes of state from the sources' threads, and clips from the one that writes them, for the pipeline's."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[StreamEvent | AlertClip] = queue.SimpleQueue()

    def of(self, stream: str, status: Status) -> None:
        self._waiting.put(StreamEvent(stream=stream, created=now(), state=status.state.value, reason=status.reason))

    def clip(self, record: AlertClip) -> None:
        self._waiting.put(record)

    def drain(self) -> list[StreamEvent | AlertClip]:
        events = []
        with suppress(queue.Empty):
            while True:
                events.append(self._waiting.get_nowait())
        return events


class BackgroundJobs(Protocol):
    """Work that others want done with the engines, in the pipeline's thread."""

    def run_one(self) -> bool:
        """Does what waited longest, and says whether there was anything."""
        ...

    def wait(self, seconds: float) -> None:
        """Until there is something to do, and no longer than that."""
        ...


class Pipeline:
    """Runs until every source is over, or until it is told to stop; with background_jobs, until it is told to."""

    def __init__(
        self,
        channels: Sequence[Channel],
        events: Events,
        listeners: Sequence[Listener],
        background_jobs: BackgroundJobs | None = None,
    ) -> None:
        self._channels, self._events, self._listeners = list(channels), events, list(listeners)
        self._background_jobs = background_jobs

    def run(self, stop: threading.Event) -> None:
        """Closes the sources whatever happens. What is being answered when `stop` is set is finished first."""
        try:
            while not stop.is_set() and self.step():
                pass
        finally:
            self.close()

    def close(self) -> None:
        """Closes the sources, and tells what is left to tell."""
        for channel in self._channels:
            channel.close()
        self._tell(self._events.drain())

    def step(self) -> bool:
        """One look each, one answer and one errand; whether there is anything left to do."""
        ended = self._background_jobs is None and all(channel.over for channel in self._channels)
        looked = [self._look(channel) for channel in self._channels]
        answered = self._answer()
        self._tell(self._events.drain())
        ran = self._background_jobs is not None and self._background_jobs.run_one()
        if any(looked) or answered or ran:
            return True
        if not ended:
            self._rest()
        return not ended

    def _rest(self) -> None:
        if self._background_jobs is not None:
            self._background_jobs.wait(_IDLE_SECONDS)
        else:
            time.sleep(_IDLE_SECONDS)

    def _look(self, channel: Channel) -> bool:
        look = channel.look()
        if look is None:
            return False
        for listener in self._listeners:
            listener.saw(channel, look)
        return True

    def _answer(self) -> bool:
        wanting = [channel for channel in self._channels if channel.wanted is not None]
        if not wanting:
            return False
        self._tell(min(wanting, key=lambda channel: channel.answered_seconds).answer())
        return True

    def _tell(self, records: Sequence[Record]) -> None:
        for record in records:
            for listener in self._listeners:
                listener.said(record)
