"""A sink that gets alarms and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stts_runtime.records import Record, is_alert

if TYPE_CHECKING:
    from stts_runtime.sinks.open import Sink


class AlertsOnly:
    """Passes alarms on to another sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self.name = sink, sink.name

    def write(self, record: Record) -> None:
        if is_alert(record):
            self._sink.write(record)

    def close(self, seconds: float) -> None:
        self._sink.close(seconds)
