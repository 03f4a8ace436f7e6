"""A source that continues without us: cameras and streams, kept alive for ever.

It knows no protocol: readers do. One thread of the source watches and reconnects, one more reads; nothing is queued
but the freshest picture.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Mapping

from stts_runtime import clock
from stts_runtime.sources.faults import Lost, Refused
from stts_runtime.sources.pump import LiveTimeline, Pump
from stts_runtime.sources.source import Frame, LiveSettings, Picture, Reader, State, Status, StatusListener


class Backoff:
    """Pauses that double, each drawn evenly from zero to its limit: many streams of one server, which lost it at the
    same moment, must not come back at the same moment.
    """

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first, self._longest = first_seconds, longest_seconds
        self._limit = first_seconds
        self._random = random.Random()  # noqa: S311 - no secret

    def next(self) -> float:
        """Seconds to wait now."""
        limit, self._limit = self._limit, min(2 * self._limit, self._longest)
        return self._random.uniform(0, limit)

    def reset(self) -> None:
        self._limit = self._first


_TICK_SECONDS = 0.1
_CLOSE_SECONDS = 1.5
_MOST_HANGING = 4
_MOST_UNTOLD = 100


class LiveSource:
    """Hands on the freshest frame, and reconnects for ever with growing pauses.

    - A refusal (wrong password, no such path, no codec) before the first picture ends it as `REFUSED`: who wrote the
      source must change something. After the first picture the server is asked again every `refused_pause` seconds,
      since one that restarts may refuse for a while.
    - A connection that is silent is `STALLED`, and replaced by a new one.
    - A picture that does not change for `frozen_seconds` is `STALLED` too. The connection is kept and a few pictures
      still pass, for a scene may really be still; the others are counted as `frozen`.
    """

    live = True

    def __init__(
        self,
        name: str,
        connect: Callable[[], Reader],
        on_status: StatusListener | None = None,
        settings: LiveSettings | None = None,
    ) -> None:
        """`connect` makes a new reader for each attempt. `on_status` is called in a thread of the source."""
        self.name = name
        self.reconnections = 0
        self._connect, self._on_status = connect, on_status
        self._settings = settings or LiveSettings()
        self._backoff = Backoff(self._settings.first_pause, self._settings.longest_pause)
        self._timeline = LiveTimeline()
        self._waiting: tuple[Picture, float] | None = None
        """The freshest picture, and its place on the time line."""
        self._drops = {"late": 0, "corrupt": 0, "frozen": 0}
        self._closed = self._was_live = False
        self._status = Status(State.CONNECTING, "connecting", clock.now())
        self._untold = deque([self._status], maxlen=_MOST_UNTOLD)
        self._pump: Pump | None = None
        self._hanging: list[Pump] = []
        # Guards all of the above; told of pictures, states and the wish to close.
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="stts-source", daemon=True)
        self._thread.start()

    @property
    def status(self) -> Status:
        return self._status

    @property
    def drops(self) -> Mapping[str, int]:
        with self._change:
            current = self._pump.corrupt if self._pump else 0
            return {**self._drops, "corrupt": self._drops["corrupt"] + current}

    def take(self, timeout_seconds: float) -> Frame | None:
        with self._change:
            self._change.wait_for(lambda: self._waiting is not None or self._status.over, timeout_seconds)
            waiting, self._waiting = self._waiting, None
        if waiting is None:
            return None
        picture, seconds = waiting
        return Frame(picture.image(), seconds, picture.arrived)

    def ask_to_close(self) -> None:
        with self._change:
            self._closed = True
            self._waiting = None
            self._change.notify_all()

    def close(self) -> None:
        self.ask_to_close()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        """The watching thread: one connection after the other."""
        pause: float | None = 0.0
        while pause is not None and not self._closed_within(pause):
            self._wait_for_hanging()
            pause = self._follow(Pump(self._connect(), self._settings, self._arrived))
        if self._closed and not self._status.over:
            self._become(State.ENDED, "closed")
        self._tell()

    def _closed_within(self, seconds: float) -> bool:
        self._tell()
        end = clock.now() + seconds
        with self._change:
            # In small steps: what `wait_for` counts by stands still while the machine sleeps.
            while not self._closed and (left := end - clock.now()) > 0:
                self._change.wait(min(left, clock.LOOK_SECONDS))
            return self._closed

    def _wait_for_hanging(self) -> None:
        """Readers that do not come back keep a thread and memory: there are never more than a few of them."""
        while len(self._hanging) >= _MOST_HANGING and not self._closed_within(_TICK_SECONDS):
            self._become(State.STALLED, f"{_MOST_HANGING} connections hang and cannot be ended; restart this program")
            self._hanging = [pump for pump in self._hanging if pump.running]

    def _follow(self, pump: Pump) -> float | None:
        """One connection to its end; returns the pause before the next one, None if there is none."""
        with self._change:
            self._pump = pump
            self._timeline.restart()
        pump.start()
        while not (fault := pump.fault()) and not self._closed:
            self._tell()
            with self._change:
                self._change.wait_for(lambda: self._closed or bool(self._untold), _TICK_SECONDS)
        self._leave(pump)
        return self._after(fault, pump) if fault else None

    def _leave(self, pump: Pump) -> None:
        with self._change:
            pump.abandoned = True
            self._pump = None
            self._drops["corrupt"] += pump.corrupt
        if self._closed:
            # Time to give back what it holds, such as a child process.
            pump.join(_CLOSE_SECONDS / 2)
        self._hanging = [each for each in (*self._hanging, pump) if each.running]

    def _after(self, fault: Lost, pump: Pump) -> float | None:
        if isinstance(fault, Refused):
            if not self._was_live:
                self._become(State.REFUSED, str(fault))
                return None
            pause = self._settings.refused_pause
            self._become(State.RECONNECTING, f"{fault}; asking again every {pause:.0f} s")
            return pause
        self._become(fault.state, str(fault))
        if pump.healthy_seconds >= self._settings.healthy_seconds:
            self._backoff.reset()
        return self._backoff.next()

    def _arrived(self, pump: Pump, picture: Picture, worth_it: bool) -> None:
        """In the thread of the pump."""
        with self._change:
            if pump.abandoned:
                return
            seconds = self._timeline.place(picture.pts_seconds, picture.arrived)
            self.reconnections += int(self._was_live and pump.pictures == 1)
            self._was_live = True
            self._become(*self._living(pump))
            if not worth_it:
                self._drops["frozen"] += 1
                return
            self._drops["late"] += int(self._waiting is not None)
            self._waiting = picture, seconds
            self._change.notify_all()

    def _living(self, pump: Pump) -> tuple[State, str]:
        if pump.frozen:
            return State.STALLED, f"the picture has not changed for {self._settings.frozen_seconds:g} s"
        return State.LIVE, "pictures come"

    def _become(self, state: State, reason: str) -> None:
        with self._change:
            if (state, reason) != (self._status.state, self._status.reason):
                self._status = Status(state, reason, clock.now())
                self._untold.append(self._status)
                self._change.notify_all()

    def _tell(self) -> None:
        """In the watching thread alone, so that the order holds, and without the lock: a listener may call us."""
        while self._untold:
            status = self._untold.popleft()
            if self._on_status is not None:
                self._on_status(status)
