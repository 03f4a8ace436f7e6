"""`stts-runtime serve`: from a configuration to a server that runs. Read from `run_server` down."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineChoice
from stts_runtime.serve.alert_routes import ALERTS
from stts_runtime.serve.app import make_app
from stts_runtime.serve.engine_worker import EngineWorker
from stts_runtime.serve.guard import is_loopback, required_token
from stts_runtime.serve.look_cache import LookCache
from stts_runtime.serve.parts import Parts
from stts_runtime.serve.server import HttpServer, bound
from stts_runtime.serve.settings import ServeConfig
from stts_runtime.serve.tls import check_certificate
from stts_runtime.session import Sessions
from stts_runtime.small_memory import small_memory
from stts_runtime.stream.assemble import (
    incremental_engines,
    metrics_served,
    open_bundle,
    open_channels,
    open_listeners,
    tell_note,
)
from stts_runtime.stream.channel import Channel
from stts_runtime.stream.evidence import open_alert_files
from stts_runtime.stream.metrics import StreamMetrics
from stts_runtime.stream.pipeline import Events, Pipeline
from stts_runtime.stream.watcher import Engines
from stts_runtime.tell import Tell


def run_server(config: ServeConfig, stop: threading.Event, tell: Tell) -> None:
    """Runs until `stop` is set; sources that are over stay on the page. `tell` gets lines for people, from any thread.

    The pipeline runs in this thread and is the only one that touches engines. Raises `UserError` before anything
    listens for what cannot work.
    """
    with small_memory(), ExitStack() as open_things:
        # First of all: an address that is none needs no token.
        place = bound(config.serve.listen)
        open_things.callback(place.close)
        token = required_token(config.serve)
        if config.serve.certificate:
            check_certificate(*config.serve.certificate)
        events = Events()
        archive = open_things.enter_context(open_alert_files(config, events, tell, partial(_link, config)))
        bundle, choice = open_bundle(config, tell)
        sessions = Sessions(bundle, choice.name)
        tell_note(sessions.conversation, tell)
        live = _live(config, bundle, choice, sessions.conversation)
        limits = config.serve.limits
        worker = EngineWorker(bundle, sessions, live, LookCache(limits.cache_bytes, limits.upload_seconds))
        metrics = StreamMetrics()
        open_things.enter_context(metrics_served(config, metrics, tell))
        listeners = open_things.enter_context(open_listeners(config, metrics, tell))
        channels: list[Channel] = [] if live is None else open_channels(config, live, events, metrics, archive)
        folder = open_things.enter_context(
            tempfile.TemporaryDirectory(prefix="stts-serve-", ignore_cleanup_errors=True)
        )
        parts = Parts.of(
            bundle, config, worker, channels, Path(folder), stop, metrics, None if archive is None else archive.store
        )
        app = make_app(parts, config.serve, token, tell)
        pipeline = Pipeline(channels, events, [*listeners, parts.hub], parts.queue)
        with HttpServer(app, place, stop.set, config.serve.certificate):
            _announce(config, place.getsockname()[1], token, tell)
            try:
                pipeline.run(stop)
            finally:
                parts.close()


def _link(config: ServeConfig, place: str) -> str:
    return f"{config.serve.base_path}{ALERTS}/{place}"


def _live(config: ServeConfig, bundle: Bundle, choice: EngineChoice, conversation: Conversation) -> Engines | None:
    """None if there are no sources and the bundle has nothing for them. Raises `BundleError` if there are some."""
    if bundle.manifest.live is None and not config.streams:
        return None
    return incremental_engines(config, bundle, choice, conversation)


def _announce(config: ServeConfig, port: int, token: str | None, tell: Tell) -> None:
    address = config.serve.listen.address
    shown = f"[{address}]" if ":" in address else address
    if token is None and not is_loopback(address):
        tell(f"warning: --insecure: everybody who reaches {shown}:{port} sees all streams and may ask, without a token")
    scheme = "https" if config.serve.certificate else "http"
    url = f"{scheme}://{shown}:{port}{config.serve.base_path}"
    tell(f"page: {url}/  API: {url}/v1" + ("  (with the token)" if token else ""))
