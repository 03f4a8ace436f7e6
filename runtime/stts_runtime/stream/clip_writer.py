"""A thread that writes clips of alarms when their seconds have passed, one at a time, and tidies their folder.

It knows neither what clips are made of nor where they go.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stts_runtime import clock
from stts_runtime.records import AlertClip

_TIDY_SECONDS = 600.0
_FINISH_SECONDS = 10.0


@dataclass(frozen=True)
class ClipJob:
    stream: str
    write: Callable[[], Sequence[AlertClip]]
    """Returns what there is to say about the clip; called once."""


class ClipWriter:
    """Thread-safe."""

    def __init__(self, tell: Callable[[AlertClip], None], tidy: Callable[[], None]) -> None:
        """`tell` gets records; both are called from the thread."""
        self._tell, self._tidy = tell, tidy
        self._jobs: list[tuple[float, int, ClipJob]] = []
        self._count = itertools.count()
        self._running: ClipJob | None = None
        self._is_closing = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="stts-clips", daemon=True)
        self._thread.start()

    def add(self, job: ClipJob, due: float) -> None:
        """`due` is on the clock of `clock.now`."""
        with self._change:
            heapq.heappush(self._jobs, (due, next(self._count), job))
            self._change.notify_all()

    def waiting(self, stream: str) -> int:
        """How many of its clips are not written yet."""
        with self._change:
            jobs = [job for _, _, job in self._jobs] + ([] if self._running is None else [self._running])
            return sum(job.stream == stream for job in jobs)

    def finish(self, stream: str) -> None:
        """Its clips that wait are written now, with what there is."""
        with self._change:
            self._jobs = [(0.0 if job.stream == stream else due, count, job) for due, count, job in self._jobs]
            heapq.heapify(self._jobs)
            self._change.notify_all()
            self._change.wait_for(lambda: not self.waiting(stream), _FINISH_SECONDS)

    def close(self) -> None:
        """All clips that wait are written now."""
        with self._change:
            self._is_closing = True
            self._change.notify_all()
        self._thread.join(_FINISH_SECONDS)

    def _run(self) -> None:
        tidied = clock.now()
        while (job := self._next()) is not None or not self._is_closing:
            if job is not None:
                self._write(job)
            if clock.now() - tidied > _TIDY_SECONDS:
                self._tidy()
                tidied = clock.now()

    def _next(self) -> ClipJob | None:
        """The next that is due; None now and then while there is none, and at the end."""
        with self._change:
            left = self._jobs[0][0] - clock.now() if self._jobs else clock.LOOK_SECONDS
            if left > 0 and not self._is_closing:
                self._change.wait(min(left, clock.LOOK_SECONDS))
            is_due = self._jobs and (self._is_closing or self._jobs[0][0] <= clock.now())
            self._running = heapq.heappop(self._jobs)[2] if is_due else None
            return self._running

    def _write(self, job: ClipJob) -> None:
        try:
            for record in job.write():
                self._tell(record)
        finally:
            with self._change:
                self._running = None
                self._change.notify_all()
