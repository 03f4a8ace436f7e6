"""What was to be seen when an alarm was raised: a picture at once, and a clip when the seconds after it have passed.

The picture is written in the pipeline's thread, since the record names it; clips in a thread of their own, one at a
time and with what their source has sent, so nothing is decoded for them.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from stts_runtime import clock
from stts_runtime.errors import SinkError, SourceError
from stts_runtime.overlay import dimmed, jpeg
from stts_runtime.record_parts import AlertFile
from stts_runtime.records import AlertClip, now
from stts_runtime.sources.clips import Clips, Moment
from stts_runtime.sources.source import Frame
from stts_runtime.stream.alert_files import ClipRule
from stts_runtime.stream.alert_store import AlertStore
from stts_runtime.stream.alerts import AlertRule
from stts_runtime.stream.watcher import SeenFrame
from stts_runtime.video.remux import mp4_of

_QUALITY = 90
_PRUNE_SECONDS = 600.0
_FINISH_SECONDS = 10.0
_MOST_WAITING = 8
"""Clips of one stream: an alarm that flickers would otherwise fill the disk with the same seconds."""


@dataclass
class _Job:
    """A clip to be written."""

    witness: Witness
    name: str
    moment: Moment
    alarms: list[tuple[str, int]] = field(default_factory=list)
    """Question and number of each alarm that was raised by this frame."""


class ClipWriter:
    """A thread that writes clips when they are due, and tidies the folder."""

    def __init__(self, store: AlertStore, told: Callable[[AlertClip], None], link: Callable[[str], str | None]) -> None:
        """`told` is called from the thread; `link` makes a URL of STREAM/NAME."""
        self.store, self.link, self._told = store, link, told
        self._jobs: list[tuple[float, int, _Job]] = []
        self._count = itertools.count()
        self._running: _Job | None = None
        self._is_closing = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="stts-clips", daemon=True)
        self._thread.start()

    def add(self, job: _Job, due: float) -> None:
        with self._change:
            heapq.heappush(self._jobs, (due, next(self._count), job))
            self._change.notify_all()

    def waiting(self, witness: Witness) -> int:
        with self._change:
            under_way = self._running is not None and self._running.witness is witness
            return under_way + sum(job.witness is witness for _, _, job in self._jobs)

    def finish(self, witness: Witness) -> None:
        """Its clips that wait are written with what there is by now."""
        with self._change:
            self._jobs = [(0.0 if job.witness is witness else due, count, job) for due, count, job in self._jobs]
            heapq.heapify(self._jobs)
            self._change.notify_all()
            self._change.wait_for(lambda: not self.waiting(witness), _FINISH_SECONDS)

    def close(self) -> None:
        """All witnesses should have finished."""
        with self._change:
            self._is_closing = True
            self._change.notify_all()
        self._thread.join(_FINISH_SECONDS)

    def _run(self) -> None:
        pruned = clock.now()
        while (job := self._next()) is not None or not self._is_closing:
            if job is not None:
                self._write(job)
            if clock.now() - pruned > _PRUNE_SECONDS:
                self.store.prune()
                pruned = clock.now()

    def _next(self) -> _Job | None:
        """The next that is due; None now and then while there is none, and at the end."""
        with self._change:
            if not self._jobs and not self._is_closing:
                self._change.wait(clock.LOOK_SECONDS)
            if self._jobs and not self._is_closing and (left := self._jobs[0][0] - clock.now()) > 0:
                self._change.wait(min(left, clock.LOOK_SECONDS))
            is_due = self._jobs and (self._is_closing or self._jobs[0][0] <= clock.now())
            self._running = heapq.heappop(self._jobs)[2] if is_due else None
            return self._running

    def _write(self, job: _Job) -> None:
        try:
            for record in job.witness.clip(job):
                self._told(record)
        finally:
            with self._change:
                self._running = None
                self._change.notify_all()


class Witness:
    """One stream's. `saw` and `raised` are called from the pipeline's thread."""

    def __init__(self, stream: str, rule: AlertRule, writer: ClipWriter, clips: Clips | None) -> None:
        """`clips` is None where there are to be none."""
        self._stream, self._view, self._writer, self._store = stream, rule.snapshot, writer, writer.store
        self._rule: ClipRule | None = rule.clip if clips is not None else None
        self._clips = clips
        self._frame: Frame | None = None
        self._seen: SeenFrame | None = None
        self._job: _Job | None = None
        self._picture: AlertFile | None = None

    def saw(self, frame: Frame, seen: SeenFrame) -> None:
        self._frame, self._seen, self._job, self._picture = frame, seen, None, None

    def raised(self, question: str, number: int) -> AlertFile | None:
        """The picture of the newest frame, if there is to be one; a clip follows.

        Raises `SinkError` if the picture cannot be written.
        """
        assert self._frame is not None
        if self._job is None:
            age = timedelta(seconds=clock.now() - self._frame.captured)
            name = self._store.free_name(self._stream, clock.wall() - age)
            self._job = _Job(self, name, Moment(self._frame.seconds, self._frame.captured))
        self._job.alarms.append((question, number))
        if self._view != "none" and self._picture is None:
            self._picture = self._written(f"{self._job.name}.jpg", self._jpeg())
        return self._picture

    def answered(self) -> None:
        """All questions about the newest frame: orders the clip, if alarms were raised."""
        job, self._job = self._job, None
        if job is None or self._clips is None or self._rule is None:
            return
        if self._writer.waiting(self) < _MOST_WAITING:
            self._writer.add(job, self._clips.due(job.moment, self._rule.after))

    def finish(self) -> None:
        """The stream is over: clips are written with what there is."""
        self._writer.finish(self)

    def clip(self, job: _Job) -> list[AlertClip]:
        """In the thread that writes clips: a record for each alarm."""
        assert self._clips is not None
        assert self._rule is not None
        found: AlertFile | None = None
        before = after = 0.0
        reason = None
        try:
            cut = self._clips.cut(job.moment, self._rule.before, self._rule.after)
            found = self._written(f"{job.name}.mp4", mp4_of(cut.codec, cut.packets))
            before, after = round(cut.before, 3), round(cut.after, 3)
        except (SourceError, SinkError) as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - whatever a muxer raises, the next clip comes
            reason = f"the clip could not be written: {type(error).__name__}"
        return [
            AlertClip(
                stream=self._stream,
                created=now(),
                question=question,
                number=number,
                clip=found,
                before=before,
                after=after,
                reason=reason,
            )
            for question, number in job.alarms
        ]

    def _jpeg(self) -> bytes:
        assert self._frame is not None
        assert self._seen is not None
        image = self._frame.image
        return jpeg(dimmed(image, self._seen.output.kept) if self._view == "kept" else image, _QUALITY)

    def _written(self, name: str, content: bytes) -> AlertFile:
        path = self._store.write(self._stream, name, content)
        return AlertFile(path=str(path), bytes=len(content), url=self._writer.link(f"{self._stream}/{name}"))
