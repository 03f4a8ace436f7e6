"""Evaluation: intervals, controls, and the shipped checkpoint through the engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stts_calib.accuracy import AccuracyReport, Evaluation, report_of, settings_of, write_accuracy_plot
from stts_calib.accuracy.intervals import interval
from stts_calib.accuracy.settings import Setting
from stts_calib.clips import Split
from stts_export.build import build_bundle
from stts_export.plan import BuildRequest
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.engines import load_vision
from stts_runtime.errors import EngineError, UserError
from tests.programs import assert_refused, run

TINY = Path(__file__).parent.parent / "checkpoints" / "tiny"
BUDGET = TokenBudget(6, 4, 0.5, "given")


@pytest.fixture(scope="module")
def controls(micro_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The random micro checkpoint with a control variant."""
    out = tmp_path_factory.mktemp("bundles") / "controls"
    return build_bundle(BuildRequest(micro_checkpoint, out, [6, 3], [1.0, 0.5], ["clip", "given"]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The shipped checkpoint, unpruned and at keep 0.5."""
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    return build_bundle(BuildRequest(TINY, out, [16], [1.0, 0.5], ["clip", "given"]))


def test_an_interval_counts_clips_and_not_questions() -> None:
    """Four equal answers about a clip tell no more than one: copying every answer must not narrow the interval."""
    rng = np.random.default_rng(0)
    once = (rng.random(200) < 0.8).astype(np.float64)
    single = interval(once, np.arange(200))
    copied = interval(once.repeat(4), np.arange(200).repeat(4))
    assert single == copied
    exact = 196 * np.sqrt(once.mean() * (1 - once.mean()) / 199)
    assert single.high - single.value == pytest.approx(exact, abs=0.02)


def test_the_interval_of_equal_answers_is_a_point() -> None:
    found = interval(np.zeros(40), np.arange(40) // 4)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        difficulty = rng.beta(8, 2, 250).repeat(4)
        found = interval((rng.random(1000) < difficulty).astype(np.float64), np.arange(250).repeat(4))
        covered += found.low <= 80 <= found.high
    assert 0.92 < covered / 400 < 0.98


def test_controls_keep_as_many_groups_as_the_budget() -> None:
    even = Setting("even", "given-t6-k0.5", "even").choice(BUDGET, 0)
    assert even is not None
    assert even.sum(axis=1).tolist() == [4, 0, 4, 0, 4, 0]
    draws = [Setting("random", "given-t6-k0.5", "random").choice(BUDGET, clip) for clip in (0, 0, 1)]
    assert all(draw is not None and draw.sum() == BUDGET.kept for draw in draws)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_what_is_left_over_of_whole_frames_is_spent_too() -> None:
    budget = TokenBudget(5, 9, 0.7, "given")
    even = Setting("even", "x", "even").choice(budget, 0)
    assert even is not None
    assert even.sum() == budget.kept
    assert sorted(even.sum(axis=1).tolist())[1:] == [5, 9, 9, 9]


def test_a_control_given_what_the_scorer_chose_answers_as_the_pruned_variant(controls: Bundle) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, 84, 84, 3), dtype=np.uint8)
    chosen = load_vision(controls, "clip-t6-k0.5").run(frames)
    given = load_vision(controls, "given-t6-k0.5").run(frames, chosen.kept)
    np.testing.assert_allclose(given.visual_tokens, chosen.visual_tokens, atol=1e-5)
    np.testing.assert_allclose(given.scores, chosen.scores, atol=1e-6)


def test_a_control_refuses_to_choose_and_to_keep_another_number(controls: Bundle) -> None:
    engine, frames = load_vision(controls, "given-t6-k0.5"), np.zeros((6, 84, 84, 3), dtype=np.uint8)
    with pytest.raises(EngineError, match="needs to be told which groups to keep"):
        engine.run(frames)
    with pytest.raises(EngineError, match="keeps 12 of 6 x 4 groups, and was given 24 of 6 x 4"):
        engine.run(frames, np.ones((6, 4), dtype=np.bool_))


def test_a_control_is_never_chosen_to_answer(controls: Bundle) -> None:
    assert controls.choose(0.5, None, 6) == "clip-t6-k0.5"
    with pytest.raises(UserError, match=r"no variant with keep 0\.5, budget given"):
        controls.choose(0.5, "given", None)
    assert controls.manifest.schema_version == 2, "an older runtime must not take it for damaged"


def test_settings_are_every_variant_and_two_controls(controls: Bundle) -> None:
    names = [setting.name for setting in settings_of(controls, [])]
    assert names[:4] == ["full-t6", "clip-t6-k0.5", "random-t6-k0.5", "even-t6-k0.5"]
    assert [one.name for one in settings_of(controls, ["even-t3-k0.5", "full-t6"])] == ["full-t6", "even-t3-k0.5"]
    with pytest.raises(UserError, match="has no setting 'clip-t9'; it has full-t6"):
        settings_of(controls, ["clip-t9"])


def test_two_evaluations_agree_to_the_letter(controls: Bundle) -> None:
    first, second = (evaluated(controls, clips=3) for _ in range(2))
    assert [one.answers_sha256 for one in first.settings] == [one.answers_sha256 for one in second.settings]
    assert [one.accuracy for one in first.settings] == [one.accuracy for one in second.settings]
    compared = {(one.setting, one.against) for one in first.differences}
    assert {("clip-t6-k0.5", "full-t6"), ("random-t6-k0.5", "clip-t6-k0.5"), ("clip-t6-k0.5", "full-t3")} <= compared


def evaluated(bundle: Bundle, clips: int) -> AccuracyReport:
    evaluation = Evaluation(bundle, settings_of(bundle, []), clips, 4, Split.test)
    evaluation.run()
    return report_of(evaluation, "2026-01-01T00:00:00+00:00", 0.1)


def test_the_command_writes_report_and_picture(controls: Bundle, tmp_path: Path) -> None:
    out, plot = tmp_path / "report.json", tmp_path / "plot.png"
    options = ["--clips", "2", "--setting", "full-t6", "--setting", "clip-t6-k0.5"]
    done = run("stts-export", "evaluate", controls.folder, *options, "--out", out, "--plot", plot, "--json")
    assert done.returncode == 0, done.stderr
    report = AccuracyReport.model_validate_json(done.stdout)
    assert report == AccuracyReport.model_validate(json.loads(out.read_text()))
    assert report.questions == 8
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_command_refuses_a_wrong_ending_before_it_starts(controls: Bundle, tmp_path: Path) -> None:
    done = run("stts-export", "evaluate", controls.folder, "--out", tmp_path / "report.txt")
    assert_refused(done, "report.txt should end in .json")


def test_the_shipped_checkpoint_answers_and_pruning_costs_less_than_chance(trained: Bundle, tmp_path: Path) -> None:
    """A small sample of what scripts/accuracy measures on a thousand clips."""
    report = evaluated(trained, clips=40)
    accuracy = {one.setting: one.accuracy.value for one in report.settings}
    assert accuracy["full-t16"] > 92
    assert accuracy["clip-t16-k0.5"] > accuracy["full-t16"] - 4
    assert accuracy["random-t16-k0.5"] < accuracy["clip-t16-k0.5"] - 3
    kept = next(one for one in report.settings if one.setting == "clip-t16-k0.5")
    assert kept.kept_of_moving is not None
    assert kept.kept_of_still is not None
    assert kept.kept_of_moving > 85, "the scorer keeps what moves"
    assert kept.kept_of_still < 60
    write_accuracy_plot(tmp_path / "plot.png", report)
