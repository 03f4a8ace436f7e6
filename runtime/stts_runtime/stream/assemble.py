"""From a configuration to what a pipeline is made of: engines, channels, and who listens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stts_runtime.answering import AnswerPool
from stts_runtime.bundle import Bundle
from stts_runtime.device import gpu_of, select_gpu
from stts_runtime.engines import EngineChoice, choose_engine, load_incremental
from stts_runtime.errors import UserError
from stts_runtime.places import check_makeable, reason, shown
from stts_runtime.session import notes_about
from stts_runtime.sources import open_source
from stts_runtime.sources.packet_ring import PacketRing
from stts_runtime.sources.source import Status
from stts_runtime.stream.channel import Channel
from stts_runtime.stream.config import Cameras
from stts_runtime.stream.evidence import clips_of, witness_of
from stts_runtime.stream.masks import masked
from stts_runtime.stream.outlets import Outlets
from stts_runtime.stream.pipeline import Events, Listener
from stts_runtime.stream.plan import Planner, StreamPlan, naming
from stts_runtime.stream.standing import FRESH, Standing
from stts_runtime.stream.watcher import Engines, Watcher
from stts_runtime.stream.witness import Archive
from stts_runtime.tell import Tell
from stts_runtime.video.decoding import MISSING, has_nvdec

if TYPE_CHECKING:
    from stts_runtime.stream.metrics import StreamMetrics
    from stts_runtime.stream.preview import Previews
    from stts_runtime.stream.status_server import Health


def open_bundle(config: Cameras, tell: Tell) -> tuple[Bundle, EngineChoice]:
    """The bundle and what runs it; what there is to say about both is told."""
    select_gpu(gpu_of(config.device))
    bundle = Bundle.open(config.bundle).pinned()
    choice = choose_engine(bundle, config.engine, config.device)
    keep = bundle.manifest.default_keep if config.keep is None else config.keep
    for note in (*choice.notes, *notes_about(bundle.manifest, keep)):
        tell(f"note: {note}")
    if config.nvdec and not has_nvdec():
        tell(f"note: {MISSING}")
    return bundle, choice


def tell_notes(config: Cameras, answers: AnswerPool, tell: Tell) -> None:
    """Once for all that share it."""
    note = answers.conversations[0].note
    if note is not None:
        tell(f"note: {note}")
    if answers.size == 1 < config.at_once:
        tell(
            "note: frames and answers go through the engines one at a time: there are no graphs here for several at "
            "once (docs/streaming.md, Many streams)"
        )


def incremental_engines(config: Cameras, bundle: Bundle, choice: EngineChoice, answers: AnswerPool) -> Engines:
    """Raises `BundleError` if the bundle has no variants for single frames."""
    names = bundle.choose_incremental(config.keep)
    live = bundle.manifest.live
    assert live is not None
    keep = live.variants[names[False]].keep
    return Engines(bundle, load_incremental(bundle, keep, choice.name, config.at_once), answers)


def open_channels(config: Cameras, engines: Engines, events: Events, metrics: StreamMetrics | None) -> list[Channel]:
    """All questions are checked before the first source is opened, and what was opened is closed if one fails."""
    plans = Planner(config, engines.bundle, engines.answers.conversations[0]).all()
    with ExitStack() as opened:
        channels = []
        for plan in plans:
            channels.append(open_channel(plan, engines, Relay(plan, events, metrics)))
            opened.callback(channels[-1].close)
        # From here on the pipeline closes them.
        opened.pop_all()
    return channels


class Observer(Protocol):
    """Who keeps something for each stream."""

    def added(self, channel: Channel, plan: StreamPlan) -> None:
        """Also in place of one of the same name."""
        ...

    def changed(self, channel: Channel, plan: StreamPlan) -> None:
        """Its pictures go on as they were."""
        ...

    def removed(self, stream: str) -> None: ...


class Relay:
    """Hands on what a source says of its state, from a thread of the source, until the stream is taken out."""

    def __init__(self, plan: StreamPlan, events: Events, metrics: StreamMetrics | None) -> None:
        self._stream, self.labels = plan.name, plan.labels
        self._events, self._metrics = events, metrics
        self.muted = False

    def __call__(self, status: Status) -> None:
        if self.muted:
            return
        self._events.of(self._stream, status, self.labels)
        if self._metrics is not None:
            self._metrics.status(self._stream, status)


def open_channel(
    plan: StreamPlan, engines: Engines, relay: Relay, standing: Standing = FRESH, archive: Archive | None = None
) -> Channel:
    """Opens the source; `standing` is what it has behind it, `archive` is `open_alert_files`'.

    Raises `SourceError` for one that cannot be opened.
    """
    watcher = Watcher(engines, plan.frames, plan.keys)
    with naming(plan.name):
        clips = clips_of(plan.entry, plan.asking.alert, archive)
        ring = clips if isinstance(clips, PacketRing) else None
        rate = plan.orders.frames_per_second
        source = open_source(plan.entry.source, relay, plan.settings, frames_per_second=rate, ring=ring)
    witness = witness_of(plan.name, plan.asking.alert, archive, clips)
    return Channel(plan.name, masked(source, plan.entry.masks), watcher, plan.orders, standing, witness)


@dataclass(frozen=True)
class Listeners:
    """Who hears of looks and records."""

    all: Sequence[Listener]
    observers: Sequence[Observer]
    """Of them, those that keep something for each stream."""
    outlets: Outlets


@contextmanager
def open_listeners(config: Cameras, metrics: StreamMetrics | None, tell: Tell) -> Iterator[Listeners]:
    """Sinks, metrics and previews, as the configuration has them."""
    with ExitStack() as open_things:
        outlets = open_things.enter_context(Outlets(config, metrics, tell))
        by_stream: list[StreamMetrics | Previews] = []
        if metrics is not None:
            by_stream.append(metrics)
        if config.preview is not None:
            by_stream.append(open_things.enter_context(_previews(config, tell)))
        yield Listeners([outlets.delivery, *by_stream], by_stream, outlets)


@contextmanager
def metrics_served(
    config: Cameras, metrics: StreamMetrics | None, tell: Tell, health: Health | None = None
) -> Iterator[None]:
    """At the address that the configuration gives, if it gives one; `health` is served there too."""
    if metrics is None or config.metrics is None:
        yield
        return
    with metrics.serve(config.metrics.address, config.metrics.port, health) as server:
        tell(f"metrics: http://{config.metrics.address}:{server.port}/metrics")
        yield


@contextmanager
def _previews(config: Cameras, tell: Tell) -> Iterator[Previews]:
    from stts_runtime.stream.preview import Previews

    assert config.preview is not None
    check_makeable(config.preview)
    try:
        config.preview.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{shown(config.preview)} is no folder for previews: {reason(error)}") from None
    with closing(Previews(config.preview, tell)) as previews:
        yield previews
