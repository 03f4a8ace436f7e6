"""One box as seen from the fleet: what it was told, what it holds, and what it has said. Used from one thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stts_runtime import clock
from stts_runtime.fleet.box import VERSION, Obeyed
from stts_runtime.fleet.cluster import Cluster, Failed, Place
from stts_runtime.fleet.config import FleetConfig
from stts_runtime.fleet.outbox import Parcel
from stts_runtime.stream.standing import Standing

Kind = Literal["load", "exchange", "order"]
_AGAIN_SECONDS = 15.0
"""After an order that a box refused."""


@dataclass(frozen=True)
class _Order:
    streams: frozenset[str]
    revision: int
    """Of the configuration."""


class Link:
    def __init__(self, cluster: Cluster, place: Place, config: FleetConfig) -> None:
        """Has a box made there, which loads its engines; see `loaded`."""
        self._cluster, self.place, self.name = cluster, place, place.name
        self.actor = cluster.start_box(place)
        self.calls: dict[Any, Kind] = {}
        self.bears: int | None = None
        """How many streams; None until it is loaded."""
        self.heard = clock.now()
        self._safe = 0
        self._obeyed = _Order(frozenset(), -1)
        self._sent: _Order | None = None
        self._leaving: set[str] = set()
        self._leaves_at = 0
        self._again = 0.0
        given = config.fleet.borne(place.name, place.machine)
        self._call("load", self.actor.load.remote(config.part([], self.name), given, config.fleet.lost_after, VERSION))

    @property
    def holds(self) -> frozenset[str]:
        """Streams that it looks at, or may, or whose last records are still there: no other box may have them."""
        sent = self._sent.streams if self._sent is not None else frozenset()
        return self._obeyed.streams | sent | self._leaving

    @property
    def runs(self) -> frozenset[str]:
        """Streams that it surely looks at."""
        return self._obeyed.streams

    def is_silent(self, seconds: float) -> bool:
        return self.bears is not None and clock.now() - self.heard > seconds

    def loaded(self, bears: int) -> None:
        self.bears, self.heard = bears, clock.now()
        self.listen(follows=False)

    def listen(self, *, follows: bool) -> None:
        """Asks for what it says next, and tells it what is safe."""
        self._call("exchange", self.actor.exchange.remote(self._safe, follows))

    def took(self, parcel: Parcel) -> None:
        """All of it is safe."""
        self.heard, self._safe = clock.now(), parcel.last
        self._drain()

    def order(
        self,
        config: FleetConfig,
        revision: int,
        streams: frozenset[str],
        standings: Mapping[str, Standing],
        leaving: Mapping[str, str],
    ) -> bool:
        """Tells it what to look at; whether there was anything to tell. One order at a time."""
        wanted = _Order(streams, revision)
        if self._sent is not None or wanted == self._obeyed or clock.now() < self._again:
            return False
        self._sent, part = wanted, config.part(sorted(streams), self.name)
        self._call("order", self.actor.order.remote(part, revision, standings, leaving))
        return True

    def obeyed(self, result: Obeyed | Failed) -> None:
        """What became of the order. One that failed is given again after a while."""
        assert self._sent is not None
        sent, self._sent = self._sent, None
        if isinstance(result, Failed):
            self._again = clock.now() + _AGAIN_SECONDS
            return
        self._leaving |= self._obeyed.streams - sent.streams
        self._leaves_at = result.last
        self._obeyed = sent
        self._drain()

    def is_settled(self, revision: int) -> bool:
        """Whether it does what the configuration of that number says, and nothing of before is left."""
        return self._obeyed.revision == revision and self._sent is None and not self._leaving

    def end(self) -> None:
        """Whatever it still says, nobody hears."""
        self.calls.clear()
        self._cluster.end_box(self.actor)

    def _call(self, kind: Kind, call: Any) -> None:
        self.calls[call] = kind

    def _drain(self) -> None:
        if self._safe >= self._leaves_at:
            self._leaving.clear()
