"""Where records of streams go: sinks that are open, each once, and which stream writes to which."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from stts_runtime.errors import UserError
from stts_runtime.sinks.alerts_only import AlertsOnly
from stts_runtime.sinks.config import SinkConfig
from stts_runtime.sinks.open import Sink, open_sink
from stts_runtime.sinks.spool import Backlog
from stts_runtime.sinks.spooled import SpooledSink
from stts_runtime.stream.alerts import AlertFilter
from stts_runtime.stream.config import Cameras
from stts_runtime.stream.pipeline import Delivery
from stts_runtime.tell import Tell

if TYPE_CHECKING:
    from pathlib import Path

    from stts_runtime.stream.metrics import StreamMetrics

_CLOSE_SECONDS = 10.0
"""For what waits to be delivered; the rest goes out at the next start."""


def alert_filter(config: Cameras) -> AlertFilter:
    return AlertFilter({entry.name: config.asking(entry).alert for entry in config.streams})


class Outlets:
    """A context manager that closes all sinks. `opened` may be called in another thread than the rest."""

    def __init__(self, config: Cameras, metrics: StreamMetrics | None, tell: Tell) -> None:
        """Raises what `open_sink` raises; nothing stays open then."""
        self._metrics, self._tell = metrics, tell
        self._state: Callable[[], Path] = lambda: config.state_folder
        self._open: dict[SinkConfig, Sink] = {}
        self.delivery = Delivery({}, tell, metrics)
        self.route(config, self.opened(config))

    def opened(self, config: Cameras) -> dict[SinkConfig, Sink]:
        """Those that the configuration wants and that are not open yet.

        Raises `UserError` for one that is open with other settings, and what `open_sink` raises.
        """
        there, fresh = {config.name: config for config in self._open}, {}
        try:
            for one in config.all_sinks:
                if one in self._open:
                    continue
                if one.name in there:
                    raise UserError(f"the sink {one.name} is open with other settings, which need a restart")
                fresh[one] = open_sink(one, self._state, self._tell)
        except BaseException:
            _close(fresh.values())
            raise
        return fresh

    def route(self, config: Cameras, fresh: Mapping[SinkConfig, Sink]) -> None:
        """From now on each stream writes where the configuration says; what nobody writes to is closed meanwhile."""
        for sink in fresh.values():
            if self._metrics is not None and isinstance(sink, SpooledSink):
                self._metrics.watch_spool(sink.name, _backlog_of(sink))
        known, wanted = {**self._open, **fresh}, set(config.all_sinks)
        self._open = {one: sink for one, sink in known.items() if one in wanted}
        self.delivery.route(
            {entry.name: [_heard(one, known[one]) for one in config.asking(entry).sinks] for entry in config.streams},
            alert_filter(config),
        )
        left = [sink for one, sink in known.items() if one not in wanted]
        if left:
            for sink in left:
                if self._metrics is not None:
                    self._metrics.forget_spool(sink.name)
            threading.Thread(target=_close, args=(left,), name="sinks-close", daemon=True).start()

    def give_up(self, fresh: Mapping[SinkConfig, Sink]) -> None:
        """Closes what was opened and is not wanted after all."""
        _close(fresh.values())

    def __enter__(self) -> Outlets:
        return self

    def __exit__(self, *_: object) -> None:
        _close(self._open.values())


def _heard(config: SinkConfig, sink: Sink) -> Sink:
    """What gets the records."""
    return sink if config.only is None else AlertsOnly(sink)


def _backlog_of(sink: SpooledSink) -> Callable[[], Backlog]:
    return lambda: sink.backlog


def _close(sinks: Iterable[Sink]) -> None:
    for sink in sinks:
        sink.close(_CLOSE_SECONDS)
