"""A configuration that is read again while streams run: checked and opened beside them, then handed over whole.

What is wrong with it is said in one line, and everything goes on as before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from stts_runtime.bundle import Bundle
from stts_runtime.engines import choose_engine
from stts_runtime.errors import SttsError, UserError
from stts_runtime.service_manager import ServiceManager
from stts_runtime.sources import open_source
from stts_runtime.sources.spec import Kind, parse_spec
from stts_runtime.stream.change import Change, Difference
from stts_runtime.stream.config import Cameras
from stts_runtime.stream.loaded import LoadedBundle, Wanted, load_beside
from stts_runtime.stream.outlets import Outlets
from stts_runtime.stream.plan import Planner, StreamPlan, naming
from stts_runtime.stream.running import RunningStreams
from stts_runtime.tell import Tell

FIXED = ("device", "batch", "alert_files", "metrics", "preview", "state", "serve")
"""Settings that need a restart."""
_LOOK_SECONDS = 0.5
REFUSED = "error: reload refused, everything goes on as before"
_STOPPING = "error: not reloaded: the program is stopping"


@dataclass(frozen=True)
class Reread:
    """How a configuration is read again: `wanted` says when, `read` gives it as it is then."""

    wanted: threading.Event
    read: Callable[[], Cameras]


class Reloader:
    """A context manager with a thread that waits until a change is wanted."""

    def __init__(
        self,
        reread: Reread,
        running: RunningStreams,
        outlets: Outlets,
        config: Cameras,
        manager: ServiceManager,
        tell: Tell,
        *,
        may_load: bool = True,
    ) -> None:
        """`config` is the one that runs. Without `may_load` the engines stay as they are."""
        self._may_load = may_load
        self._asked: list[Future[str]] = []
        self._read, self._wanted, self._running, self._outlets = reread.read, reread.wanted, running, outlets
        self._config, self._manager, self._tell = config, manager, tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stts-reload", daemon=True)

    def __enter__(self) -> Reloader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_LOOK_SECONDS * 2)
        for one in self._asked:
            one.set_result(_STOPPING)

    def ask(self) -> Future[str]:
        """From any thread; what is said of it in the end."""
        done: Future[str] = Future()
        self._asked.append(done)
        self._wanted.set()
        return done

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._wanted.wait(_LOOK_SECONDS):
                self._wanted.clear()
                asked, self._asked = self._asked, []
                self._manager.reloading()
                line = self._reload()
                self._manager.ready()
                self._tell(line)
                for one in asked:
                    one.set_result(line)

    def _reload(self) -> str:
        """In words."""
        try:
            done = self._changed()
        except (SttsError, OSError, MemoryError) as error:
            return f"{REFUSED}: {str(error) or 'not enough memory'}"
        except Exception as error:  # noqa: BLE001  # a mistake of ours must not keep later changes from being read
            return f"error: reload failed, everything goes on as before: {type(error).__name__}: {error}"
        return _STOPPING if done is None else f"reloaded: {done}"

    def _changed(self) -> str | None:
        """None if the program stops meanwhile."""
        change = self._prepared()
        done: str | None = None
        try:
            done = self._running.apply(change, self._stop)
        finally:
            if done is None:
                self._outlets.give_up(change.sinks)
        self._config = change.config
        return done

    def _prepared(self) -> Change:
        """Raises `SttsError` for what cannot be; nothing stays open then."""
        config = self._read()
        for name in FIXED:
            if getattr(config, name, None) != getattr(self._config, name, None):
                raise UserError(f"{name} cannot be changed while streams run: restart for that")
        plans, loaded = prepared(config, self._running, self._tell, may_load=self._may_load)
        difference = Difference.between(self._running.plans, plans, new_engines=loaded is not None)
        for plan in (*difference.added, *difference.restarted):
            _check_source(plan)
        return Change(config, plans, self._outlets.opened(config), loaded)


def prepared(
    config: Cameras, streams: RunningStreams, tell: Tell, *, may_load: bool = True
) -> tuple[list[StreamPlan], LoadedBundle | None]:
    """Plans of all streams, and what is to answer them if that is not what runs.

    Raises `SttsError` for what cannot be. Without `may_load` the engines have to stay as they are.
    """
    running = streams.loaded
    bundle = Bundle.open(config.bundle).pinned()
    choice = choose_engine(bundle, config.engine, config.device)
    if Wanted.of(config, bundle, choice) == running.wanted:
        return planned(config, running), None
    if not may_load:
        raise UserError("the bundle, its engine and keep cannot be changed here while it runs: restart for that")
    loaded = load_beside(config, bundle, choice, running, tell)
    return planned(config, loaded), loaded


def planned(config: Cameras, loaded: LoadedBundle) -> list[StreamPlan]:
    """Of all streams, on those engines. Raises `SttsError`."""
    return Planner(config, loaded.bundle, loaded.engines.answers.conversations[0]).all()


def _check_source(plan: StreamPlan) -> None:
    """Raises `SourceError` for a file that cannot be read. Nothing else is opened before it is wanted."""
    with naming(plan.name):
        if parse_spec(plan.entry.source).kind in (Kind.RECORDING, Kind.FOLDER):
            open_source(plan.entry.source, None, plan.settings, frames_per_second=1.0).close()
