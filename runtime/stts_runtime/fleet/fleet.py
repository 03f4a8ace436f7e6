"""Who looks at which camera, and everything that changes it: boxes that come and go, and another configuration.

One thread goes round: it hears boxes, gives what they said to the ledger, and brings what they look at nearer to what
it should be. A stream is given to a box only when no other holds it, and what that one said of it is in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stts_runtime import clock
from stts_runtime.errors import UserError
from stts_runtime.fleet.cluster import Cluster, Failed, Place
from stts_runtime.fleet.config import FleetConfig
from stts_runtime.fleet.ledger import Ledger
from stts_runtime.fleet.link import Kind, Link
from stts_runtime.fleet.outbox import Parcel
from stts_runtime.fleet.placement import Placement, place
from stts_runtime.serve.events import Event, EventBroker
from stts_runtime.tell import Tell, tell_event
from stts_runtime.text import counted

_LOOK_SECONDS = 1.0
"""Between two looks at which machines there are."""
_SETTLE_SECONDS = 60.0
"""The first cameras are placed when all machines have loaded, or after so long."""
_AGAIN_SECONDS = 30.0
"""Before a box is made anew where one failed."""
_STOP_SECONDS = 20.0


class Fleet:
    """`step` goes round once. Other threads read `at`, `waiting` and `links`, which are replaced and never changed."""

    def __init__(self, cluster: Cluster, config: FleetConfig, ledger: Ledger, events: EventBroker, tell: Tell) -> None:
        self._cluster, self.config, self._ledger, self._events, self._tell = cluster, config, ledger, events, tell
        self.links: Mapping[str, Link] = {}
        """By name, also those that still load."""
        self.at: Mapping[str, Link] = {}
        """Who looks at a stream."""
        self.waiting: tuple[str, ...] = ()
        """Streams for which there is no room."""
        self.lost = self.moves = 0
        """How many boxes were lost, and streams given to another box, since the start."""
        self.last_round = clock.now()
        self._placement = Placement({}, ())
        self._revision = 0
        self._began, self._look_at = clock.now(), 0.0
        self._not_before: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        self._last_box: dict[str, str] = {}

    @property
    def ready(self) -> list[Link]:
        """Boxes that have loaded."""
        return [link for link in self.links.values() if link.bears is not None]

    @property
    def is_settled(self) -> bool:
        """Whether every box does what the newest configuration says."""
        return all(link.is_settled(self._revision) for link in self.ready)

    def step(self, seconds: float) -> None:
        """Waits at most so long for something to happen. Raises `UserError` if no box can work from the beginning."""
        self.last_round = clock.now()
        self._hear(seconds)
        for link in list(self.ready):
            if link.is_silent(self.config.fleet.lost_after):
                self._lose(link, f"not heard for {clock.now() - link.heard:.1f} s")
        if clock.now() >= self._look_at:
            self._look_at = clock.now() + _LOOK_SECONDS
            self._look_around()
        if self._may_place:
            self._place()
            self._give_orders()

    def change(self, config: FleetConfig) -> None:
        """From now on it is this one, which was checked."""
        gone = set(self.config.names) - set(config.names)
        for stream in gone:
            self._last_box.pop(stream, None)
        self.config = config
        self._revision += 1
        # Pages read the state anew where events end.
        self._events.close()

    def stop(self) -> None:
        """Ends all boxes; what they said to the end is in the ledger, as far as they can be reached."""
        asked = [(link, link.actor.stop.remote()) for link in self.ready]
        deadline = clock.now() + _STOP_SECONDS
        for link, call in asked:
            last = self._cluster.result(call, max(0.1, deadline - clock.now()))
            while not isinstance(last, Failed) and not self._take_all(link, last):
                if clock.now() > deadline:
                    break
        for link in self.links.values():
            link.end()

    def _take_all(self, link: Link, last: int) -> bool:
        """Whether nothing is left to take."""
        for call in [one for one, kind in link.calls.items() if kind == "exchange"]:
            del link.calls[call]
            parcel = self._cluster.result(call, _LOOK_SECONDS * 2)
            if isinstance(parcel, Failed):
                return True
            self._take(link, parcel)
            if parcel.last >= last:
                return True
        link.listen(follows=False)
        return False

    def _hear(self, seconds: float) -> None:
        calls = {call: (link, kind) for link in self.links.values() for call, kind in link.calls.items()}
        for call in self._cluster.ready(list(calls), seconds):
            link, kind = calls[call]
            # One that was lost meanwhile has none left.
            if link.calls.pop(call, None) is not None:
                self._handle(link, kind, self._cluster.result(call))

    def _handle(self, link: Link, kind: Kind, result: Any) -> None:
        if isinstance(result, Failed) and (result.lost or kind == "load"):
            self._lose(link, result.reason)
        elif kind == "load":
            link.loaded(result)
            self._problems.pop(link.name, None)
            self._tell(f"{link.name} bears {counted(result, 'stream')}")
        elif kind == "order":
            link.obeyed(result)
            if isinstance(result, Failed):
                self._tell(f"error: {link.name} goes on as before: {result.reason}")
            elif result.kept is not None:
                self._tell(f"error: {link.name} goes on with the bundle that it has: {result.kept}")
        else:
            if isinstance(result, Parcel):
                self._take(link, result)
            link.listen(follows=self._events.clients > 0)

    def _take(self, link: Link, parcel: Parcel) -> None:
        self._ledger.take(parcel.records)
        link.took(parcel)
        for event in parcel.news:
            self._events.publish(event)
        for level, text, fields in parcel.lines:
            tell_event(self._tell, level, f"{link.name}: {text}", box=link.name, **fields)

    def _look_around(self) -> None:
        places = self._cluster.places()
        for name, link in list(self.links.items()):
            if name not in places or places[name].node != link.place.node:
                self._lose(link, "its machine left the cluster")
        for name, where in places.items():
            if name not in self.links and clock.now() >= self._not_before.get(name, 0.0):
                self._start(where)

    def _start(self, where: Place) -> None:
        tell_event(self._tell, "debug", f"{where.name}: loading", box=where.name)
        try:
            link = Link(self._cluster, where, self.config)
        except UserError:
            if not self.at:
                raise
            # What was lost there may still be ending.
            self._not_before[where.name] = clock.now() + _AGAIN_SECONDS
        else:
            self.links = {**self.links, where.name: link}

    def _lose(self, link: Link, why: str) -> None:
        self.links = {name: one for name, one in self.links.items() if one is not link}
        self._not_before[link.name] = clock.now() + _AGAIN_SECONDS
        if link.bears is None:
            self._problems[link.name] = why
            self._tell(f"error: {link.name} cannot be used: {why}")
        else:
            self.lost += 1
            held = sorted(link.holds & set(self.config.names))
            ago = clock.now() - link.heard
            self._tell(f"warning: {link.name} is lost: {why}; it had {counted(len(held), 'stream')}")
            for stream in held:
                self._say(stream, f"{link.name} is lost: {why}; from {ago:.1f} s ago on nothing was heard")
        link.end()
        if self._problems and not self.links and not self.at:
            raise UserError("; ".join(f"{name} cannot be used: {words}" for name, words in self._problems.items()))

    def _say(self, stream: str, reason: str) -> None:
        event = self._ledger.say(self.config, stream, reason)
        self._events.publish(Event("state", event.model_dump_json()))

    @property
    def _may_place(self) -> bool:
        loading = len(self.ready) < len(self.links)
        return bool(self.at) or not loading or clock.now() - self._began > _SETTLE_SECONDS

    def _place(self) -> None:
        bears = {link.name: link.bears for link in self.ready if link.bears is not None}
        self._placement = place(self.config.names, bears, self._placement.boxes)
        waiting = tuple(self._placement.waiting)
        if waiting != self.waiting:
            self._say_who_waits(waiting, sum(bears.values()))
        self.waiting = waiting

    def _say_who_waits(self, waiting: tuple[str, ...], room: int) -> None:
        why = f"waits for a machine: there are {len(self.config.names)} streams and room for {room}"
        for stream in waiting:
            if stream not in self.waiting:
                self._say(stream, why)
        if waiting:
            self._tell(f"warning: these streams wait, there is room for {room}: {', '.join(waiting)}")
        else:
            self._tell("no stream waits any more")

    def _give_orders(self) -> None:
        links, changed = self.ready, False
        for link in links:
            elsewhere = {stream for other in links if other is not link for stream in other.holds}
            streams = frozenset(self._placement.of(link.name)) - elsewhere
            new = sorted(streams - link.runs)
            standings = {stream: self._ledger.standing(stream) for stream in new}
            leaving = {stream: why for stream in link.runs - streams if (why := self._why_it_leaves(stream))}
            if link.order(self.config, self._revision, streams, standings, leaving):
                changed = True
                for stream in new:
                    self._tell_move(stream, link.name)
        at = {stream: link for link in links for stream in link.runs}
        if changed or at.keys() != self.at.keys() or any(at[one] is not self.at[one] for one in at):
            self.at = at
            self._events.close()

    def _why_it_leaves(self, stream: str) -> str | None:
        """None: the configuration has it no more."""
        box = self._placement.boxes.get(stream)
        if box is not None:
            return f"moves to {box}"
        return "waits for a machine" if stream in self.waiting else None

    def _tell_move(self, stream: str, box: str) -> None:
        before, number = self._last_box.get(stream), self._ledger.standing(stream).answers + 1
        self._last_box[stream] = box
        if before is None:
            tell_event(self._tell, "info", f"{stream}: {box} looks at it", stream=stream, box=box)
            return
        self.moves += before != box
        text = f"{stream}: {box} looks at it, after {before}, from answer {number} on"
        tell_event(self._tell, "info", text, stream=stream, box=box, before=before, number=number)
