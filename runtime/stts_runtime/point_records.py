"""What an answer points to, as records have it: with the frame of the window that each point is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from stts_runtime.pointing import Point, read_pointing
from stts_runtime.record_parts import RecordPart

_DIGIT = 0.05
"""Times in answers have one digit after the decimal point."""


class PointRecord(RecordPart):
    """One point in one frame."""

    label: str
    x: float
    """Share of the frame's width, 0 to 1 from the left."""
    y: float
    """Share of its height, from the top."""
    seconds: float
    """Time of its frame, as in the record's `times_seconds`."""
    frame: int
    """The place of its frame in `times_seconds`, from 0: the nearest to the time that the answer gives."""
    track: int | None
    """In a track, the number of the thing, the same in every frame; None for a point that stands alone."""

    @property
    def name(self) -> str:
        return self.label if self.track is None else f"{self.label} {self.track}".strip()


@dataclass(frozen=True)
class Pointed:
    points: list[PointRecord]
    count: int | None
    """How many things; None where the answer neither points nor says that there is nothing."""
    notes: list[str]
    """What could not be read."""


def pointed_at(answer: str, times_seconds: Sequence[float], begins: float = 0.0) -> Pointed:
    """Reads an answer about frames at `times_seconds`, in whose prompt `begins` was called 0.

    A window of one frame may be a picture, for which Molmo2 writes a number in place of a time.
    """
    found = read_pointing(answer)
    points = [_record(point, times_seconds, begins) for point in found.points]
    return Pointed(points, found.count, [*found.problems, *_late(found.points, times_seconds, begins)])


def _record(point: Point, times_seconds: Sequence[float], begins: float) -> PointRecord:
    frame = _nearest(begins + point.time, times_seconds)
    return PointRecord(
        label=point.label,
        x=point.x,
        y=point.y,
        seconds=round(times_seconds[frame], 3),
        frame=frame,
        track=point.number if point.is_track else None,
    )


def _late(points: Sequence[Point], times_seconds: Sequence[float], begins: float) -> list[str]:
    """Notes about times that the window does not reach."""
    if len(times_seconds) == 1:
        return []
    last = times_seconds[-1] - begins
    late = sorted({point.time for point in points if point.time > last + _half_a_gap(times_seconds)})
    return [f"points at {time:g} s, after the last frame ({last:.4g} s), which is taken for it" for time in late]


def _nearest(seconds: float, times_seconds: Sequence[float]) -> int:
    return min(range(len(times_seconds)), key=lambda frame: abs(times_seconds[frame] - seconds))


def _half_a_gap(times_seconds: Sequence[float]) -> float:
    """From one frame to the next, and what times lose to their one digit after the decimal point."""
    return max(after - before for before, after in pairwise(times_seconds)) / 2 + _DIGIT
