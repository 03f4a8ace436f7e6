"""Distances of answers from the true place."""

from __future__ import annotations

import pytest

from stts_calib.accuracy.distance import Distances, PointedTo, clips_to_point_at, distance_of
from stts_calib.clips import Question, Split
from stts_calib.clips.pointing import Box

TIMES = [0.0, 7.5, 15.0]
QUESTION = Question("point", "Point to the dog at the end.", "", Box(0.4, 0.4, 0.6, 0.6))


@pytest.mark.parametrize(
    ("answer", "distance"),
    [
        ('<points coords="15.0 1 500 500">dog</points>', 0.0),
        ('<points coords="15.0 1 530 460">dog</points>', 0.05),
        ('<points coords="7.5 1 500 500">dog</points>', None),
        ('<points coords="15.0 1 500 500 2 530 460">dog</points>', None),
        ("There are none.", None),
        ('<points coords="15.0 1 50', None),
    ],
)
def test_one_point_in_the_last_frame_has_a_distance(answer: str, distance: float | None) -> None:
    assert distance_of(answer, QUESTION, TIMES) == (None if distance is None else pytest.approx(distance))


def test_a_right_answer_of_the_clips_is_a_cell_away_at_most() -> None:
    for _, questions in clips_to_point_at(Split.test, 5):
        for question in questions:
            distance = distance_of(question.answer, question, TIMES)
            assert distance is not None
            assert distance <= 0.025
            assert question.is_right(question.answer)


def test_distances_are_of_those_that_point() -> None:
    texts = ["15.0 1 500 500", "15.0 1 530 460", "15.0 1 900 500"]
    answers = [f'<points coords="{one}">dog</points>' for one in texts] + ["There are none."]
    found = Distances.of([PointedTo("a", QUESTION, one, distance_of(one, QUESTION, TIMES)) for one in answers])
    assert found == Distances(questions=4, pointed=3, inside=2, median=0.05, ninety_percent=0.33)
    assert Distances.of([]).median is None
