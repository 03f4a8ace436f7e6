"""What an answer points to, as records have it: with the frame of the window that each point is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from stts_runtime.pointing import Point, read_pointing

_DIGIT = 0.05
"""Times in answers have one digit behind the point."""


class PointRecord(BaseModel):
    """One point in one frame."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    x: float
    """Share of the frame's width, 0 to 1 from the left."""
    y: float
    """Share of its height, from the top."""
    seconds: float
    """On the time line of the record's `times_seconds`; as the answer says, which is to a tenth."""
    frame: int | None
    """The place of its frame in `times_seconds`, from 0; None if the window has no frame near that time."""
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
    lost = sorted({point.seconds for point in points if point.frame is None})
    notes = [f"points at {seconds:g} s, where the window has no frame" for seconds in lost]
    return Pointed(points, found.count, [*found.problems, *notes])


def _record(point: Point, times_seconds: Sequence[float], begins: float) -> PointRecord:
    still = len(times_seconds) == 1
    seconds = times_seconds[0] if still else begins + point.time
    return PointRecord(
        label=point.label,
        x=point.x,
        y=point.y,
        seconds=round(seconds, 3),
        frame=_nearest(seconds, times_seconds),
        track=point.number if point.is_track else None,
    )


def _nearest(seconds: float, times_seconds: Sequence[float]) -> int | None:
    """The frame that is meant: no further away than half the way from one frame to the next."""
    if not times_seconds:
        return None
    widest = max((after - before for before, after in pairwise(times_seconds)), default=0.0)
    frame = min(range(len(times_seconds)), key=lambda number: abs(times_seconds[number] - seconds))
    return frame if abs(times_seconds[frame] - seconds) <= widest / 2 + _DIGIT else None
