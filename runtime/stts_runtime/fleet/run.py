"""`stts-runtime fleet`: from a configuration to a fleet that runs. Read from `run_fleet` down."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, closing

from stts_runtime.fleet.app import make_fleet_app
from stts_runtime.fleet.cluster import connected
from stts_runtime.fleet.config import FleetConfig
from stts_runtime.fleet.fleet import Fleet
from stts_runtime.fleet.ledger import Ledger
from stts_runtime.fleet.metrics import FleetMetrics, metrics_served
from stts_runtime.fleet.reload import FleetReload, checked
from stts_runtime.fleet.views import FleetAnswers, FleetHub
from stts_runtime.serve.events import EventBroker
from stts_runtime.serve.guard import required_token
from stts_runtime.serve.run import announce, check_server
from stts_runtime.serve.server import HttpServer, bound
from stts_runtime.service_manager import ServiceManager
from stts_runtime.small_memory import small_memory
from stts_runtime.stream.metrics import StreamMetrics
from stts_runtime.stream.outlets import Outlets
from stts_runtime.stream.reload import Reread
from stts_runtime.stream.state_log import state_logs
from stts_runtime.tell import Tell
from stts_runtime.text import counted

_ROUND_SECONDS = 0.2


def run_fleet(config: FleetConfig, stopped: Callable[[], threading.Event], tell: Tell, reread: Reread) -> None:
    """Runs until the event is set that `stopped` gives, which is called behind Ray, as that takes signals for itself.
    `tell` gets lines for people, from any thread.

    Raises `UserError` for what cannot work, before any camera is asked.
    """
    manager = ServiceManager()
    with small_memory(), ExitStack() as open_things:
        place = open_things.enter_context(closing(bound(config.serve.listen)))
        check_server(config.serve)
        token = required_token(config.serve)
        bundle = checked(config)
        cluster = open_things.enter_context(connected(config.fleet, on_gpus=config.on_gpus))
        stop = stopped()
        cluster.check_places()
        cluster.check_alone()
        own, events = StreamMetrics(), EventBroker()
        outlets = open_things.enter_context(Outlets(config, own, tell))
        ledger = Ledger([outlets.delivery, *state_logs(config, tell)])
        fleet = Fleet(cluster, config, ledger, events, tell)
        metrics = FleetMetrics(fleet, cluster, own)
        open_things.enter_context(metrics_served(config, metrics))
        reload = open_things.enter_context(closing(FleetReload(reread, fleet, outlets, bundle, tell)))
        hub, answers = FleetHub(fleet, cluster, events), FleetAnswers(fleet, cluster, config.serve.limits)
        app = make_fleet_app(config, fleet, hub, answers, own, metrics, reload, token, tell)
        with HttpServer(app, place, stop.set, config.serve.certificate):
            announce(config.serve, place.getsockname()[1], token, tell, "/api")
            manager.ready(f"{counted(len(config.streams), 'stream')}, {bundle.folder} ({bundle.identity})")
            try:
                while not stop.is_set():
                    manager.beat()
                    fleet.step(_ROUND_SECONDS)
                    reload.step()
            finally:
                manager.stopping()
                events.close()
                fleet.stop()
