"""What a box said, until whoever asked for it says that it is safe. Thread-safe; it knows no network."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from stts_runtime.records import Record
from stts_runtime.serve.events import Event
from stts_runtime.sinks.config import SinkConfig
from stts_runtime.sinks.open import Sink
from stts_runtime.stream.channel import Channel, Look
from stts_runtime.stream.config import Cameras

_MOST_RECORDS = 100_000
_MOST_NEWS = 1000


@dataclass(frozen=True)
class Parcel:
    """What is taken at a time."""

    records: list[Record]
    last: int
    """The number of the last record of the box: to be said once all of them are safe."""
    news: list[Event]
    """For pages; what nobody took in time is gone."""
    lines: list[tuple[str, str, dict[str, object]]]
    """For the log: level, text, fields."""


class Outbox:
    """A listener of the pipeline. Records stay until they are acknowledged, and are given again until then."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._records: deque[tuple[int, Record]] = deque(maxlen=_MOST_RECORDS)
        self._last = 0
        self._news: deque[Event] = deque(maxlen=_MOST_NEWS)
        self._lines: deque[tuple[str, str, dict[str, object]]] = deque(maxlen=_MOST_NEWS)
        self.follows = False
        """Whether somebody wants the news."""

    @property
    def last(self) -> int:
        """The number of the newest record."""
        return self._last

    @property
    def waiting(self) -> int:
        """How many records are not safe yet, as far as is known here."""
        return len(self._records)

    def route(self, config: Cameras, fresh: Mapping[SinkConfig, Sink]) -> None:
        """All records go one way, whoever is to have them."""

    def saw(self, channel: Channel, look: Look) -> None:
        """Pictures stay here."""

    def said(self, record: Record) -> None:
        with self._change:
            self._last += 1
            self._records.append((self._last, record))
            self._change.notify_all()

    def publish(self, event: Event) -> None:
        """As `EventBroker.publish`."""
        if self.follows:
            self._news.append(event)

    def event(self, level: str, text: str, **fields: object) -> None:
        """As `TellEvent`."""
        self._lines.append((level, text, fields))

    def __call__(self, line: str) -> None:
        """As `Tell`."""
        word, colon, rest = line.partition(": ")
        known = colon and word in ("warning", "error", "note")
        level = "info" if word == "note" or not known else word
        self.event(level, rest if known else line)

    def take(self, safe: int, seconds: float) -> Parcel:
        """Forgets records up to the number `safe` and gives all others, at once if there are any."""
        with self._change:
            while self._records and self._records[0][0] <= safe:
                self._records.popleft()
            self._change.wait_for(lambda: self._records, seconds)
            records, last = [record for _, record in self._records], self._last
        return Parcel(records, last, _drained(self._news), _drained(self._lines))


def _drained(waiting: deque) -> list:  # type: ignore[type-arg]
    taken = []
    while waiting:
        taken.append(waiting.popleft())
    return taken
