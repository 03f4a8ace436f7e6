"""Which frame of a window a point is in."""

from __future__ import annotations

import pytest

from stts_runtime.point_records import PointRecord, pointed_at
from stts_runtime.pointing import read_pointing


def _at(time: str) -> str:
    return f'<points coords="{time} 1 412 305">dog</points>'


@pytest.mark.parametrize(("time", "frame"), [("0.0", 0), ("2.1", 1), ("4.3", 2), ("1.0", 0), ("15.0", 7)])
def test_a_point_is_in_the_frame_nearest_to_its_time(time: str, frame: int) -> None:
    times = [0.0, 2.143, 4.286, 6.429, 8.571, 10.714, 12.857, 15.0]
    pointed = pointed_at(_at(time), times)
    assert pointed.points == [PointRecord(label="dog", x=0.412, y=0.305, seconds=times[frame], frame=frame, track=None)]
    assert (pointed.count, pointed.notes) == (1, [])


def test_a_streams_prompt_begins_with_its_window() -> None:
    pointed = pointed_at(_at("1.5"), [100.0, 100.5, 101.0, 101.5, 102.0], begins=100.0)
    assert [(point.frame, point.seconds) for point in pointed.points] == [(3, 101.5)]
    assert not pointed.notes


def test_a_time_after_the_window_is_the_last_frame_with_a_note() -> None:
    pointed = pointed_at(_at("15.0"), [100.0, 100.5, 101.0], begins=100.0)
    assert [(point.frame, point.seconds) for point in pointed.points] == [(2, 101.0)]
    assert pointed.notes == ["points at 15 s, after the last frame (1 s), which is taken for it"]


def test_a_picture_has_no_times() -> None:
    pointed = pointed_at(_at("1"), [0.0])
    assert [(point.frame, point.seconds) for point in pointed.points] == [(0, 0.0)]
    assert not pointed.notes


def test_a_track_keeps_its_numbers() -> None:
    text = '<tracks coords="0.0 1 259 340 2 700 100;1.0 2 138 427">dog</tracks>'
    points = pointed_at(text, [0.0, 1.0]).points
    assert [(point.frame, point.track, point.name) for point in points] == [
        (0, 1, "dog 1"),
        (0, 2, "dog 2"),
        (1, 2, "dog 2"),
    ]


def test_what_could_not_be_read_is_a_note() -> None:
    text = '<points coords="1.0 1 4'
    assert pointed_at(text, [0.0, 1.0]).notes == list(read_pointing(text).problems)
