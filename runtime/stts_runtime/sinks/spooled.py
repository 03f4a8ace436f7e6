"""A sink whose other side may be away: records wait in a spool, and a thread of its own delivers them in order.

At least once: what was delivered a moment before a kill goes out again at the next start.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, replace
from typing import Protocol

from stts_runtime import clock
from stts_runtime.errors import SinkError
from stts_runtime.records import Record
from stts_runtime.sinks.attach import with_snapshot
from stts_runtime.sinks.line_file import LineFile
from stts_runtime.sinks.spool import Backlog, Parcel, Spool
from stts_runtime.tell import Seldom, Tell


class AwayError(Exception):
    """The other side cannot take anything now; `pause_seconds` is what it asked for. Its text has no credentials."""

    def __init__(self, reason: str, pause_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds


class RefusedError(Exception):
    """The other side will never take this record. Its text has no credentials."""


class Courier(Protocol):
    """Used from one thread. No call takes longer than about the sink's timeout."""

    def deliver(self, body: bytes) -> None:
        """Returns once the other side has said that it has it. Raises `AwayError` or `RefusedError`."""
        ...

    def tend(self) -> None:
        """Called every second or so while nothing waits. Raises `AwayError`."""
        ...

    def close(self) -> None: ...


_IDLE_SECONDS = 1.0


@dataclass(frozen=True)
class Pauses:
    """Between attempts: from `first` seconds, doubling, to `longest`; less up to half of it by chance, so that many
    senders do not come back at the same moment.
    """

    first: float = 1.0
    longest: float = 60.0
    longest_asked: float = 3600.0
    """What the other side may ask for at most."""

    def after(self, failures: int, asked: float | None) -> float:
        if asked is not None:
            return min(asked, self.longest_asked)
        whole = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return whole * random.uniform(0.5, 1.0)  # noqa: S311  # nothing secret


class SpooledSink:
    """Owns all that it is given; the thread closes it when it ends."""

    def __init__(
        self,
        name: str,
        spool: Spool,
        courier: Courier,
        refused: LineFile,
        tell: Tell,
        pauses: Pauses | None = None,
        attaches: bool = False,
    ) -> None:
        """`attaches`: records of alarms have their picture in them."""
        self.name = name
        self._spool, self._courier, self._refused = spool, courier, refused
        self._tell, self._pauses, self._attaches = tell, pauses or Pauses(), attaches
        self._say_refused, self._say_dropped, self._say_failed = Seldom(tell), Seldom(tell), Seldom(tell)
        self._work, self._closing = threading.Event(), threading.Event()
        self._deadline = float("inf")
        self._failures, self._refusals = 0, 0
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> Backlog:
        """For any thread."""
        return replace(self._spool.backlog, refused=self._refusals)

    def write(self, record: Record) -> None:
        if self._closing.is_set():
            raise SinkError(f"{self.name} is closed")
        before = self._spool.backlog.dropped
        whole = with_snapshot(record) if self._attaches else record
        self._spool.put(whole.model_dump_json().encode())
        self._work.set()
        if (dropped := self._spool.backlog.dropped) > before:
            self._say_dropped(f"{self.name}: the spool is full; {dropped} of the oldest records were dropped so far")

    def close(self, seconds: float) -> None:
        """An attempt under way may end later than that; the thread then ends by itself."""
        self._deadline = clock.now() + seconds
        self._closing.set()
        self._work.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while not (self._closing.is_set() and self._done()):
                self._guarded_step()
            if left := self._spool.backlog.waiting:
                self._tell(f"{self.name}: {left} records wait in the spool for the next start")
        finally:
            self._courier.close()
            self._refused.close()
            self._spool.close()

    def _done(self) -> bool:
        return self._failures > 0 or clock.now() >= self._deadline or not self._spool.backlog.waiting

    def _guarded_step(self) -> None:
        try:
            self._step()
        except AwayError as away:
            self._failures += 1
            if self._failures == 1:
                self._tell(f"{self.name}: {away}; records wait in the spool")
            clock.wait(self._closing, self._pauses.after(self._failures, away.pause_seconds))
        except SinkError as error:
            self._failures += 1
            self._say_failed(f"{self.name}: {error}")
            clock.wait(self._closing, self._pauses.after(self._failures, None))

    def _step(self) -> None:
        self._work.clear()
        parcel = self._spool.first()
        if parcel is None:
            self._courier.tend()
            self._back()
            self._work.wait(_IDLE_SECONDS)
            return
        self._hand_over(parcel)
        self._back()
        self._spool.remove(parcel)

    def _hand_over(self, parcel: Parcel) -> None:
        try:
            self._courier.deliver(parcel.body)
        except RefusedError as refusal:
            self._refused.append(parcel.body)
            self._refusals += 1
            self._say_refused(f"{self.name}: {refusal}; the record was set aside in {self._refused.path.name}")

    def _back(self) -> None:
        if self._failures:
            self._failures = 0
            self._tell(f"{self.name}: is back")
