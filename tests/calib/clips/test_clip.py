"""Synthetic clips: the answers are those that the pictures show, and nobody can win by guessing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stts_calib.clips import DURATION_SECONDS, KINDS, Clip, Split, write_video
from stts_calib.clips.motion import moving_groups
from stts_calib.clips.render import render
from stts_calib.clips.scene import Actor, Light, Scene, Sort
from stts_runtime.errors import UserError
from stts_runtime.video import VideoFile
from tests.support.places import ROOT

SIZE = 126
SECONDS = range(int(DURATION_SECONDS) + 1)


def clips(count: int, split: Split = Split.validation) -> list[Clip]:
    return [Clip.make(split, number) for number in range(count)]


def sort_named(word: str) -> Sort:
    assert word in ("person", "vehicle")
    return "person" if word == "person" else "vehicle"


def bare(scene: Scene, **changes: Any) -> Scene:
    """Without noise and light changes, so that equal pixels mean an equal scene."""
    return replace(scene, noise=0.0, light=Light(0.0, 0.0, 1.0, 99.0), **changes)


def test_a_clip_is_the_same_every_time_and_differs_from_all_others() -> None:
    one, again, other = Clip.make(Split.test, 3), Clip.make(Split.test, 3), Clip.make(Split.test, 4)
    assert one == again
    np.testing.assert_array_equal(one.window(4, SIZE).frames, again.window(4, SIZE).frames)
    assert one.scene != other.scene
    assert one.scene != Clip.make(Split.train, 3).scene


def test_a_picture_does_not_depend_on_the_others_of_its_window() -> None:
    clip = Clip.make(Split.test, 0)
    np.testing.assert_array_equal(clip.window(16, SIZE).frames[15], clip.window(6, SIZE).frames[5])


def test_whoever_appears_at_a_second_is_seen_then_and_not_a_second_earlier() -> None:
    checked = 0
    for clip in clips(60):
        for actor in clip.scene.actors:
            alone = bare(clip.scene, actors=(actor,), bag=None)
            empty = render(replace(alone, actors=()), [0.0], SIZE)[0]
            before, then = render(alone, [actor.appears_at - 1, actor.appears_at], SIZE)
            assert (before == empty).all(), clip.name
            assert (then != empty).any(axis=-1).sum() >= 20, clip.name
            checked += 1
    assert checked > 60


def test_a_bag_is_seen_in_the_quarter_that_the_answer_names() -> None:
    found = 0
    for clip in clips(80):
        question = next(one for one in clip.questions if one.kind == "left behind")
        if clip.scene.bag is None:
            assert question.answer == "nothing"
            continue
        found += 1
        alone = bare(clip.scene, actors=())
        first, last = render(alone, [0.0, DURATION_SECONDS], SIZE)
        rows, columns = np.nonzero((first != last).any(axis=-1))
        vertical = "top" if rows.mean() < SIZE / 2 else "bottom"
        horizontal = "left" if columns.mean() < SIZE / 2 else "right"
        assert question.answer == f"{vertical} {horizontal}", clip.name
    assert found > 20


def test_crossing_the_line_means_being_on_both_sides_of_it() -> None:
    for clip in clips(120):
        line = clip.scene.line
        asked = [one for one in clip.questions if one.text == "Did anyone cross the line?"]
        if line is None:
            assert not asked
            continue
        crossed = any(_sides(actor, line.upright, line.at) == {True, False} for actor in clip.scene.actors)
        assert asked[0].answer == ("yes" if crossed else "no"), clip.name


def _sides(actor: Actor, upright: bool, at: float) -> set[bool]:
    places = (actor.place_at(second) for second in np.arange(0, DURATION_SECONDS + 0.01, 0.02).tolist())
    return {place[0 if upright else 1] > at for place in places if place is not None}


def test_the_answer_where_somebody_was_is_where_the_middle_of_what_moves_lies() -> None:
    checked = Counter[str]()
    for clip in clips(60):
        for question in clip.questions:
            if question.kind != "place":
                continue
            words = question.text.rstrip("?").split()
            actor = clip.scene.only(sort_named(words[3]))
            assert actor is not None
            alone = bare(clip.scene, actors=(actor,), bag=None)
            empty, then = render(replace(alone, actors=()), [0.0], SIZE)[0], render(alone, [float(words[-1])], SIZE)[0]
            rows, columns = np.nonzero((then != empty).any(axis=-1))
            checked[question.answer] += 1
            if question.answer == "not there":
                assert not rows.size, clip.name
                continue
            assert ("top" if rows.mean() < SIZE / 2 else "bottom") in question.answer, clip.name
            assert ("left" if columns.mean() < SIZE / 2 else "right") in question.answer, clip.name
    assert len(checked) == 5


def test_a_constant_answer_is_right_about_two_thirds_of_the_time_at_most() -> None:
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips(600):
        for question in clip.questions:
            answers[question.kind][question.answer] += 1
    assert answers.keys() == {kind.name for kind in KINDS}
    for kind, counts in answers.items():
        assert max(counts.values()) / counts.total() < 0.66, (kind, counts)


def test_every_clip_has_four_questions_of_as_many_kinds_as_it_can() -> None:
    for clip in clips(100, Split.test):
        chosen = clip.some_questions(4)
        assert len({(one.kind, one.text) for one in chosen}) == 4
        assert len({one.kind for one in chosen}) == min(4, len({one.kind for one in clip.questions}))
        assert chosen == clip.some_questions(4)


def test_what_moves_lies_in_the_moving_groups() -> None:
    for clip in clips(30):
        times = [float(second) for second in SECONDS]
        moving = clip.moving(times, 6).reshape(-1, 6, 6)
        assert not moving[0].any()
        for second in SECONDS[1:]:
            for actor in clip.scene.actors:
                place, before = actor.place_at(second), actor.place_at(second - 1)
                inside = place is not None and all(0 < at < 1 for at in place)
                if place is not None and inside:
                    at = moving[second, int(place[1] * 6), int(place[0] * 6)]
                    assert at or place == before, clip.name


def test_nothing_moves_where_an_actor_is_still_outside() -> None:
    for clip in clips(60):
        for actor in clip.scene.actors:
            alone = replace(clip.scene, actors=(actor,))
            moving = moving_groups(alone, [float(second) for second in SECONDS], 6)
            for second in range(actor.appears_at):
                assert not moving[second].any(), clip.name


def test_whom_a_question_is_about_is_not_hidden_by_others_when_it_matters() -> None:
    """The pictures must show the answer with everybody in them, not only with the actor alone."""
    for clip in clips(60):
        for question in clip.questions:
            if question.kind != "second":
                continue
            actor = clip.scene.only(sort_named(question.text.rstrip("?").split()[-2]))
            assert actor is not None
            without = bare(clip.scene, actors=tuple(one for one in clip.scene.actors if one is not actor))
            times = [float(actor.appears_at)]
            seen = (render(bare(clip.scene), times, SIZE) != render(without, times, SIZE)).any(axis=-1).sum()
            assert seen >= 15, clip.name


def test_a_clip_becomes_a_video_of_its_length(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, Clip.make(Split.test, 0), SIZE)
    video = VideoFile(str(path))
    assert (video.frames, video.duration_seconds) == (150, 15.0)
    with pytest.raises(UserError, match="no such folder"):
        write_video(tmp_path / "missing" / "clip.mp4", Clip.make(Split.test, 0), SIZE)
    with pytest.raises(UserError, match=r"clip\.png should end in \.mp4"):
        write_video(tmp_path / "clip.png", Clip.make(Split.test, 0), SIZE)


def test_the_script_prints_the_answers_that_belong_to_the_video(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "synthetic_clip.py"
    command = [sys.executable, str(script), str(tmp_path / "clip.mp4"), "--number", "5", "--json"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expected = [{"kind": q.kind, "text": q.text, "answer": q.answer} for q in Clip.make(Split.test, 5).questions]
    assert json.loads(printed) == expected
