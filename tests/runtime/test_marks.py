"""Points in pictures: seen on any ground, and nothing that matters is covered."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stts_runtime.marks import fresh_points, marked
from stts_runtime.point_records import PointRecord

HEIGHT, WIDTH = 240, 320


def _point(x: float = 0.5, y: float = 0.5, label: str = "dog", frame: int = 0, track: int | None = None) -> PointRecord:
    return PointRecord(label=label, x=x, y=y, seconds=float(frame), frame=frame, track=track)


def _ground(value: int) -> NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH, 3), value, np.uint8)


def _changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    changed: NDArray[np.bool_] = np.any(before != after, axis=2)
    return changed


@pytest.mark.parametrize("value", [0, 60, 128, 200, 255])
def test_a_circle_stands_out_from_any_ground(value: int) -> None:
    drawn = marked(_ground(value), [_point(label="")], 0)
    contrast = np.abs(drawn.astype(int) - value).max(axis=2)
    ring = contrast[:, WIDTH // 2 :][HEIGHT // 2]
    assert ring.max() > 100


def test_what_is_pointed_to_stays_in_sight() -> None:
    ground = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    points = [_point(frame=0, track=1), _point(0.2, 0.2, frame=1, track=1)]
    changed = _changed(ground, marked(ground, points, 1))
    x, y = int(0.2 * WIDTH), int(0.2 * HEIGHT)
    assert not changed[y - 6 : y + 7, x - 6 : x + 7].any()
    # The way there from the frame before.
    assert changed[HEIGHT // 2 - 12 : HEIGHT // 2 - 3, WIDTH // 2 - 24 : WIDTH // 2 - 4].any()


def test_only_a_frames_own_points_are_drawn_into_it() -> None:
    ground = _ground(90)
    assert not _changed(ground, marked(ground, [_point(frame=1)], 0)).any()
    assert _changed(ground, marked(ground, [_point(frame=1)], 1)).any()


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.999, 0.5)])
def test_a_name_at_the_edge_lies_within_the_picture(x: float, y: float) -> None:
    bare, named = (marked(_ground(200), [_point(x, y, label)], 0) for label in ("", "vehicle"))
    rows, columns = np.nonzero(_changed(bare, named))
    # All of the box: a name that was cut would be smaller.
    middle = np.nonzero(_changed(*(marked(_ground(200), [_point(label=label)], 0) for label in ("", "vehicle"))))
    assert np.ptp(rows) == np.ptp(middle[0])
    assert np.ptp(columns) == np.ptp(middle[1])


CROWD = [_point(0.4 + 0.03 * column, 0.4 + 0.03 * row, "vehicle") for row in range(6) for column in range(6)]
FEW = [_point(0.5, 0.5, "a vehicle"), _point(0.6, 0.5, "a person"), _point(0.42, 0.52, "a dog")]


@pytest.mark.parametrize("points", [FEW, CROWD])
def test_names_cover_no_circle(points: list[PointRecord]) -> None:
    named = marked(_ground(200), points, 0)
    bare = marked(_ground(200), [point.model_copy(update={"label": ""}) for point in points], 0)
    # Circles are light and names are dark; without names all circles have one colour, hence the wide bound.
    light = _changed(_ground(200), bare) & (bare.max(axis=2) > 230)
    assert light.any()
    assert (named.max(axis=2)[light] > 150).all()


def test_points_about_a_stream_say_their_age_and_go() -> None:
    points = [_point(frame=3), _point(0.1, 0.1, frame=2)]
    (fresh,) = fresh_points(points, 3.0)
    assert (fresh.name, fresh.frame) == ("dog", 0)
    (old,) = fresh_points(points, 7.5)
    assert old.name == "dog 4.5 s ago"
    assert fresh_points(points, 13.5) == []
    assert fresh_points([], 1.0) == []
