"""One connection of a live source, read in a thread of its own that can be left behind."""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Callable

import numpy as np

from stts_runtime import clock
from stts_runtime.sources.faults import Lost, Stalled
from stts_runtime.sources.source import LiveSettings, Picture, Reader

_TRUSTED_SECONDS = 3.0
_SLEW = 0.05


class LiveTimeline:
    """Follows the stream's timestamps for their even steps, and our clock for where they are.

    A step is taken from the timestamps if it is forward and at most 3 s longer than the wait for it, else (missing,
    repeated, backward, jumping timestamps, a new connection) it is the wait itself. A camera's clock that runs fast
    or slow is corrected by at most a twentieth of each step. So the seconds are never more than 3 s from our clock,
    counted from the first picture.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._first: float | None = None
        self._arrived = 0.0
        self._pts: float | None = None

    def restart(self) -> None:
        """The next timestamp has nothing to do with the ones before."""
        self._pts = None

    def place(self, pts_seconds: float | None, arrived: float) -> float:
        """`arrived` is on the clock of `clock.now`."""
        if self._first is None:
            self._first = self._arrived = arrived
        waited, clock = max(arrived - self._arrived, 0.0), arrived - self._first
        step = _forward(self._pts, pts_seconds)
        if step is None or step > waited + _TRUSTED_SECONDS:
            step = waited
        behind = clock - (self._seconds + step)
        step += min(max(behind, -_SLEW * step), _SLEW * step)
        near = min(max(self._seconds + step, clock - _TRUSTED_SECONDS), clock + _TRUSTED_SECONDS)
        self._seconds = max(self._seconds, near)
        self._pts, self._arrived = pts_seconds, max(arrived, self._arrived)
        return self._seconds


def _forward(before: float | None, now: float | None) -> float | None:
    """The step between two timestamps; None if it is none that goes forward."""
    if before is None or now is None:
        return None
    step = now - before
    return step if 0 < step < math.inf else None


_CHECKS = 20


class FreezeWatch:
    """Compares whole pictures, exactly and a few times a second: the noise of a real sensor changes every one of them.

    A picture that has not changed for `seconds` is frozen. It may be a scene that a test source or a screen really
    shows: so one picture in each twentieth of `seconds` still passes, and the first that differs passes at once.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sum: int | None = None
        self._changed = self._checked = 0.0
        self.frozen = False

    def passes(self, picture: Picture) -> bool:
        """Whether this picture is worth handing on."""
        due = self._sum is None or picture.arrived - self._checked >= self._seconds / _CHECKS
        if not (due or self.frozen):
            return True
        moved = self._moved(picture)
        if due:
            self._checked = picture.arrived
        self.frozen = not moved and picture.arrived - self._changed >= self._seconds
        return due or moved

    def _moved(self, picture: Picture) -> bool:
        now = zlib.crc32(np.ascontiguousarray(picture.brightness()).data)
        if now == self._sum:
            return False
        self._sum, self._changed = now, picture.arrived
        return True


class Pump:
    """Reads until something fails or it is abandoned, and closes the reader in the end.

    A reader that hangs cannot be interrupted: who has waited for long enough sets `abandoned` and goes on. The thread
    ends by itself once its reader comes back.
    """

    def __init__(self, reader: Reader, settings: LiveSettings, give: Callable[[Pump, Picture, bool], None]) -> None:
        """`give` is told, in this thread, of each picture, and whether it is worth handing on."""
        self._reader, self._settings, self._give = reader, settings, give
        self._freeze = FreezeWatch(settings.frozen_seconds)
        self._opened: float | None = None
        self._sign = self._picture = clock.now()
        self._fault: Lost | None = None
        self.pictures = 0
        self.abandoned = False
        self._thread = threading.Thread(target=self._run, name="stts-source-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def healthy_seconds(self) -> float:
        """From the connection to its last picture."""
        return self._picture - self._opened if self._opened else 0.0

    @property
    def frozen(self) -> bool:
        return self._freeze.frozen

    @property
    def corrupt(self) -> int:
        return self._reader.corrupt

    def fault(self) -> Lost | None:
        """What ended it, or the silence that should end it."""
        return self._fault or self._silence(clock.now())

    def _silence(self, now: float) -> Lost | None:
        settings = self._settings
        # Readers that notice by themselves, and know more about it, go first.
        patience = min(1.0, 0.5 * settings.stall_seconds)
        if self._opened is None:
            late = now - self._sign > settings.open_seconds + patience
            return Lost(f"no answer for {settings.open_seconds:g} s") if late else None
        if now - self._sign > settings.stall_seconds + patience:
            return Stalled(f"no packet for {settings.stall_seconds:g} s")
        if now - self._picture > settings.key_frame_seconds:
            return Stalled(f"packets come, but no whole picture for {settings.key_frame_seconds:g} s")
        return None

    def _run(self) -> None:
        try:
            self._read()
        except Lost as fault:
            # A new one, which has not been raised: this one holds the calls that it passed through, and with them this
            # pump, the decoder and its pictures, in a circle that the garbage collector may find an hour later.
            self._fault = type(fault)(*fault.args)
        except Exception as error:  # noqa: BLE001 - whatever a decoder raises, the source goes on
            self._fault = Lost(f"the reader failed with {type(error).__name__}")

    def _read(self) -> None:
        try:
            self._reader.open()
            self._opened = self._sign = self._picture = clock.now()
            while not self.abandoned:
                self._take(self._reader.read())
        finally:
            self._reader.close()

    def _take(self, picture: Picture | None) -> None:
        self._sign = clock.now()
        if picture is not None:
            self._picture = self._sign
            self.pictures += 1
            self._give(self, picture, self._freeze.passes(picture))
