"""`stts-runtime serve`: from a configuration to a server that runs. Read from `run_server` down."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from stts_runtime.answering import AnswerPool
from stts_runtime.archive.reader import check_archive
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineChoice
from stts_runtime.serve.alert_routes import ALERTS
from stts_runtime.serve.app import make_app
from stts_runtime.serve.engine_worker import EngineWorker
from stts_runtime.serve.guard import is_loopback, required_token
from stts_runtime.serve.look_cache import LookCache
from stts_runtime.serve.parts import Parts
from stts_runtime.serve.server import HttpServer, bound
from stts_runtime.serve.settings import ServeConfig, ServerSettings
from stts_runtime.serve.tls import check_certificate
from stts_runtime.service_manager import ServiceManager
from stts_runtime.session import Sessions
from stts_runtime.small_memory import small_memory
from stts_runtime.stream.assemble import (
    Listeners,
    Relay,
    incremental_engines,
    metrics_served,
    open_bundle,
    open_listeners,
    tell_notes,
)
from stts_runtime.stream.evidence import open_alert_files
from stts_runtime.stream.loaded import LoadedBundle, Wanted
from stts_runtime.stream.metrics import StreamMetrics
from stts_runtime.stream.pipeline import Beats, Events, Pipeline
from stts_runtime.stream.plan import Planner
from stts_runtime.stream.reload import Reloader, Reread
from stts_runtime.stream.running import RunningStreams
from stts_runtime.stream.state_log import state_logs
from stts_runtime.stream.watcher import Engines
from stts_runtime.stream.witness import Archive
from stts_runtime.tell import Tell
from stts_runtime.text import counted


def run_server(config: ServeConfig, stop: threading.Event, tell: Tell, reread: Reread | None = None) -> None:
    """Runs until `stop` is set; sources that are over stay on the page. `tell` gets lines for people, from any thread.

    The pipeline runs in this thread and is the only one that touches engines. Raises `UserError` before anything
    listens for what cannot work.
    """
    manager = ServiceManager()
    with small_memory(), ExitStack() as open_things:
        # First of all: an address that is none needs no token.
        place = bound(config.serve.listen)
        open_things.callback(place.close)
        checked(config)
        token = required_token(config.serve)
        events = Events()
        archive = open_things.enter_context(open_alert_files(config, events, tell, partial(_link, config)))
        bundle, choice = open_bundle(config, tell)
        sessions = Sessions(bundle, choice.name, most=config.at_once)
        tell_notes(config, sessions.answers, tell)
        live = _live(config, bundle, choice, sessions.answers)
        limits = config.serve.limits
        worker = EngineWorker(bundle, sessions, live, LookCache(limits.cache_bytes, limits.upload_seconds))
        metrics = StreamMetrics()
        open_things.enter_context(metrics_served(config, metrics, tell))
        listeners = open_things.enter_context(open_listeners(config, metrics, tell))
        streams = None
        if live is not None:
            streams = _streams(config, bundle, choice, live, listeners, events, metrics, tell, archive)
        channels = [] if streams is None else streams.channels
        folder = open_things.enter_context(
            tempfile.TemporaryDirectory(prefix="stts-serve-", ignore_cleanup_errors=True)
        )
        store = None if archive is None else archive.store
        parts = Parts.of(bundle, config, worker, channels, Path(folder), stop, metrics, store)
        heard = [*listeners.all, parts.hub, *state_logs(config, tell), Beats(manager)]
        pipeline = Pipeline(channels, events, heard, parts.queue, sessions.answers, metrics.batched)
        reloader = None
        if streams is not None:
            streams.join(pipeline)
            streams.observers.append(parts)
            if reread is not None:
                reloader = Reloader(reread, streams, listeners.outlets, config, manager, tell, may_load=False)
                open_things.enter_context(reloader)
        app = make_app(parts, config.serve, token, tell, reloader)

        def between() -> bool:
            manager.beat()
            return streams is not None and streams.between()

        with HttpServer(app, place, stop.set, config.serve.certificate):
            announce(config.serve, place.getsockname()[1], token, tell, "/v1")
            manager.ready(f"{counted(len(channels), 'stream')}, {bundle.folder} ({bundle.identity})")
            try:
                pipeline.run(stop, between)
            finally:
                manager.stopping()
                parts.close()


def _streams(
    config: ServeConfig,
    bundle: Bundle,
    choice: EngineChoice,
    engines: Engines,
    listeners: Listeners,
    events: Events,
    metrics: StreamMetrics,
    tell: Tell,
    archive: Archive | None,
) -> RunningStreams:
    """Opens their sources."""
    loaded = LoadedBundle(Wanted.of(config, bundle, choice), engines, choice)
    metrics.build(lambda: loaded.labels)
    plans = Planner(config, bundle, engines.answers.conversations[0]).all()
    relays = partial(Relay, events=events, metrics=metrics)
    return RunningStreams(loaded, plans, listeners.outlets, relays, listeners.observers, tell, archive)


def checked(config: ServeConfig) -> ServeConfig:
    """The same. Raises `UserError` for a token, a certificate or an archive that is missing or unusable."""
    check_server(config.serve)
    return config


def check_server(settings: ServerSettings) -> None:
    """Raises `UserError` as `checked`."""
    required_token(settings)
    if settings.certificate:
        check_certificate(*settings.certificate)
    for archive in settings.search or ():
        check_archive(archive)


def _link(config: ServeConfig, place: str) -> str:
    return f"{config.serve.base_path}{ALERTS}/{place}"


def _live(config: ServeConfig, bundle: Bundle, choice: EngineChoice, answers: AnswerPool) -> Engines | None:
    """None if there are no sources and the bundle has nothing for them. Raises `BundleError` if there are some."""
    if bundle.manifest.live is None and not config.streams:
        return None
    return incremental_engines(config, bundle, choice, answers)


def announce(settings: ServerSettings, port: int, token: str | None, tell: Tell, api: str) -> None:
    """Where the page is, and below it the API."""
    address = settings.listen.address
    shown = f"[{address}]" if ":" in address else address
    if token is None and not is_loopback(address):
        tell(f"warning: --insecure: everybody who reaches {shown}:{port} sees all streams and may ask, without a token")
    scheme = "https" if settings.certificate else "http"
    url = f"{scheme}://{shown}:{port}{settings.base_path}"
    tell(f"page: {url}/  API: {url}{api}" + ("  (with the token)" if token else ""))
