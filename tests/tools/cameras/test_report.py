"""Scorers side by side: by kind of camera, paired over evaluations, and only where the questions are the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from stts_calib.accuracy import AccuracyReport
from stts_calib.accuracy.intervals import Interval
from stts_calib.accuracy.report import SettingRecord
from stts_calib.clips import Clip, ClipSet, Question, Split
from stts_calib.clips.hard_director import Condition
from stts_runtime.bench import machine
from stts_runtime.bundle.manifest import Scorer
from stts_runtime.errors import UserError
from stts_tools.cameras.answers import CAMERAS, Answered, read_answers
from stts_tools.cameras.plot import line_of
from stts_tools.cameras.report import read_report, rows_of
from tests.support.places import ROOT

SETS = [ClipSet.plain, ClipSet.hard]
CLIPS = [Clip.in_turn(Split.test, number, SETS) for number in range(200)]
UNTRAINED = Scorer(kind="change", trained=False, prune_at=1)
IsRight = Callable[[Clip], bool]


def everywhere(_: Clip) -> bool:
    return True


def still(clip: Clip) -> bool:
    return clip.condition is Condition.clear


def evaluation(
    folder: Path, name: str, settings: Mapping[str, IsRight], clips: int = len(CLIPS)
) -> tuple[Answered, AccuracyReport]:
    """Answers to the first question about each clip, and the report beside them."""
    lines = [
        {
            "setting": setting,
            "clip": number,
            "kind": clip.questions[0].kind,
            "question": clip.questions[0].text,
            "right": clip.questions[0].answer,
            "answer": answer_to(clip.questions[0], is_right(clip)),
        }
        for setting, is_right in settings.items()
        for number, clip in enumerate(CLIPS[:clips])
    ]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    report = AccuracyReport(
        created="2026-01-01T00:00:00+00:00",
        bundle=name,
        checkpoint="tiny",
        scorer=UNTRAINED,
        split="test",
        clip_sets=["plain", "hard"],
        clips=clips,
        questions=clips,
        random_weights=False,
        weights_sha256={},
        versions={},
        machine=machine(),
        minutes=1.0,
        kinds=[],
        settings=[record(setting) for setting in settings],
        differences=[],
    )
    path.with_suffix(".json").write_text(report.model_dump_json())
    return read_answers(path, SETS), read_report(path)


def answer_to(question: Question, right: bool) -> str:
    return question.answer if right else "nonsense"


def record(setting: str) -> SettingRecord:
    keep = 1.0 if setting.startswith("full") else float(setting.rpartition("-k")[2])
    return SettingRecord(
        setting=setting,
        variant=setting,
        frames=16,
        keep=keep,
        visual_tokens=round(576 * keep),
        accuracy=Interval(value=0, low=0, high=0),
        needs_time=None,
        by_kind={},
        vision_ms=10.0,
        clip_ms=20.0,
        kept_of_moving=None,
        kept_of_others=None,
        answers_sha256="",
    )


def test_every_condition_is_a_camera_of_its_own_and_all_are_counted(tmp_path: Path) -> None:
    kinds = [conditions for name, conditions in CAMERAS.items() if name != "all"]
    assert sorted(one.value for kind in kinds for one in kind) == sorted(one.value for one in Condition)
    (row,) = rows_of([evaluation(tmp_path, "change", {"full-t16": everywhere})])
    assert (
        sum(found.clips for name, found in row.cameras.items() if name != "all")
        <= row.cameras["all"].clips
        == len(CLIPS)
    )
    assert row.cameras["still"].clips == sum(still(clip) for clip in CLIPS)


def test_what_fails_where_the_camera_moves_is_seen_there_and_nowhere_else(tmp_path: Path) -> None:
    given = {"full-t16": everywhere, "clip-t16-k0.5": still, "random-t16-k0.5": lambda _: False}
    _, pruned, random = rows_of([evaluation(tmp_path, "change", given)])
    assert pruned.cameras["still"].points["change/full-t16"].value == 0
    assert pruned.cameras["still"].points["change/random-t16-k0.5"].value == 100
    for camera in ("shaking", "panning", "noisy"):
        assert pruned.cameras[camera].accuracy.value == 0
        assert pruned.cameras[camera].points["change/full-t16"].value == -100
    assert (pruned.scorer, random.scorer) == (UNTRAINED, None), "a control is told what to keep"
    assert "change/clip-t16-k0.5" not in pruned.cameras["all"].points, "not against itself"


def test_another_evaluation_is_paired_with_the_first(tmp_path: Path) -> None:
    first = evaluation(tmp_path, "change", {"full-t16": everywhere, "clip-t16-k0.5": still})
    alone = evaluation(tmp_path, "frozen", {"clip-t16-k0.5": everywhere})
    own = evaluation(tmp_path, "end-to-end", {"full-t16": still, "clip-t16-k0.5": everywhere})
    rows = {(row.evaluation, row.setting): row.cameras["shaking"].points for row in rows_of([first, alone, own])}
    assert {name: one.value for name, one in rows["frozen", "clip-t16-k0.5"].items()} == {
        "change/full-t16": 0,
        "change/clip-t16-k0.5": 100,
    }
    assert rows["end-to-end", "clip-t16-k0.5"]["end-to-end/full-t16"].value == 100
    assert next(iter(rows["end-to-end", "clip-t16-k0.5"])) == "end-to-end/full-t16", "its own unpruned comes first"


def test_other_clips_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="b was not asked the same as a"):
        rows_of([evaluation(tmp_path, name, {"full-t16": everywhere}, clips) for name, clips in (("a", 60), ("b", 50))])
    with pytest.raises(UserError, match="is not of these sets: nobody asks"):
        read_answers(tmp_path / "a.jsonl", [ClipSet.hard])
    (tmp_path / "b.json").unlink()
    with pytest.raises(UserError, match=r"b\.json should be the report"):
        read_report(tmp_path / "b.jsonl")


def test_two_files_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    evaluations = [evaluation(tmp_path / place, "change", {"full-t16": everywhere}, 60) for place in ("a", "b")]
    with pytest.raises(UserError, match=r"^two files are called change, by which rows are told apart; rename"):
        rows_of(evaluations)


def test_the_script_writes_table_json_and_picture(tmp_path: Path) -> None:
    evaluation(tmp_path, "change", {"full-t16": everywhere, "clip-t16-k0.5": still, "random-t16-k0.5": still})
    evaluation(tmp_path, "frozen", {"clip-t16-k0.5": everywhere})
    files, out, plot = (
        [tmp_path / f"{name}.jsonl" for name in ("change", "frozen")],
        tmp_path / "o.json",
        tmp_path / "p.png",
    )
    command = [
        sys.executable,
        str(ROOT / "scripts" / "accuracy_by_camera.py"),
        *map(str, files),
        "--set",
        "plain",
        "--set",
        "hard",
    ]
    done = subprocess.run(
        [*command, "--out", str(out), "--plot", str(plot), "--markdown"], capture_output=True, text=True, check=True
    )
    head, rule, *rows = done.stdout.splitlines()
    assert head.startswith("| evaluation | setting | tokens | all (200 questions) | still (")
    assert {line.count("|") for line in (rule, *rows)} == {head.count("|")}
    assert [row.split(" | ")[1] for row in rows] == ["full-t16", "clip-t16-k0.5", "random-t16-k0.5", "clip-t16-k0.5"]
    written = json.loads(out.read_text())
    assert written["evaluations"]["frozen"]["scorer"] == UNTRAINED.model_dump()
    assert len(written["rows"]) == 4
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_line_is_drawn_for_each_way_to_choose(tmp_path: Path) -> None:
    given = dict.fromkeys(["full-t16", "clip-t16-k0.5", "random-t16-k0.5", "even-t16-k0.5"], everywhere)
    rows = rows_of([evaluation(tmp_path, "change", given)])
    assert [line_of(row) for row in rows] == ["change", "change", "change, random", "change, even"]
