"""`stts-runtime stream`: from a configuration to a pipeline that runs. Read from `run_streams` down."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from stts_runtime.engines import load_language
from stts_runtime.errors import SourceError
from stts_runtime.sources.state import State
from stts_runtime.stream.channel import Channel
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.parts import live_engines, metrics_served, open_bundle, open_channels, open_listeners
from stts_runtime.stream.pipeline import Events, Pipeline
from stts_runtime.stream.small_memory import small_memory
from stts_runtime.tell import Tell

if TYPE_CHECKING:
    from stts_runtime.sinks.metrics import StreamMetrics


def run_streams(config: StreamConfig, stop: threading.Event, tell: Tell) -> None:
    """Runs until `stop` is set or every source is over; `tell` gets lines for people, from any thread.

    Raises `UserError` before the first frame for what cannot work, and `SourceError` at the end if a source was
    refused and all others are over.
    """
    with small_memory(), ExitStack() as open_things:
        bundle, choice = open_bundle(config, tell)
        bundle.choose_live(config.keep)
        engines = live_engines(config, bundle, choice, load_language(bundle, choice.name))
        metrics = None if config.metrics is None else _metrics()
        open_things.enter_context(metrics_served(config, metrics, tell))
        listeners = open_things.enter_context(open_listeners(config, metrics, tell))
        events = Events()
        channels = open_channels(config, engines, events, metrics)
        Pipeline(channels, events, listeners).run(stop)
    _raise_if_refused(channels, stop)


def _metrics() -> StreamMetrics:
    from stts_runtime.sinks.metrics import StreamMetrics

    return StreamMetrics()


def _raise_if_refused(channels: list[Channel], stop: threading.Event) -> None:
    refused = [one for one in channels if one.source.status.state is State.REFUSED]
    if refused and not stop.is_set():
        raise SourceError("; ".join(f"{one.name} was refused: {one.source.status.reason}" for one in refused))
