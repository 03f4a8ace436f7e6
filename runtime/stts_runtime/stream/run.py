"""From a configuration to a pipeline that runs: for `stts-runtime stream`, and to iterate over answers in Python."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from stts_runtime.errors import SourceError, UserError
from stts_runtime.records import Record, StreamAnswer, StreamEvent
from stts_runtime.service_manager import ServiceManager
from stts_runtime.small_memory import small_memory
from stts_runtime.sources.source import State
from stts_runtime.stream.alerts import AlertFilter
from stts_runtime.stream.assemble import Relay, metrics_served, open_bundle, open_channels, open_listeners, tell_notes
from stts_runtime.stream.channel import Channel, Look
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.evidence import open_alert_files
from stts_runtime.stream.loaded import load_bundle
from stts_runtime.stream.outlets import alert_filter
from stts_runtime.stream.pipeline import Beats, Delivery, Events, Pipeline, nobody
from stts_runtime.stream.plan import Planner
from stts_runtime.stream.reload import Reloader, Reread
from stts_runtime.stream.running import RunningStreams
from stts_runtime.stream.state_log import state_logs
from stts_runtime.stream.status_server import Health
from stts_runtime.stream.watcher import Engines
from stts_runtime.tell import Tell, tell_event
from stts_runtime.text import counted

if TYPE_CHECKING:
    from stts_runtime.stream.metrics import StreamMetrics


def run_streams(config: StreamConfig, stop: threading.Event, tell: Tell, reread: Reread | None = None) -> None:
    """Runs until `stop` is set or every source is over; `tell` gets lines for people, from any thread.

    Raises `UserError` before the first frame for what cannot work, and `SourceError` at the end if a source was
    refused and all others are over.
    """
    manager = ServiceManager()
    health = Health(manager)
    with small_memory(), ExitStack() as open_things:
        events = Events()
        archive = open_things.enter_context(open_alert_files(config, events, tell))
        metrics = None if config.metrics is None else _metrics()
        open_things.enter_context(metrics_served(config, metrics, tell, health))
        loaded = load_bundle(config, *open_bundle(config, tell))
        tell_notes(config, loaded.engines.answers, tell)
        tell_event(tell, "debug", f"{loaded} answers", **loaded.labels)
        plans = Planner(config, loaded.bundle, loaded.engines.answers.conversations[0]).all()
        listeners = open_things.enter_context(open_listeners(config, metrics, tell))
        relays = partial(Relay, events=events, metrics=metrics)
        streams = RunningStreams(loaded, plans, listeners.outlets, relays, listeners.observers, tell, archive)
        pipeline = Pipeline(
            streams.channels,
            events,
            [*listeners.all, *state_logs(config, tell), Beats(manager)],
            answers=loaded.engines.answers,
            on_batch=metrics.batched if metrics else nobody,
        )
        streams.join(pipeline)
        health.ready(lambda: streams.channels, lambda: streams.loaded.labels)
        if metrics is not None:
            metrics.build(lambda: streams.loaded.labels)
        if reread is not None:
            reloader = Reloader(reread, streams, listeners.outlets, config, manager, tell)
            open_things.enter_context(reloader)
        manager.ready(f"{counted(len(plans), 'stream')}, {loaded}")

        def between() -> bool:
            manager.beat()
            return streams.between()

        pipeline.run(stop, between)
        manager.stopping()
    if not stop.is_set():
        _raise_if_refused(pipeline.channels)
        _raise_if_lost(listeners.outlets.delivery)


class _Answers:
    """A listener that keeps answers until they are taken."""

    def __init__(self, on_event: Callable[[StreamEvent], None], alerts: AlertFilter) -> None:
        self._on_event, self._alerts = on_event, alerts
        self.waiting: deque[StreamAnswer] = deque()

    def saw(self, channel: Channel, look: Look) -> None:
        """Only records are passed on, no pictures."""

    def said(self, record: Record) -> None:
        if isinstance(record, StreamAnswer):
            if self._alerts.passes(record):
                self.waiting.append(record)
        elif isinstance(record, StreamEvent):
            self._on_event(record)


def stream_answers(
    config: StreamConfig, engines: Engines, on_event: Callable[[StreamEvent], None]
) -> Iterator[StreamAnswer]:
    """Opens the sources with the first answer that is asked for, and looks at them while one is waited for.

    Raises what `run_streams` raises about sources.
    """
    events, answers = Events(), _Answers(on_event, alert_filter(config))
    channels = open_channels(config, engines, events, None)
    pipeline = Pipeline(channels, events, [answers])
    try:
        going_on = True
        while going_on:
            going_on = pipeline.step()
            while answers.waiting:
                yield answers.waiting.popleft()
    finally:
        pipeline.close()
    _raise_if_refused(channels)


def _raise_if_lost(delivery: Delivery) -> None:
    """Whoever reads the exit code alone would take what is there for all that was said."""
    if delivery.lost:
        raise UserError("; ".join(f"{sink}: {count} of its records were lost" for sink, count in delivery.lost.items()))


def _metrics() -> StreamMetrics:
    from stts_runtime.stream.metrics import StreamMetrics

    return StreamMetrics()


def _raise_if_refused(channels: list[Channel]) -> None:
    refused = [one for one in channels if one.source.status.state is State.REFUSED]
    if refused:
        raise SourceError("; ".join(f"{one.name} was refused: {one.source.status.reason}" for one in refused))
