"""From a configuration to what a pipeline is made of: engines, channels, and who listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.device import gpu_of, select_gpu
from stts_runtime.engines import EngineChoice, choose_engine, load_incremental
from stts_runtime.errors import UserError
from stts_runtime.places import check_makeable, reason, shown
from stts_runtime.session import notes_about
from stts_runtime.sinks.open import Sink, open_sink
from stts_runtime.sinks.spooled import SpooledSink
from stts_runtime.sources import open_source
from stts_runtime.sources.source import Status
from stts_runtime.stream.alerts import AlertFilter
from stts_runtime.stream.channel import Channel
from stts_runtime.stream.config import Cameras
from stts_runtime.stream.pipeline import Delivery, Events, Listener
from stts_runtime.stream.plan import Planner, StreamPlan, naming
from stts_runtime.stream.watcher import Engines, Watcher
from stts_runtime.tell import Tell
from stts_runtime.video.decoding import MISSING, has_nvdec

if TYPE_CHECKING:
    from stts_runtime.sinks.config import SinkConfig
    from stts_runtime.stream.metrics import StreamMetrics
    from stts_runtime.stream.preview import Previews

_CLOSE_SECONDS = 10.0
"""For what waits to be delivered; the rest goes out at the next start."""


def open_bundle(config: Cameras, tell: Tell) -> tuple[Bundle, EngineChoice]:
    """The bundle and what runs it; what there is to say about both is told."""
    select_gpu(gpu_of(config.device))
    bundle = Bundle.open(config.bundle)
    choice = choose_engine(bundle, config.engine, config.device)
    keep = bundle.manifest.default_keep if config.keep is None else config.keep
    for note in (*choice.notes, *notes_about(bundle.manifest, keep)):
        tell(f"note: {note}")
    if config.nvdec and not has_nvdec():
        tell(f"note: {MISSING}")
    return bundle, choice


def tell_note(conversation: Conversation, tell: Tell) -> None:
    """Once for all that share it."""
    if conversation.note is not None:
        tell(f"note: {conversation.note}")


def incremental_engines(config: Cameras, bundle: Bundle, choice: EngineChoice, conversation: Conversation) -> Engines:
    """Raises `BundleError` if the bundle has no variants for single frames."""
    names = bundle.choose_incremental(config.keep)
    live = bundle.manifest.live
    assert live is not None
    return Engines(bundle, load_incremental(bundle, live.variants[names[False]].keep, choice.name), conversation)


def open_channels(config: Cameras, engines: Engines, events: Events, metrics: StreamMetrics | None) -> list[Channel]:
    """All questions are checked before the first source is opened, and what was opened is closed if one fails."""
    plans = Planner(config, engines.bundle, engines.conversation).all()
    with ExitStack() as opened:
        channels = []
        for plan in plans:
            channels.append(open_channel(plan, engines, events, metrics))
            opened.callback(channels[-1].source.close)
        # From here on the pipeline closes them.
        opened.pop_all()
    return channels


def open_channel(plan: StreamPlan, engines: Engines, events: Events, metrics: StreamMetrics | None) -> Channel:
    """Opens the source. Raises `SourceError` for one that cannot be opened."""
    watcher = Watcher(engines, plan.frames, plan.keys)
    on_status = partial(_tell_status, plan.name, events, metrics)
    with naming(plan.name):
        source = open_source(
            plan.entry.source, on_status, plan.settings, frames_per_second=plan.orders.frames_per_second
        )
    return Channel(plan.name, source, watcher, plan.orders)


def alert_filter(config: Cameras) -> AlertFilter:
    return AlertFilter({entry.name: config.asking(entry).alert for entry in config.streams})


def _tell_status(stream: str, events: Events, metrics: StreamMetrics | None, status: Status) -> None:
    """In a thread of the source."""
    events.of(stream, status)
    if metrics is not None:
        metrics.status(stream, status)


@contextmanager
def open_listeners(config: Cameras, metrics: StreamMetrics | None, tell: Tell) -> Iterator[list[Listener]]:
    """Sinks, metrics and previews, as the configuration has them."""
    with ExitStack() as open_things:
        sinks = {one: open_things.enter_context(_sink(one, config, metrics, tell)) for one in config.all_sinks}
        of_stream = {entry.name: [sinks[one] for one in config.asking(entry).sinks] for entry in config.streams}
        listeners: list[Listener] = [Delivery(of_stream, tell, metrics, alert_filter(config))]
        if metrics is not None:
            listeners.append(metrics)
        if config.preview is not None:
            listeners.append(open_things.enter_context(_previews(config, tell)))
        yield listeners


@contextmanager
def metrics_served(config: Cameras, metrics: StreamMetrics | None, tell: Tell) -> Iterator[None]:
    """At the address that the configuration gives, if it gives one."""
    if metrics is None or config.metrics is None:
        yield
        return
    with metrics.serve(config.metrics.address, config.metrics.port) as server:
        tell(f"metrics: http://{config.metrics.address}:{server.port}/metrics")
        yield


@contextmanager
def _sink(one: SinkConfig, config: Cameras, metrics: StreamMetrics | None, tell: Tell) -> Iterator[Sink]:
    sink = open_sink(one, lambda: config.state_folder, tell)
    if metrics is not None and isinstance(sink, SpooledSink):
        metrics.watch_spool(sink.name, lambda: sink.backlog)
    try:
        yield sink
    finally:
        sink.close(_CLOSE_SECONDS)


@contextmanager
def _previews(config: Cameras, tell: Tell) -> Iterator[Previews]:
    from stts_runtime.stream.preview import Preview, Previews

    assert config.preview is not None
    check_makeable(config.preview)
    try:
        config.preview.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{shown(config.preview)} is no folder for previews: {reason(error)}") from None
    videos = {entry.name: Preview(config.preview / f"{entry.name}.mp4") for entry in config.streams}
    with closing(Previews(videos, tell)) as previews:
        yield previews
