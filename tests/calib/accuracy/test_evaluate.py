"""Evaluation: intervals, controls, and the shipped checkpoint through the engines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stts_calib.accuracy import AccuracyReport, Evaluation, report_of, settings_of, write_accuracy_plot
from stts_calib.accuracy.evaluate import Answers, Asked
from stts_calib.accuracy.intervals import Interval, accuracy_interval, difference_interval
from stts_calib.accuracy.plot import title
from stts_calib.accuracy.settings import Setting
from stts_calib.clips import ClipSet, Question, Split
from stts_export.building import BuildRequest, build_bundle
from stts_export.cli.evaluated import show_written
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Scorer
from stts_runtime.engines import load_vision
from stts_runtime.errors import EngineError, UserError
from tests.support.places import TINY
from tests.support.programs import assert_refused, run

TABLES = TINY.parents[1] / "scripts" / "accuracy_tables.py"
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
    once = (np.random.default_rng(0).random(200) < 0.8).astype(np.float64)
    for of in (accuracy_interval, difference_interval):
        assert of(once, np.arange(200)) == of(once.repeat(4), np.arange(200).repeat(4))
    single = difference_interval(once, np.arange(200))
    exact = 196 * np.sqrt(once.mean() * (1 - once.mean()) / 199)
    assert single.high - single.value == pytest.approx(exact, abs=0.02)


def test_an_accuracy_of_everything_is_no_certainty() -> None:
    found = accuracy_interval(np.ones(400), np.arange(400) // 4)
    assert (found.value, found.high) == (100, 100)
    assert found.low == pytest.approx(100 / (1 + 1.96**2 / 100), abs=0.01), "Wilson's, with a hundred clips"
    with pytest.raises(ValueError, match="at least two clips"):
        accuracy_interval(np.ones(4), np.zeros(4, dtype=np.int64))


@pytest.mark.parametrize("of", [accuracy_interval, difference_interval])
def test_intervals_cover_the_truth_about_as_often_as_they_say(
    of: Callable[[NDArray[np.float64], NDArray[np.int64]], Interval],
) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        difficulty = rng.beta(8, 2, 250).repeat(4)
        found = of((rng.random(1000) < difficulty).astype(np.float64), np.arange(250).repeat(4))
        covered += found.low <= 80 <= found.high
    assert 0.92 < covered / 400 < 0.98


def test_controls_keep_as_many_groups_as_the_budget() -> None:
    even = Setting("even", "given-t6-k0.5", "even").choice(BUDGET, 0)
    assert even is not None
    assert even.sum(axis=1).tolist() == [4, 0, 4, 0, 4, 0]
    draws = [Setting("random", "given-t6-k0.5", "random").choice(BUDGET, clip) for clip in (0, 0, 1)]
    assert all(draw is not None and draw.sum() == BUDGET.kept for draw in draws)
    assert all(draw is not None and draw[0].all() for draw in draws), "the first frame is whole, as the scorer has it"
    np.testing.assert_array_equal(draws[0], draws[1])
    assert draws[2] is not None
    assert np.any(draws[0] != draws[2])


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
    assert given.scores is not None
    assert chosen.scores is not None
    np.testing.assert_allclose(given.scores, chosen.scores, atol=1e-6)


def test_a_control_refuses_to_choose_and_to_keep_another_number(controls: Bundle) -> None:
    engine, frames = load_vision(controls, "given-t6-k0.5"), np.zeros((6, 84, 84, 3), dtype=np.uint8)
    with pytest.raises(EngineError, match="needs to be told which groups to keep"):
        engine.run(frames)
    with pytest.raises(EngineError, match="keeps 12 of 6 x 4 groups, and was given 24 of 6 x 4"):
        engine.run(frames, np.ones((6, 4), dtype=np.bool_))
    for name in ("clip-t6-k0.5", "full-t6"):
        with pytest.raises(EngineError, match=f"{name} chooses by itself"):
            load_vision(controls, name).run(frames, np.ones((6, 4), dtype=np.bool_))


def test_a_build_of_controls_alone_is_refused(micro_checkpoint: Path, tmp_path: Path) -> None:
    request = BuildRequest(micro_checkpoint, tmp_path / "out", [6], [0.5], ["given"])
    with pytest.raises(UserError, match="controls, which cannot answer"):
        build_bundle(request)
    assert not (tmp_path / "out").exists()


def test_a_control_is_never_chosen_to_answer(controls: Bundle) -> None:
    assert controls.choose(0.5, None, 6) == "clip-t6-k0.5"
    with pytest.raises(UserError, match=r"no variant with keep 0\.5, budget given"):
        controls.choose(0.5, "given", None)


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


def test_differences_are_those_of_paired_answers(controls: Bundle) -> None:
    """With answers by hand: two clips with two questions each, one kind that needs time and one that does not."""
    settings = settings_of(controls, ["full-t6", "clip-t6-k0.5", "full-t3"])
    evaluation = Evaluation(controls, settings, 2, 2, Split.test)
    evaluation.asked = [
        Asked(Question("colour", "What colour was the moving person?", "red"), 0),
        Asked(Question("stop", "Did the person stop?", "yes"), 0),
        Asked(Question("colour", "What colour was the moving person?", "blue"), 1),
        Asked(Question("stop", "Did the person stop?", "no"), 1),
    ]
    said = {
        "full-t6": ["red", "yes", "blue", "no"],
        "clip-t6-k0.5": ["red", "yes", "green", "no"],
        "full-t3": ["red", "no", "blue", "yes"],
    }
    evaluation.answers = {name: Answers(texts=texts, vision_ms=[1.0], clip_ms=[2.0]) for name, texts in said.items()}
    report = report_of(evaluation, "2026-01-01T00:00:00+00:00")
    points = {(one.setting, one.against, one.questions): one.points.value for one in report.differences}
    assert points == {
        ("clip-t6-k0.5", "full-t6", "all"): -25,
        ("clip-t6-k0.5", "full-t3", "all"): 25,
        ("clip-t6-k0.5", "full-t3", "needs time"): 100,
    }
    pruned = next(one for one in report.settings if one.setting == "clip-t6-k0.5")
    assert (pruned.accuracy.value, pruned.by_kind) == (75, {"colour": 50.0, "stop": 100.0})
    assert pruned.needs_time is not None
    assert pruned.needs_time.value == 100
    assert {kind.kind: (kind.questions, kind.chance) for kind in report.kinds} == {"colour": (2, 50), "stop": (2, 50)}


BOTH = (ClipSet.plain, ClipSet.hard)


def lasting(report: AccuracyReport) -> dict[str, Any]:
    """All that does not depend on the machine and its day."""
    changing = {"created", "jobs", "minutes", "machine"}
    found = report.model_dump(exclude=changing | {"settings"})
    return {**found, "settings": [one.model_dump(exclude={"vision_ms", "clip_ms"}) for one in report.settings]}


def test_several_processes_find_what_one_finds(controls: Bundle) -> None:
    one, three = (evaluated(controls, clips=7, clip_sets=BOTH, jobs=jobs) for jobs in (1, 3))
    assert lasting(one) == lasting(three)
    assert three.jobs == 3
    assert list(three.settings[0].by_set) == ["plain", "hard"]


def test_a_journal_goes_on_where_it_was_cut(controls: Bundle, tmp_path: Path) -> None:
    journal, done = tmp_path / "seen.jsonl", list[int]()
    whole = evaluated(controls, clips=5, clip_sets=BOTH, journal=journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6, "who answers, and a line a clip"
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:50])
    cut = Evaluation(controls, settings_of(controls, []), 5, 4, Split.test, clip_sets=BOTH, jobs=2)
    cut.run(done.append, journal)
    assert done == [2, 3, 4, 5]
    assert lasting(report_of(cut, whole.created)) == lasting(whole)
    assert len(journal.read_bytes().splitlines()) == 6
    fewer = evaluated(controls, clips=2, clip_sets=BOTH, journal=journal)
    assert lasting(fewer) == lasting(evaluated(controls, clips=2, clip_sets=BOTH))
    spent = sum(json.loads(line)["seconds"] for line in journal.read_bytes().splitlines()[1:3])
    assert fewer.minutes == pytest.approx(spent / 60, abs=0.05), "of the clips that count, and no engine was loaded"


def test_a_journal_of_something_else_is_refused(controls: Bundle, tmp_path: Path) -> None:
    journal = tmp_path / "seen.jsonl"
    evaluated(controls, clips=2, journal=journal)
    before = journal.read_bytes()
    with pytest.raises(UserError, match="of another evaluation"):
        evaluated(controls, clips=2, clip_sets=BOTH, journal=journal)
    assert journal.read_bytes() == before
    other = controls.manifest.model_copy(
        update={"prompt": controls.manifest.prompt.model_copy(update={"positions": "compact"})}
    )
    with pytest.raises(UserError, match="of another evaluation"):
        evaluated(replace(controls, manifest=other), clips=2, journal=journal)
    notes = tmp_path / "notes.jsonl"
    for text in ('{"to do": "everything"}\n', "everything"):
        notes.write_text(text)
        with pytest.raises(UserError, match="is not a journal"):
            evaluated(controls, clips=2, journal=notes)
        assert notes.read_text() == text


def evaluated(
    bundle: Bundle,
    clips: int,
    clip_sets: Sequence[ClipSet] = (ClipSet.plain,),
    jobs: int = 1,
    journal: Path | None = None,
) -> AccuracyReport:
    evaluation = Evaluation(bundle, settings_of(bundle, []), clips, 4, Split.test, clip_sets=clip_sets, jobs=jobs)
    evaluation.run(journal=journal)
    return report_of(evaluation, "2026-01-01T00:00:00+00:00")


def test_the_command_writes_report_and_picture(controls: Bundle, tmp_path: Path) -> None:
    out, plot = tmp_path / "report.json", tmp_path / "plot.png"
    options = ["--clips", "2", "--setting", "full-t6", "--setting", "clip-t6-k0.5"]
    done = run("stts-export", "evaluate", controls.folder, *options, "--report", out, "--plot", plot, "--json")
    assert done.returncode == 0, done.stderr
    report = AccuracyReport.model_validate_json(done.stdout)
    assert report == AccuracyReport.model_validate(json.loads(out.read_text()))
    assert report.questions == 8
    assert report.scorer == controls.manifest.scorer
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_report_text_and_picture_name_the_scorer(change_bundle: Bundle, controls: Bundle, tmp_path: Path) -> None:
    options = ["--clips", "2", "--setting", "clip-t3-k0.5"]
    done = run("stts-export", "evaluate", change_bundle.folder, *options, "--report", tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    assert "scored without training, by what changed since the frame before, at layer 3" in done.stdout
    assert re.search(r"note: 2 engines hold \d\.\d MB of weights", done.stdout)
    untrained = AccuracyReport.model_validate_json((tmp_path / "report.json").read_bytes())
    assert untrained.scorer == Scorer(kind="change", trained=False, prune_at=3)
    assert title(untrained) == "plain, scorer change, untrained: 2 test clips, 8 questions, 95 % intervals"
    trained = evaluated(controls, clips=2)
    assert title(trained) == "micro, trained scorer: 2 test clips, 8 questions, 95 % intervals"
    assert title(trained.model_copy(update={"scorer": None})).startswith("micro: 2 test clips")


def test_the_tables_of_the_docs_are_made_from_a_report(controls: Bundle, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    made = evaluated(controls, clips=6, clip_sets=BOTH)
    report.write_text(made.model_dump_json())
    done = subprocess.run([sys.executable, TABLES, report], capture_output=True, text=True, check=True, timeout=60)
    figures, _, differences, by_kind, breaks = [part.splitlines() for part in done.stdout.split("\n\n")[1:10:2]]
    assert [len(table) - 2 for table in (figures, differences)] == [len(made.settings), len(made.differences)]
    assert len(by_kind) == len(breaks) == len(made.kinds) + 2
    frames = [line.split("`")[1].split("-")[1] for line in figures[2:]]
    assert frames == sorted(frames), "from t3 to t6"
    pruned = next(one for one in made.settings if one.setting == "clip-t6-k0.5")
    assert f"| `clip-t6-k0.5` | 12 | {pruned.by_set['plain'].value:.1f} (" in done.stdout
    for table in (figures, differences, by_kind, breaks):
        assert len({line.count("|") for line in table}) == 1, "every row has a cell for each column"
    refused = subprocess.run([sys.executable, TABLES, TABLES], capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert "is not a report of `stts-export evaluate`" in refused.stderr


def test_points_lost_by_kind_are_those_against_unpruned(controls: Bundle) -> None:
    made = {one.setting: one for one in evaluated(controls, clips=6, clip_sets=BOTH).settings}
    lost = made["clip-t3-k0.5"].by_kind_lost
    assert lost
    for kind, points in lost.items():
        expected = made["full-t3"].by_kind[kind] - made["clip-t3-k0.5"].by_kind[kind]
        assert points.value == pytest.approx(expected, abs=0.11)
    assert made["full-t3"].by_kind_lost == {}


def test_processes_are_for_the_cpu(controls: Bundle) -> None:
    done = run("stts-export", "evaluate", controls.folder, "--engine", "cuda", "--jobs", "2")
    assert_refused(done, "--jobs spreads clips over CPU cores")


def test_the_command_refuses_a_wrong_ending_before_it_starts(controls: Bundle, tmp_path: Path) -> None:
    done = run("stts-export", "evaluate", controls.folder, "--report", tmp_path / "report.txt")
    assert_refused(done, "report.txt should end in .json")


def test_the_shipped_checkpoint_answers_and_pruning_costs_less_than_chance(trained: Bundle, tmp_path: Path) -> None:
    """A small sample of what scripts/accuracy measures on a thousand clips."""
    report = evaluated(trained, clips=24)
    accuracy = {one.setting: one.accuracy.value for one in report.settings}
    assert accuracy["full-t16"] > 92
    assert accuracy["clip-t16-k0.5"] > accuracy["full-t16"] - 4
    assert accuracy["random-t16-k0.5"] < accuracy["clip-t16-k0.5"] - 3
    kept = next(one for one in report.settings if one.setting == "clip-t16-k0.5")
    assert kept.kept_of_moving is not None
    assert kept.kept_of_others is not None
    assert kept.kept_of_moving > 85, "the scorer keeps what moves"
    assert kept.kept_of_others < 60
    write_accuracy_plot(tmp_path / "plot.png", report)


def test_a_path_that_was_written_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show_written([Path("[/a].json")])
    assert capsys.readouterr().out == "wrote [/a].json\n"
