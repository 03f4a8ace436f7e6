"""What a configuration would run, found without loading a model, and without a network unless that is asked for."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from pydantic import BaseModel

from stts_runtime import clock
from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import vision_part
from stts_runtime.device import gpu_of, select_gpu
from stts_runtime.engines import BACKENDS, EngineChoice, EngineName, check_engine, choose_engine
from stts_runtime.errors import SttsError, UserError
from stts_runtime.places import check_makeable
from stts_runtime.session import notes_about
from stts_runtime.sinks.config import ArchiveConfig, FileConfig, ScreenConfig, SinkConfig
from stts_runtime.sinks.open import check_sink
from stts_runtime.sources import LiveSettings, open_source
from stts_runtime.sources.source import State
from stts_runtime.sources.spec import parse_spec
from stts_runtime.stream.config import Cameras, StreamEntry
from stts_runtime.stream.evidence import clip_notes
from stts_runtime.stream.plan import Planner
from stts_runtime.text import redacted

_PICTURE_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_AT_ONCE = 16
_PORTS = {"http": 80, "https": 443, "mqtt": 1883, "mqtts": 8883}


class CheckedStream(BaseModel):
    name: str
    source: str
    """Without credentials."""
    questions: list[str]
    choices: list[str]
    alert: str | None
    """The condition of its rule."""
    when: str
    sinks: list[str]
    found: str | None = None
    """What came when it was opened; None if it was not."""
    problem: str | None = None


class CheckedSink(BaseModel):
    name: str
    problem: str | None = None


class CheckedWindows(BaseModel):
    """What streams are looked at with."""

    frames: int
    looks_per_second: float
    keep: float
    variants: list[str]
    """Of key frames, and of those between."""


class ConfigReport(BaseModel):
    """What would run."""

    bundle: str
    identity: str
    checkpoint: str
    engine: EngineName | None
    """None where other machines choose."""
    windows: CheckedWindows | None
    """None where there are no streams."""
    notes: list[str]
    streams: list[CheckedStream]
    sinks: list[CheckedSink]
    metrics: str | None
    preview: str | None

    @property
    def problems(self) -> list[str]:
        """Each with what it is about."""
        about = [(one.name, one.problem) for one in self.streams] + [(one.name, one.problem) for one in self.sinks]
        return [f"{name}: {problem}" for name, problem in about if problem is not None]


def check_cameras(config: Cameras, *, connect: bool = False, elsewhere: bool = False) -> ConfigReport:
    """Reads the bundle's files and every secret. With `connect` each source is waited for until a picture comes, and
    each sink's host is connected to. `elsewhere`: engines and sources are other machines', and nothing is said of them.

    Raises `UserError` for what all streams share; what is wrong with one of them stands in the report.
    """
    if not elsewhere:
        select_gpu(gpu_of(config.device))
    bundle = Bundle.open(config.bundle)
    choice = None if elsewhere else _engine(config, bundle)
    bundle.verify_all()
    planner = Planner(config, bundle, Conversation.unloaded(bundle)) if config.streams else None
    windows = None if planner is None else _windows(config, bundle, choice, planner)
    keep = bundle.manifest.default_keep if windows is None else windows.keep
    if config.preview is not None:
        check_makeable(config.preview)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        opens = connect and not elsewhere
        streams = list(pool.map(lambda entry: _stream(config, entry, planner, opens), config.streams))
        sinks = list(pool.map(lambda sink: _sink(config, sink, connect), config.all_sinks))
    metrics = config.metrics
    return ConfigReport(
        bundle=str(bundle.folder),
        identity=bundle.identity,
        checkpoint=bundle.manifest.checkpoint,
        engine=config.engine if choice is None else choice.name,
        windows=windows,
        notes=[*([] if choice is None else choice.notes), *notes_about(bundle.manifest, keep), *clip_notes(config)],
        streams=streams,
        sinks=sinks,
        metrics=None if metrics is None else f"{metrics.address}:{metrics.port}",
        preview=None if config.preview is None else str(config.preview),
    )


def _engine(config: Cameras, bundle: Bundle) -> EngineChoice:
    """Raises `UserError` if it cannot run here."""
    choice = choose_engine(bundle, config.engine, config.device)
    check_engine(bundle, choice.name)
    return choice


def _windows(config: Cameras, bundle: Bundle, choice: EngineChoice | None, planner: Planner) -> CheckedWindows:
    names, live = bundle.choose_incremental(config.keep), bundle.manifest.live
    assert live is not None
    if choice is not None:
        for name in names.values():
            # Whether it could be loaded here.
            BACKENDS[choice.name].graph(bundle, vision_part(name))
    return CheckedWindows(
        frames=planner.frames,
        looks_per_second=bundle.manifest.max_fps,
        keep=live.variants[names[False]].keep,
        variants=[names[True], names[False]],
    )


def _stream(config: Cameras, entry: StreamEntry, planner: Planner | None, connect: bool) -> CheckedStream:
    asking = config.asking(entry)
    rule = asking.when
    checked = CheckedStream(
        name=entry.name,
        source=redacted(entry.source),
        questions=list(asking.questions),
        choices=list(asking.choices),
        alert=None if asking.alert is None else str(asking.alert.condition),
        when="always" if rule is None else "novelty" if rule.novelty is None else f"novelty>{rule.novelty:g}",
        sinks=[sink.name for sink in asking.sinks],
    )

    def look() -> None:
        parse_spec(entry.source)
        assert planner is not None
        plan = planner.plan(entry)
        if connect:
            checked.found = _picture_of(entry.source, plan.settings)

    checked.problem = _problem(look)
    # The stream stands before it as its name.
    if checked.problem is not None:
        checked.problem = checked.problem.removeprefix(f"{entry.name}: ")
    return checked


def _picture_of(source: str, settings: LiveSettings) -> str:
    """Raises `UserError` if none comes."""
    began, opened = clock.now(), open_source(source, None, settings, frames_per_second=1.0)
    try:
        frame = opened.take(_PICTURE_SECONDS)
        status = opened.status
    finally:
        opened.close()
    if frame is None:
        reason = status.reason if status.state is not State.CONNECTING else "no picture yet"
        raise UserError(f"{status.state.value}: {reason} (waited {clock.now() - began:.0f} s)")
    height, width = frame.image.shape[:2]
    return f"{width} x {height} after {clock.now() - began:.1f} s"


def _sink(config: Cameras, sink: SinkConfig, connect: bool) -> CheckedSink:
    def look() -> None:
        check_sink(sink, lambda: config.state_folder)
        if connect and not isinstance(sink, ScreenConfig | FileConfig | ArchiveConfig):
            _reach(sink.to)

    return CheckedSink(name=sink.name, problem=_problem(look))


def _reach(url: str) -> None:
    """Raises `UserError` if nothing listens there; nothing is sent."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()]
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(f"{host}:{port} cannot be reached: {error.strerror or error}") from None


def _problem(look: Callable[[], None]) -> str | None:
    try:
        look()
    except SttsError as error:
        return str(error)
    return None
