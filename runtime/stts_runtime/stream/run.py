"""`stts-runtime stream`: from a configuration to a pipeline that runs. Read from `run_streams` down."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from stts_runtime.bundle import Bundle
from stts_runtime.engines import choose_engine, load_language, load_live
from stts_runtime.errors import SourceError, UserError
from stts_runtime.session import NOISE
from stts_runtime.sinks.notices import Tell
from stts_runtime.sinks.open import open_sink
from stts_runtime.sinks.sink import Sink
from stts_runtime.sinks.spooled import SpooledSink
from stts_runtime.sources import LiveSettings, open_source
from stts_runtime.sources.nvdec import MISSING, has_nvdec
from stts_runtime.sources.state import State, Status
from stts_runtime.stream.channel import Channel, Orders
from stts_runtime.stream.config import StreamConfig, StreamEntry
from stts_runtime.stream.keys import KeyRule
from stts_runtime.stream.listeners import Delivery, Measured, Shown
from stts_runtime.stream.novelty import Gate
from stts_runtime.stream.pipeline import Events, Listener, Pipeline
from stts_runtime.stream.watcher import Engines, Watcher

if TYPE_CHECKING:
    from stts_runtime.sinks.config import SinkConfig
    from stts_runtime.sinks.metrics import StreamMetrics

_CLOSE_SECONDS = 10.0
"""For what waits to be delivered; the rest goes out at the next start."""


def run_streams(config: StreamConfig, stop: threading.Event, tell: Tell) -> None:
    """Runs until `stop` is set or every source is over; `tell` gets lines for people, from any thread.

    Raises `UserError` before the first frame for what cannot work, and `SourceError` at the end if a source was
    refused and all others are over.
    """
    with ExitStack() as open_things:
        engines = _engines(config, tell)
        if config.nvdec and not has_nvdec():
            tell(f"note: {MISSING}")
        metrics = open_things.enter_context(_metrics(config, tell))
        sinks = {one: open_things.enter_context(_sink(one, config, metrics, tell)) for one in config.all_sinks}
        of_stream = {entry.name: [sinks[one] for one in config.asking(entry).sinks] for entry in config.streams}
        listeners: list[Listener] = [Delivery(of_stream, tell, metrics)]
        if metrics is not None:
            listeners.append(Measured(metrics))
        if config.preview is not None:
            listeners.append(open_things.enter_context(_previews(config, tell)))
        events = Events()
        channels = _channels(config, engines, events, metrics)
        Pipeline(channels, events, listeners).run(stop)
    _raise_if_refused(channels, stop)


def _engines(config: StreamConfig, tell: Tell) -> Engines:
    bundle = Bundle.open(config.bundle)
    names = bundle.choose_live(config.keep)
    live = bundle.manifest.live
    assert live is not None
    choice = choose_engine(bundle, config.engine)
    for note in (*choice.notes, *([NOISE] if bundle.manifest.random_weights else [])):
        tell(f"note: {note}")
    vision = load_live(bundle, live.variants[names[False]].keep, choice.name)
    return Engines.of(bundle, vision, load_language(bundle, choice.name))


def _key_rule(config: StreamConfig, engines: Engines, frames: int) -> KeyRule:
    live = engines.bundle.manifest.live
    assert live is not None
    every = config.key_every or max(frames, live.key_every)
    if every < live.key_every:
        raise UserError(
            f"key_every {every} is too often for {engines.bundle.folder}: its language model takes a key frame every "
            f"{live.key_every} frames; build it with more --frames"
        )
    return KeyRule(every=every, at_least=live.key_every)


def _channels(config: StreamConfig, engines: Engines, events: Events, metrics: StreamMetrics | None) -> list[Channel]:
    """All questions are checked before the first source is opened, and what was opened is closed if one fails."""
    live = engines.bundle.manifest.live
    assert live is not None
    frames = config.frames or live.frames
    keys = _key_rule(config, engines, frames)
    watchers = [Watcher(engines, frames, keys) for _ in config.streams]
    for watcher, entry in zip(watchers, config.streams, strict=True):
        watcher.check_questions(config.asking(entry).questions)
    settings = LiveSettings(transport=config.transport, nvdec=config.nvdec)
    with ExitStack() as opened:
        channels = []
        for watcher, entry in zip(watchers, config.streams, strict=True):
            source = open_source(entry.source, partial(_tell_status, entry.name, events, metrics), settings)
            opened.callback(source.close)
            orders = _orders(config, entry, engines.bundle.manifest.max_fps)
            channels.append(Channel(entry.name, source, watcher, orders))
        # From here on the pipeline closes them.
        opened.pop_all()
    return channels


def _orders(config: StreamConfig, entry: StreamEntry, frames_per_second: float) -> Orders:
    asking = config.asking(entry)
    longest = math.inf if asking.longest_pause is None else asking.longest_pause
    gate = Gate(asking.when.novelty if asking.when else None, asking.shortest_pause, longest)
    return Orders(asking.questions, gate, config.max_tokens, frames_per_second)


def _tell_status(stream: str, events: Events, metrics: StreamMetrics | None, status: Status) -> None:
    """In a thread of the source."""
    events.of(stream, status)
    if metrics is not None:
        metrics.status(stream, status)


@contextmanager
def _sink(one: SinkConfig, config: StreamConfig, metrics: StreamMetrics | None, tell: Tell) -> Iterator[Sink]:
    sink = open_sink(one, config.state_folder, tell)
    if metrics is not None and isinstance(sink, SpooledSink):
        metrics.watch_spool(sink.name, lambda: sink.backlog)
    try:
        yield sink
    finally:
        sink.close(_CLOSE_SECONDS)


@contextmanager
def _metrics(config: StreamConfig, tell: Tell) -> Iterator[StreamMetrics | None]:
    if config.metrics is None:
        yield None
        return
    from stts_runtime.sinks.metrics import StreamMetrics

    metrics = StreamMetrics()
    with metrics.serve(config.metrics.address, config.metrics.port) as server:
        tell(f"metrics: http://{config.metrics.address}:{server.port}/metrics")
        yield metrics


@contextmanager
def _previews(config: StreamConfig, tell: Tell) -> Iterator[Shown]:
    from stts_runtime.sinks.preview import Preview

    assert config.preview is not None
    try:
        config.preview.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{config.preview} is no folder for previews: {error.strerror}") from None
    previews = {entry.name: Preview(config.preview / f"{entry.name}.mp4") for entry in config.streams}
    try:
        yield Shown(previews, tell)
    finally:
        for preview in previews.values():
            preview.close()


def _raise_if_refused(channels: list[Channel], stop: threading.Event) -> None:
    refused = [one for one in channels if one.source.status.state is State.REFUSED]
    if refused and not stop.is_set():
        raise SourceError("; ".join(f"{one.name} was refused: {one.source.status.reason}" for one in refused))
