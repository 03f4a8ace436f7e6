"""A fleet's configuration that is read again: checked here as a whole, before any box hears of it."""

from __future__ import annotations

from concurrent.futures import Future

from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.errors import SttsError, UserError
from stts_runtime.fleet.config import FleetConfig
from stts_runtime.fleet.fleet import Fleet
from stts_runtime.sinks.config import SinkConfig
from stts_runtime.sinks.open import Sink
from stts_runtime.stream.outlets import Outlets
from stts_runtime.stream.plan import Planner
from stts_runtime.stream.reload import FIXED, REFUSED, Reread
from stts_runtime.tell import Tell

_STOPPING = "error: not reloaded: the fleet is stopping"


def checked(config: FleetConfig) -> Bundle:
    """The bundle as this machine has it. Raises `UserError` for streams that cannot be answered with it."""
    bundle = Bundle.open(config.bundle).pinned()
    Planner(config, bundle, Conversation.unloaded(bundle)).all()
    return bundle


class FleetReload:
    """`step` is called by the fleet's thread, `ask` by any."""

    def __init__(self, reread: Reread, fleet: Fleet, outlets: Outlets, bundle: Bundle, tell: Tell) -> None:
        """`bundle` is that of the configuration that runs."""
        self.bundle = bundle
        self._reread, self._fleet, self._outlets, self._tell = reread, fleet, outlets, tell
        self._asked: list[Future[str]] = []
        self._route_later: FleetConfig | None = None

    def ask(self) -> Future[str]:
        """What is said of it in the end."""
        done: Future[str] = Future()
        self._asked.append(done)
        self._reread.wanted.set()
        return done

    def step(self) -> None:
        if self._reread.wanted.is_set():
            self._reread.wanted.clear()
            asked, self._asked = self._asked, []
            line = self._reloaded()
            self._tell(line)
            for one in asked:
                one.set_result(line)
        if self._route_later is not None and self._fleet.is_settled:
            config, self._route_later = self._route_later, None
            self._outlets.route(config, {})

    def close(self) -> None:
        for one in self._asked:
            one.set_result(_STOPPING)

    def _reloaded(self) -> str:
        """In words."""
        before = self._fleet.config
        try:
            config, bundle = self._read(before)
            fresh = self._outlets.opened(config)
        except (SttsError, OSError, MemoryError) as error:
            return f"{REFUSED}: {str(error) or 'not enough memory'}"
        self.bundle = bundle
        self._take(before, config, fresh)
        return f"reloaded: {_difference(before, config)}"

    def _read(self, before: FleetConfig) -> tuple[FleetConfig, Bundle]:
        config = self._reread.read()
        assert isinstance(config, FleetConfig)
        for name in (*FIXED, "fleet"):
            if getattr(config, name, None) != getattr(before, name, None):
                raise UserError(f"{name} cannot be changed while streams run: restart for that")
        if config.on_gpus != before.on_gpus:
            raise UserError(f"engine {config.engine} takes other boxes than {before.engine}: restart for that")
        return config, checked(config)

    def _take(self, before: FleetConfig, config: FleetConfig, fresh: dict[SinkConfig, Sink]) -> None:
        """Streams that are gone have their sinks until their last record came."""
        gone = tuple(entry for entry in before.streams if entry.name not in set(config.names))
        self._outlets.route(config.model_copy(update={"streams": (*config.streams, *gone)}), fresh)
        self._fleet.change(config)
        self._route_later = config


def _difference(before: FleetConfig, config: FleetConfig) -> str:
    known = {entry.name: (entry, before.asking(entry)) for entry in before.streams}
    counts = {"added": 0, "removed": len(set(before.names) - set(config.names)), "changed": 0, "as before": 0}
    for entry in config.streams:
        if entry.name not in known:
            counts["added"] += 1
        else:
            counts["as before" if known[entry.name] == (entry, config.asking(entry)) else "changed"] += 1
    return ", ".join(f"{number} {word}" for word, number in counts.items() if number)
