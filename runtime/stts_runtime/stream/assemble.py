"""From a configuration to what a pipeline is made of: engines, channels, and who listens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from stts_runtime.answering import AnswerForm, Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Novelty
from stts_runtime.device import gpu_of, select_gpu
from stts_runtime.engines import EngineChoice, choose_engine, load_incremental
from stts_runtime.errors import PromptError, SourceError, UserError
from stts_runtime.forms import Forms
from stts_runtime.places import check_makeable, reason, shown
from stts_runtime.session import notes_about
from stts_runtime.sinks.alerts_only import AlertsOnly
from stts_runtime.sinks.open import Sink, open_sink
from stts_runtime.sinks.spooled import SpooledSink
from stts_runtime.sources import LiveSettings, open_source
from stts_runtime.sources.packet_ring import PacketRing
from stts_runtime.sources.source import Status
from stts_runtime.stream.alerts import AlertFilter
from stts_runtime.stream.channel import Channel, Gate, Orders
from stts_runtime.stream.config import Cameras, StreamEntry
from stts_runtime.stream.evidence import clips_of, witness_of
from stts_runtime.stream.masks import masked
from stts_runtime.stream.pipeline import Delivery, Events, Listener
from stts_runtime.stream.watcher import Engines, KeyRule, Watcher
from stts_runtime.stream.witness import Archive
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


def open_channels(
    config: Cameras,
    engines: Engines,
    events: Events,
    metrics: StreamMetrics | None,
    archive: Archive | None = None,
) -> list[Channel]:
    """All questions are checked before the first source is opened, and what was opened is closed if one fails.

    `archive` is `open_alert_files`'.
    """
    live = engines.bundle.manifest.live
    assert live is not None
    frames, max_fps = config.frames or live.frames, engines.bundle.manifest.max_fps
    keys = _key_rule(config, engines, frames)
    forms = _forms(config, engines.bundle)
    watchers = [Watcher(engines, frames, keys) for _ in config.streams]
    for watcher, entry in zip(watchers, config.streams, strict=True):
        with _naming(entry):
            watcher.check_questions(config.asking(entry).questions, forms[entry.name], config.max_tokens)
    settings = LiveSettings(transport=config.transport, nvdec=config.nvdec)
    with ExitStack() as opened:
        channels = []
        for watcher, entry in zip(watchers, config.streams, strict=True):
            on_status = partial(_tell_status, entry.name, events, metrics)
            with _naming(entry):
                clips = clips_of(config, entry)
                ring = clips if isinstance(clips, PacketRing) else None
                source = open_source(entry.source, on_status, settings, frames_per_second=max_fps, ring=ring)
            opened.callback(source.close)
            orders = _orders(config, entry, max_fps, live.novelty, forms[entry.name])
            witness = witness_of(config, entry, archive, clips)
            channels.append(Channel(entry.name, masked(source, entry.masks), watcher, orders, witness))
        # From here on the pipeline closes them.
        opened.pop_all()
    return channels


def _forms(config: Cameras, bundle: Bundle) -> dict[str, AnswerForm]:
    """By stream."""
    forms = Forms(bundle)
    askings = {entry.name: config.asking(entry) for entry in config.streams}
    return {
        name: forms.of({"choices": asking.choices or None, "schema": asking.answer_schema})
        for name, asking in askings.items()
    }


@contextmanager
def _naming(entry: StreamEntry) -> Iterator[None]:
    """Says which stream a mistake belongs to."""
    try:
        yield
    except (PromptError, SourceError) as error:
        raise type(error)(f"{entry.name}: {error}") from None


def _orders(
    config: Cameras, entry: StreamEntry, frames_per_second: float, novelty: Novelty, form: AnswerForm
) -> Orders:
    asking = config.asking(entry)
    longest = math.inf if asking.longest_pause is None else asking.longest_pause
    gate = Gate(asking.when.above(novelty) if asking.when else None, asking.shortest_pause, longest)
    return Orders(asking.questions, gate, config.max_tokens, frames_per_second, form, asking.alert)


def alert_filter(config: Cameras) -> AlertFilter:
    return AlertFilter({entry.name: config.asking(entry).alert for entry in config.streams})


def _tell_status(stream: str, events: Events, metrics: StreamMetrics | None, status: Status) -> None:
    """In a thread of the source."""
    events.of(stream, status)
    if metrics is not None:
        metrics.status(stream, status)


def _key_rule(config: Cameras, engines: Engines, frames: int) -> KeyRule:
    live = engines.bundle.manifest.live
    assert live is not None
    every = config.key_every or max(frames, live.key_every)
    if every < live.key_every:
        raise UserError(
            f"key_every {every} is too often for {engines.bundle.folder}: its language model takes a key frame every "
            f"{live.key_every} frames; build it with more --frames"
        )
    return KeyRule(every=every, at_least=live.key_every, jump=live.novelty.jump)


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
        yield sink if one.only is None else AlertsOnly(sink)
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
