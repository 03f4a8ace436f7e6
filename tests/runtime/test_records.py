"""Records of answers that point, and of those that were written before there were points."""

from __future__ import annotations

import json

import numpy as np

from stts_runtime.records import Answer, StreamAnswer
from tests.support.answers import answer_of, stream_answer_of

POINTING = '<points coords="1.0 1 250 500">dog</points>'


def test_an_answer_has_its_points_beside_its_text() -> None:
    record = json.loads(answer_of(POINTING).model_dump_json())
    assert record["answer"] == POINTING
    assert record["points"] == [{"label": "dog", "x": 0.25, "y": 0.5, "seconds": 1.0, "frame": 1, "track": None}]
    assert record["count"] == 1
    assert record["notes"] == ["a note"]


def test_a_stream_s_points_are_on_its_own_time_line() -> None:
    answer = stream_answer_of(POINTING)
    assert [(point.seconds, point.frame) for point in answer.points] == [(101.0, 1)]
    assert (answer.count, answer.notes) == (1, [])


def test_what_is_broken_stays_in_the_text_and_is_a_note() -> None:
    broken = POINTING[:20]
    for answer in (answer_of(broken), stream_answer_of(broken)):
        assert answer.answer == broken
        assert (answer.points, answer.count) == ([], None)
        assert answer.notes[-1] == f"not read as points: {broken}"


def test_records_from_before_there_were_points_are_read() -> None:
    answer, streamed = answer_of("yes").model_dump(), stream_answer_of("yes").model_dump()
    for record in (answer, streamed):
        del record["points"], record["count"]
    del streamed["notes"]
    assert Answer.model_validate_json(json.dumps(answer)).points == []
    assert StreamAnswer.model_validate_json(json.dumps(streamed)).notes == []


def test_the_picture_of_an_answer_shows_its_points() -> None:
    pointing, silent = answer_of(POINTING).picture(), answer_of("yes").picture()
    changed = np.nonzero((pointing != silent).any(axis=2))
    # Three frames lie in two columns; the second is on the right.
    assert changed[1].min() > pointing.shape[1] / 2
    assert changed[0].max() < pointing.shape[0] / 2
