"""The streams as they run, and how they become others between two rounds of the pipeline.

Everything here happens in the pipeline's thread, but for `apply`, which waits for it, and for sources that are closed
and opened in a thread of their own, since that may take seconds.
"""

from __future__ import annotations

import gc
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from stts_runtime.errors import EngineError, SourceError
from stts_runtime.record_parts import BundleRecord
from stts_runtime.records import StreamEvent, now
from stts_runtime.sinks.config import SinkConfig
from stts_runtime.sinks.open import Sink
from stts_runtime.sources.source import State
from stts_runtime.stream.assemble import Observer, Relay, open_channel
from stts_runtime.stream.change import Change, Difference
from stts_runtime.stream.channel import Channel, close_all
from stts_runtime.stream.config import Cameras
from stts_runtime.stream.loaded import LoadedBundle
from stts_runtime.stream.pipeline import Pipeline
from stts_runtime.stream.plan import StreamPlan
from stts_runtime.stream.standing import FRESH, Standing
from stts_runtime.stream.successor import Successor
from stts_runtime.stream.watcher import Watcher
from stts_runtime.stream.witness import Archive
from stts_runtime.tell import Tell, tell_event


class Router(Protocol):
    """Who hears what of which stream; `Outlets` is one."""

    def route(self, config: Cameras, fresh: Mapping[SinkConfig, Sink]) -> None: ...


@dataclass
class _Stream:
    plan: StreamPlan
    channel: Channel
    relay: Relay


@dataclass(frozen=True)
class _Pending:
    """A change whose bundle sees what the one before sees, until it can answer as well."""

    change: Change
    difference: Difference
    done: Future[str]


class RunningStreams:
    """All streams of a pipeline, on the engines of one bundle."""

    def __init__(
        self,
        loaded: LoadedBundle,
        plans: Sequence[StreamPlan],
        outlets: Router,
        new_relay: Callable[[StreamPlan], Relay],
        observers: Sequence[Observer],
        tell: Tell,
        archive: Archive | None = None,
    ) -> None:
        """Opens the sources; what was opened is closed if one fails. Raises `SourceError`."""
        self.loaded, self._outlets, self._new_relay, self._archive = loaded, outlets, new_relay, archive
        self.observers, self._tell = list(observers), tell
        """Who joins later hears of what comes later."""
        self._streams: dict[str, _Stream] = {}
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._opening = 0
        self._asked: tuple[Change, Future[str]] | None = None
        """What begins once all streams are there that are being opened."""
        self._pending: _Pending | None = None
        self._pipeline: Pipeline | None = None
        try:
            for plan in plans:
                self._take_in(self._opened(plan, FRESH))
        except BaseException:
            close_all(self.channels)
            raise

    @property
    def channels(self) -> list[Channel]:
        """For any thread."""
        return [one.channel for one in list(self._streams.values())]

    @property
    def plans(self) -> dict[str, StreamPlan]:
        """By name. For any thread."""
        return {name: one.plan for name, one in list(self._streams.items())}

    def join(self, pipeline: Pipeline) -> None:
        """Before it runs."""
        self._pipeline = pipeline

    def between(self) -> bool:
        """Between two rounds: whether there are streams to come."""
        with suppress(queue.Empty):
            while True:
                self._inbox.get_nowait()()
        if self._asked is not None and not self._opening:
            asked, self._asked = self._asked, None
            self._begin(*asked)
        self._look_at_pending()
        return self._opening > 0 or self._asked is not None or self._pending is not None

    def apply(self, change: Change, stop: threading.Event) -> str | None:
        """From another thread; returns what became of the streams, in words, once the change holds.

        Raises `SttsError` if it cannot; everything is as before then. None once `stop` is set before.
        """
        done: Future[str] = Future()
        self._inbox.put(lambda: setattr(self, "_asked", (change, done)))
        while not stop.is_set():
            # Python 3.10 has two of that name.
            with suppress(futures.TimeoutError):
                return done.result(0.2)
        return done.result() if done.done() else None

    def _begin(self, change: Change, done: Future[str]) -> None:
        new_engines = change.loaded is not None
        difference = Difference.between(self.plans, change.plans, new_engines=new_engines)
        self._pending = _Pending(change, difference, done)
        if change.loaded is not None:
            for plan in difference.stays:
                watcher = Watcher(change.loaded.engines, plan.frames, plan.keys)
                self._streams[plan.name].channel.successor = Successor(watcher, plan.orders)

    def _look_at_pending(self) -> None:
        if self._pending is None:
            return
        waiting = [channel for channel in self.channels if channel.successor is not None]
        failed = [(one.name, one.successor.error) for one in waiting if one.successor and one.successor.error]
        if failed:
            self._give_up(*failed[0])
        elif all(channel.successor_is_ready for channel in waiting):
            pending, self._pending = self._pending, None
            self._commit(pending.change, pending.difference)
            pending.done.set_result(str(pending.difference))

    def _give_up(self, stream: str, error: Exception) -> None:
        assert self._pending is not None
        pending, self._pending = self._pending, None
        for channel in self.channels:
            channel.successor = None
        pending.done.set_exception(EngineError(f"{pending.change.loaded} fails on {stream}: {error}"))

    def _commit(self, change: Change, difference: Difference) -> None:
        self._let_finish(difference, new_engines=change.loaded is not None)
        before, self.loaded = self.loaded, change.loaded or self.loaded
        if self._pipeline is not None:
            self._pipeline.answers = self.loaded.engines.answers
        for plan in difference.stays:
            self._go_on(plan, new_engines=change.loaded is not None)
        for name in difference.removed:
            self._end(name, change.leaving.get(name, "taken out of the configuration"))
        ended = {
            plan.name: self._end(plan.name, "restarted, as its configuration changed") for plan in difference.restarted
        }
        self._outlets.route(change.config, change.sinks)
        for plan in (*difference.restarted, *difference.added):
            channel = ended.get(plan.name)
            standing = change.standings.get(plan.name, FRESH) if channel is None else Standing(channel.answers)
            self._open(plan, channel, standing)
        if change.loaded is not None:
            text = f"{self.loaded} answers from now on, in place of {before}"
            tell_event(self._tell, "info", text, **self.loaded.labels)
            del before
            gc.collect()

    def _go_on(self, plan: StreamPlan, *, new_engines: bool) -> None:
        """Its source is not touched."""
        stream = self._streams[plan.name]
        before, stream.plan, stream.relay.labels = stream.plan, plan, plan.labels
        if new_engines:
            stream.channel.take_over()
            self._say_who_answers(stream.channel, plan)
        elif before != plan:
            stream.channel.ask_for(plan.orders)
        if before != plan:
            for observer in self.observers:
                observer.changed(stream.channel, plan)

    def _let_finish(self, difference: Difference, *, new_engines: bool) -> None:
        """Answers that are under way on engines that go, or of streams that change; the others wait for that."""
        answers = self.loaded.engines.answers
        if new_engines:
            answers.finish()
        names = [*difference.removed, *(plan.name for plan in (*difference.restarted, *difference.asked_anew))]
        changing = [self._streams[name].channel for name in names]
        while any(channel.is_answering for channel in changing) and answers.step():
            pass

    def _end(self, name: str, why: str) -> Channel:
        """The channel, which is still to be closed."""
        stream = self._streams.pop(name)
        stream.relay.muted = True
        self._say(stream.plan, State.ENDED.value, why)
        for observer in self.observers:
            observer.removed(name)
        self._tell_pipeline()
        threading.Thread(target=stream.channel.close, name="stts-close", daemon=True).start()
        return stream.channel

    def _open(self, plan: StreamPlan, ended: Channel | None, standing: Standing) -> None:
        """In a thread of its own: a camera that lets in one at a time has to be left before it is asked again."""
        self._opening += 1

        def work() -> None:
            if ended is not None:
                ended.close()
            try:
                stream = self._opened(plan, standing)
            except SourceError as error:
                reason = str(error)
                self._inbox.put(lambda: self._refused(plan, reason))
            else:
                self._inbox.put(lambda: self._joined(stream))

        threading.Thread(target=work, name="stts-open", daemon=True).start()

    def _opened(self, plan: StreamPlan, standing: Standing) -> _Stream:
        relay = self._new_relay(plan)
        return _Stream(plan, open_channel(plan, self.loaded.engines, relay, standing, self._archive), relay)

    def _take_in(self, stream: _Stream) -> None:
        self._streams[stream.plan.name] = stream
        for observer in self.observers:
            observer.added(stream.channel, stream.plan)

    def _joined(self, stream: _Stream) -> None:
        self._opening -= 1
        self._take_in(stream)
        self._tell_pipeline()

    def _refused(self, plan: StreamPlan, reason: str) -> None:
        self._opening -= 1
        self._say(plan, State.REFUSED.value, reason)
        self._tell(f"error: {reason}")

    def _tell_pipeline(self) -> None:
        if self._pipeline is not None:
            self._pipeline.channels = self.channels

    def _say_who_answers(self, channel: Channel, plan: StreamPlan) -> None:
        status, bundle = channel.source.status, self.loaded.bundle
        record = BundleRecord(
            identity=bundle.identity, folder=bundle.folder.resolve().name, from_number=channel.answers + 1
        )
        self._say(plan, status.state.value, status.reason, record)

    def _say(self, plan: StreamPlan, state: str, reason: str, bundle: BundleRecord | None = None) -> None:
        assert self._pipeline is not None
        event = StreamEvent(
            stream=plan.name,
            created=now(),
            state=state,
            reason=reason,
            bundle=bundle,
            **plan.labels.of_event(),
        )
        self._pipeline.tell([event])
