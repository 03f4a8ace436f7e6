"""What runs streams on one GPU, or on a machine without one: engines, sources, and what they said until it was taken.

It is told what to do from elsewhere, by plain calls, and knows neither Ray nor the other boxes. Who gave the orders
takes what it says all the time; if nobody has come for so long that its streams were given to others, it ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from stts_runtime import clock
from stts_runtime.answering import Calls, Conversation, OnToken, go_on
from stts_runtime.errors import SttsError, UserError
from stts_runtime.fleet.bearing import bears
from stts_runtime.fleet.box_series import OfTheBox
from stts_runtime.fleet.outbox import Outbox, Parcel
from stts_runtime.records import StreamAnswer
from stts_runtime.serve.engine_queue import EngineQueue, Work
from stts_runtime.serve.hub import Hub, StreamRecord
from stts_runtime.serve.pictures import Size, View
from stts_runtime.small_memory import small_memory
from stts_runtime.stream.assemble import Observer, Relay, open_bundle, tell_notes
from stts_runtime.stream.change import Change
from stts_runtime.stream.channel import Channel
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.evidence import open_alert_files
from stts_runtime.stream.loaded import load_bundle
from stts_runtime.stream.metrics import StreamMetrics
from stts_runtime.stream.pipeline import Events, Listener, Pipeline
from stts_runtime.stream.plan import StreamPlan
from stts_runtime.stream.reload import planned, prepared
from stts_runtime.stream.running import RunningStreams
from stts_runtime.stream.standing import Standing

VERSION = version("stts-export")
_POLL_SECONDS = 0.5
_QUESTIONS = 16
_ANSWER_SECONDS = 60.0


def _end() -> None:
    os._exit(1)


@dataclass(frozen=True)
class Obeyed:
    """An order holds."""

    words: str
    last: int
    """The number of the last record that was said before."""
    kept: str | None = None
    """Why another bundle, engine or keep was left out of it, if it was."""


class Box:
    """Calls come from any thread, one `order` at a time."""

    def __init__(self, cut_off: Callable[[], None] = _end) -> None:
        """`cut_off` is called when nobody has come for too long."""
        self._cut_off, self._outbox = cut_off, Outbox()
        self._stop, self._done, self._open = threading.Event(), threading.Event(), ExitStack()
        self._streams: RunningStreams | None = None
        self._refused = -1
        """The configuration, by its number, whose engines cannot take over."""
        self._patience = 60.0
        self._heard = clock.now()

    def load(self, config: StreamConfig, given: int | None, lost_after: float, ours: str) -> int:
        """Loads the engines; how many streams it bears, `given` or measured. `ours` is the version of who asks.

        Raises `SttsError`.
        """
        if ours != VERSION:
            raise UserError(f"it has stts-export {VERSION}, and {ours} was expected: install the same there")
        self._open.enter_context(small_memory())
        events, metrics, hub = Events(), StreamMetrics(), Hub(self._outbox)
        archive = self._open.enter_context(open_alert_files(config, events, self._outbox))
        loaded = load_bundle(config, *open_bundle(config, self._outbox))
        tell_notes(config, loaded.engines.answers, self._outbox)
        measured = bears(loaded) if given is None else given
        relays = partial(Relay, events=events, metrics=metrics)
        queue = EngineQueue(_QUESTIONS, self._stop, shared=True)
        observers: list[Observer] = [metrics, _Watching(hub)]
        streams = RunningStreams(loaded, [], self._outbox, relays, observers, self._outbox, archive)
        heard: list[Listener] = [metrics, hub, self._outbox]
        pipeline = Pipeline([], events, heard, queue, loaded.engines.answers, metrics.batched)
        streams.join(pipeline)
        metrics.build(lambda: streams.loaded.labels)
        metrics.registry.register(OfTheBox(lambda: self._outbox.waiting))
        self._streams, self._hub, self._metrics, self._queue = streams, hub, metrics, queue
        self._patience, self._heard = lost_after, clock.now()
        threading.Thread(target=self._run, args=(pipeline,), name="stts-pipeline", daemon=True).start()
        threading.Thread(target=self._watch, name="stts-watch", daemon=True).start()
        return measured

    def order(
        self, config: StreamConfig, revision: int, standings: Mapping[str, Standing], leaving: Mapping[str, str]
    ) -> Obeyed:
        """From now on these streams run, and no others. Where other engines cannot take over, those that look go on
        with all the rest of it, so that it can still be given streams; the `revision` of the configuration says when to
        try again. Raises `SttsError`; everything is as before then.
        """
        kept: str | None = None
        if revision != self._refused:
            try:
                plans, loaded = prepared(config, self._running, self._outbox)
                return self._applied(Change(config, plans, {}, loaded, standings, leaving), None)
            except (SttsError, OSError, MemoryError) as error:
                self._refused, kept = revision, str(error) or "not enough memory"
        plans = planned(config, self._running.loaded)
        return self._applied(Change(config, plans, {}, None, standings, leaving), kept)

    def exchange(self, safe: int, follows: bool) -> Parcel:
        """What was said since, as `Outbox.take`; waits a moment if there is nothing. `follows`: pages are open."""
        self._heard = clock.now()
        self._outbox.follows = follows
        return self._outbox.take(safe, _POLL_SECONDS)

    def records(self) -> list[StreamRecord]:
        """Of the page."""
        return [view.record() for view in self._hub.streams.values()]

    def picture(self, stream: str, view: View, size: Size) -> tuple[int, bytes] | None:
        """As `StreamView.picture`; None also for a stream that is not here."""
        found = self._hub.streams.get(stream)
        return None if found is None else found.picture(view, size)

    def metrics(self) -> str:
        return self._metrics.text()

    def ask(self, stream: str, question: str, max_tokens: int) -> StreamAnswer:
        """About what it shows now. Raises `UserError`, and `BusyError` where too much is asked."""
        found = self._hub.streams.get(stream)
        if found is None:
            raise UserError(f"{stream} is being moved to another machine")
        found.channel.check_questions([question], max_tokens=max_tokens)

        def course(conversation: Conversation, on_token: OnToken) -> Calls[StreamAnswer]:
            return found.channel.answering_now(conversation, question, max_tokens, on_token)

        with self._queue.reserve() as slot:
            return slot.ask(Work(course), go_on).future.result(_ANSWER_SECONDS)

    def stop(self) -> int:
        """Ends all streams, answers under way first; the number of the last record."""
        self._stop.set()
        self._queue.close()
        self._done.wait(_ANSWER_SECONDS)
        return self._outbox.last

    @property
    def _running(self) -> RunningStreams:
        assert self._streams is not None, "load comes first"
        return self._streams

    def _applied(self, change: Change, kept: str | None) -> Obeyed:
        words = self._running.apply(change, self._stop)
        return Obeyed(words or "it stops", self._outbox.last, kept)

    def _run(self, pipeline: Pipeline) -> None:
        try:
            pipeline.run(self._stop, lambda: self._running.between() or True)
        except BaseException as error:
            if not self._stop.is_set():
                self._outbox(f"error: it ends: {type(error).__name__}: {error}")
                clock.wait(self._stop, 2 * _POLL_SECONDS)
                self._cut_off()
            raise
        finally:
            self._open.close()
            self._done.set()

    def _watch(self) -> None:
        """A thread: its streams were given to others if nobody has heard of it for so long."""
        while not self._stop.wait(_POLL_SECONDS):
            if clock.now() - self._heard > self._patience:
                self._cut_off()


class _Watching:
    """An observer that has the hub watch what there is."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def added(self, channel: Channel, plan: StreamPlan) -> None:
        self._hub.watch(channel, plan.group)

    def changed(self, channel: Channel, plan: StreamPlan) -> None:
        self._hub.streams[channel.name].group = plan.group

    def removed(self, stream: str) -> None:
        self._hub.forget(stream)
