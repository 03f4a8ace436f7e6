"""From a configuration to a pipeline that runs: for `stts-runtime stream`, and to iterate over answers in Python."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from stts_runtime.answering import Conversation
from stts_runtime.errors import SourceError, UserError
from stts_runtime.records import Record, StreamAnswer, StreamEvent
from stts_runtime.small_memory import small_memory
from stts_runtime.sources.source import State
from stts_runtime.stream.alerts import AlertFilter
from stts_runtime.stream.assemble import (
    alert_filter,
    incremental_engines,
    metrics_served,
    open_bundle,
    open_channels,
    open_listeners,
    tell_note,
)
from stts_runtime.stream.channel import Channel, Look
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.evidence import open_alert_files
from stts_runtime.stream.pipeline import Delivery, Events, Listener, Pipeline
from stts_runtime.stream.watcher import Engines
from stts_runtime.tell import Tell

if TYPE_CHECKING:
    from stts_runtime.stream.metrics import StreamMetrics


def run_streams(config: StreamConfig, stop: threading.Event, tell: Tell) -> None:
    """Runs until `stop` is set or every source is over; `tell` gets lines for people, from any thread.

    Raises `UserError` before the first frame for what cannot work, and `SourceError` at the end if a source was
    refused and all others are over.
    """
    with small_memory(), ExitStack() as open_things:
        events = Events()
        archive = open_things.enter_context(open_alert_files(config, events, tell))
        bundle, choice = open_bundle(config, tell)
        bundle.choose_incremental(config.keep)
        conversation = Conversation.open(bundle, choice.name)
        tell_note(conversation, tell)
        engines = incremental_engines(config, bundle, choice, conversation)
        metrics = None if config.metrics is None else _metrics()
        open_things.enter_context(metrics_served(config, metrics, tell))
        listeners = open_things.enter_context(open_listeners(config, metrics, tell))
        channels = open_channels(config, engines, events, metrics, archive)
        Pipeline(channels, events, listeners).run(stop)
    if not stop.is_set():
        _raise_if_refused(channels)
        _raise_if_lost(listeners)


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


def _raise_if_lost(listeners: list[Listener]) -> None:
    """Whoever reads the exit code alone would take what is there for all that was said."""
    for one in listeners:
        if isinstance(one, Delivery) and one.lost:
            raise UserError("; ".join(f"{sink}: {count} of its records were lost" for sink, count in one.lost.items()))


def _metrics() -> StreamMetrics:
    from stts_runtime.stream.metrics import StreamMetrics

    return StreamMetrics()


def _raise_if_refused(channels: list[Channel]) -> None:
    refused = [one for one in channels if one.source.status.state is State.REFUSED]
    if refused:
        raise SourceError("; ".join(f"{one.name} was refused: {one.source.status.reason}" for one in refused))
