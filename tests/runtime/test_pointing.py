"""Answers as Molmo2's public code formats them, as the shipped checkpoint writes them, and broken ones."""

from __future__ import annotations

import pytest

from stts_runtime.pointing import Point, read_pointing, words_of


def test_a_point_of_the_shipped_checkpoint() -> None:
    found = read_pointing('<points coords="15.0 1 412 305">vehicle</points>')
    assert found.points == (Point("vehicle", 0.412, 0.305, 15.0, 1, False),)
    assert (found.count, found.problems) == (1, ())


@pytest.mark.parametrize("between", ["\t", ";"])
def test_points_of_several_frames_are_numbered_through(between: str) -> None:
    text = f'Counting the <points coords="0.1 1 911 800{between}0.2 2 900 400">red cup</points> shows a total of 2.'
    found = read_pointing(text)
    assert [(point.time, point.number, point.x, point.y) for point in found.points] == [
        (0.1, 1, 0.911, 0.8),
        (0.2, 2, 0.9, 0.4),
    ]
    assert {point.label for point in found.points} == {"red cup"}
    assert (found.count, found.problems) == (2, ())


def test_a_picture_has_a_number_for_a_time_and_several_points() -> None:
    text = 'There are 2 <points alt="cups on the table" coords="1 1 001 000 2 900 1000">cup</points>.'
    found = read_pointing(text)
    assert [(point.time, point.x, point.y) for point in found.points] == [(1.0, 0.001, 0.0), (1.0, 0.9, 1.0)]
    assert (found.count, found.problems) == (2, ())


def test_a_track_counts_things_and_not_points() -> None:
    text = '<tracks coords="0.0 1 259 340 2 700 100\t1.0 1 138 427\t2.0 1 248 335 2 690 120">dog</tracks>'
    found = read_pointing(text)
    assert [(point.time, point.number) for point in found.points] == [(0.0, 1), (0.0, 2), (1.0, 1), (2.0, 1), (2.0, 2)]
    assert all(point.is_track for point in found.points)
    assert (found.count, found.problems) == (2, ())


def test_what_is_pointed_to_by_several_tags_adds_up() -> None:
    text = '<points coords="1.0 1 100 200">dog</points> and <points coords="1.0 1 300 200 2 500 200">cat</points>'
    found = read_pointing(text)
    assert [point.label for point in found.points] == ["dog", "cat", "cat"]
    assert found.count == 3


@pytest.mark.parametrize("text", ["There are none.", "No tracks available."])
def test_nothing_is_zero(text: str) -> None:
    assert read_pointing(text) == read_pointing(f" {text}\n")
    assert read_pointing(text).count == 0


@pytest.mark.parametrize("text", ["", "yes", "3", "There are 3 cups.", "5 < points > 3", '{"points": []}'])
def test_other_answers_count_nothing_and_are_no_problem(text: str) -> None:
    found = read_pointing(text)
    assert (found.points, found.count, found.problems) == ((), None, ())


@pytest.mark.parametrize(
    "text",
    [
        '<points coords="15.0 1 412 305">vehi',
        '<tracks coords="0.0 1 259 340\t1.0 1 13',
        '<points coords="15.0 1 412">vehicle</points>',
        '<points coords="15.0 1 412 305 2">vehicle</points>',
        '<points coords="1 412 305">vehicle</points>',
        '<points coords="15.0 1 41 30">vehicle</points>',
        '<points coords="15.0 1 -12 305">vehicle</points>',
        '<points coords="00:15.0 1 412 305">vehicle</points>',
        '<points coords="">vehicle</points>',
        '<points coords="15.0 1 412 305">vehicle</tracks>',
        '<point x="45.2" y="30.1" alt="vehicle">vehicle</point>',
        "<points vehicle\t-\t1 412 305/>",
    ],
)
def test_broken_syntax_is_no_point_and_is_told(text: str) -> None:
    found = read_pointing(text)
    assert (found.points, found.count) == ((), None)
    assert found.problems == (f"not read as points: {text}",)


def test_a_broken_tag_does_not_spoil_a_whole_one() -> None:
    whole = '<points coords="1.0 1 100 200">dog</points>'
    found = read_pointing(f'{whole} <points coords="1.0 1 300')
    assert found.points == read_pointing(whole).points
    assert found.problems == ('not read as points: <points coords="1.0 1 300',)


def test_coordinates_outside_of_the_frame_are_left_out() -> None:
    found = read_pointing('<points coords="1.0 1 1001 200 2 500 500">dog</points>')
    assert [(point.x, point.y) for point in found.points] == [(0.5, 0.5)]
    assert found.problems == ("outside of the frame, so left out: 1001 200 at 1.0",)


def test_a_thing_is_in_a_frame_once() -> None:
    found = read_pointing('<tracks coords="1.0 1 100 200 1 300 200;2.0 1 120 200">dog</tracks>')
    assert [(point.time, point.x) for point in found.points] == [(1.0, 0.1), (2.0, 0.12)]
    assert found.problems == ("number 1 is in the frame at 1.0 twice; the first counts",)


def test_words_and_points_that_differ_are_told() -> None:
    found = read_pointing('Counting the <points coords="1.0 1 100 200">dog</points> shows a total of 3.')
    assert found.count == 3
    assert found.problems == ("the answer counts 3 and points to 1",)


def test_a_long_broken_answer_is_quoted_in_short() -> None:
    (problem,) = read_pointing('<tracks coords="' + "0.0 1 259 340\t" * 1000).problems
    assert len(problem) < 120


def test_people_read_labels_and_no_coordinates() -> None:
    text = 'Counting the <points coords="1.0 1 100 200">red dog</points> shows a total of 1.'
    assert words_of(text) == "Counting the red dog shows a total of 1."
    assert words_of('<points coords="1.0 1 1') == '<points coords="1.0 1 1'
