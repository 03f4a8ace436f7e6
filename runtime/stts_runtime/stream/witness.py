"""What was to be seen when an alarm was raised: a picture at once, and a clip when the seconds after it have passed.

The picture is written in the pipeline's thread, since the record names it; clips in a thread of their own, one at a
time and with what their source has sent, so nothing is decoded for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from stts_runtime import clock
from stts_runtime.errors import SinkError, SourceError
from stts_runtime.overlay import dimmed, jpeg
from stts_runtime.record_parts import AlertFile
from stts_runtime.records import AlertClip, now
from stts_runtime.sources.clips import Clips, Cut, Moment
from stts_runtime.sources.source import Frame
from stts_runtime.stream.alert_files import ClipRule
from stts_runtime.stream.alert_store import AlertStore
from stts_runtime.stream.alerts import AlertRule
from stts_runtime.stream.clip_writer import ClipJob, ClipWriter
from stts_runtime.stream.watcher import SeenFrame
from stts_runtime.video.remux import mp4_of

_QUALITY = 90
_MOST_WAITING = 8
"""Clips of one stream: an alarm that flickers would otherwise fill the disk with the same seconds."""


@dataclass(frozen=True)
class Archive:
    """Where pictures and clips of all streams go."""

    store: AlertStore
    writer: ClipWriter
    tell: Callable[[AlertClip], None]
    link: Callable[[str], str | None]
    """Makes a URL of STREAM/NAME."""

    def write(self, stream: str, name: str, content: bytes) -> AlertFile:
        """Raises `SinkError`."""
        path = self.store.write(stream, name, content)
        return AlertFile(path=str(path), bytes=len(content), url=self.link(f"{stream}/{name}"))


@dataclass(frozen=True)
class _Sighting:
    """A frame that raised alarms."""

    name: str
    moment: Moment
    alarms: list[tuple[str, int]] = field(default_factory=list)
    """Question and number of each."""


class Witness:
    """One stream's. `saw`, `raised` and `answered` are called from the pipeline's thread."""

    def __init__(self, stream: str, rule: AlertRule, archive: Archive, clips: Clips | None) -> None:
        """`clips` is None where there are to be none."""
        self._stream, self._view, self._archive, self._clips = stream, rule.snapshot, archive, clips
        self._rule: ClipRule | None = rule.clip
        self._frame: Frame | None = None
        self._seen: SeenFrame | None = None
        self._sighting: _Sighting | None = None
        self._picture: AlertFile | None = None

    def saw(self, frame: Frame, seen: SeenFrame) -> None:
        """The frame that the answers to come are about, however the stream goes on meanwhile."""
        self._frame, self._seen, self._sighting, self._picture = frame, seen, None, None

    def raised(self, question: str, number: int) -> AlertFile | None:
        """The picture of that frame, if there is to be one; a clip follows.

        Raises `SinkError` if the picture cannot be written.
        """
        assert self._frame is not None
        if self._sighting is None:
            age = timedelta(seconds=clock.now() - self._frame.captured)
            name = self._archive.store.free_name(self._stream, clock.wall() - age)
            self._sighting = _Sighting(name, Moment(self._frame.seconds, self._frame.captured))
        self._sighting.alarms.append((question, number))
        if self._view != "none" and self._picture is None:
            self._picture = self._archive.write(self._stream, f"{self._sighting.name}.jpg", self._jpeg())
        return self._picture

    def answered(self) -> None:
        """All questions about that frame: orders the clip, if alarms were raised."""
        sighting, self._sighting = self._sighting, None
        if sighting is None or self._clips is None or self._rule is None:
            return
        writer = self._archive.writer
        if writer.waiting(self._stream) < _MOST_WAITING:
            job = ClipJob(self._stream, partial(self._clip, sighting, self._clips, self._rule))
            writer.add(job, self._clips.due(sighting.moment, self._rule.after))
            return
        for record in self._records(sighting, f"{_MOST_WAITING} clips of this stream are under way"):
            self._archive.tell(record)

    def finish(self) -> None:
        """The stream is over: clips are written with what there is."""
        self._archive.writer.finish(self._stream)

    def _clip(self, sighting: _Sighting, clips: Clips, rule: ClipRule) -> Sequence[AlertClip]:
        """In the thread that writes clips: a record for each alarm."""
        try:
            cut = clips.cut(sighting.moment, rule.before, rule.after)
            found = self._archive.write(self._stream, f"{sighting.name}.mp4", mp4_of(cut.codec, cut.packets))
        except (SourceError, SinkError) as error:
            return self._records(sighting, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a muxer raises, the next clip comes
            return self._records(sighting, f"the clip could not be written: {type(error).__name__}")
        return self._records(sighting, None, found, cut)

    def _records(
        self, sighting: _Sighting, reason: str | None, clip: AlertFile | None = None, cut: Cut | None = None
    ) -> list[AlertClip]:
        return [
            AlertClip(
                stream=self._stream,
                created=now(),
                question=question,
                number=number,
                clip=clip,
                before=0.0 if cut is None else round(cut.before, 3),
                after=0.0 if cut is None else round(cut.after, 3),
                reason=reason,
            )
            for question, number in sighting.alarms
        ]

    def _jpeg(self) -> bytes:
        assert self._frame is not None
        image = self._frame.image
        if self._view == "kept":
            assert self._seen is not None
            image = dimmed(image, self._seen.output.kept)
        return jpeg(image, _QUALITY)
