"""People's own questions put to every variant: marks, resuming, judges, the page, and what is left out."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stts_calib.accuracy import settings_of
from stts_calib.questions import (
    OptionsAsked,
    QuestionEvaluation,
    QuestionReport,
    question_report_of,
    read_questions,
    write_page,
)
from stts_calib.questions import judge as judge_module
from stts_calib.questions.marks import is_exact, meant_option
from stts_calib.questions.question import OwnQuestion
from stts_calib.questions.report import Changed, KindAsked, NotAsked
from stts_calib.questions.seen import Said, SettingSaid, packed
from stts_export.cli import own_questions
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_tools.question_files import write_question_files
from tests.support.programs import assert_refused, run

SETTINGS = ["full-t6", "clip-t6-k0.5", "full-t3"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return write_question_files(tmp_path_factory.mktemp("questions") / "files", 84)


def evaluation(bundle: Bundle, path: Path, **more: Any) -> QuestionEvaluation:
    options = more.pop("options", OptionsAsked.texts)
    file = read_questions(path, more.pop("videos", None))
    return QuestionEvaluation(bundle, settings_of(bundle, SETTINGS), file, options, max_tokens=4, **more)


def evaluated(bundle: Bundle, path: Path, journal: Path | None = None, **more: Any) -> QuestionEvaluation:
    asked = evaluation(bundle, path, **more)
    asked.run(journal=journal)
    return asked


def lasting(asked: QuestionEvaluation) -> dict[str, Any]:
    """All that does not depend on the machine and its day."""
    report = question_report_of(asked, "2026-01-01T00:00:00+00:00").model_dump(exclude={"minutes", "machine", "jobs"})
    for one in report["settings"]:
        del one["vision_ms"], one["clip_ms"]
    return report


def test_every_setting_answers_every_question_of_every_layout(micro_bundle: Bundle, files: Mapping[str, Path]) -> None:
    rights = {}
    for layout in ("MVBench", "TempCompass", "MLVU", "Video-MME"):
        asked = evaluated(micro_bundle, files[layout], videos=files["own"].parent / "videos")
        rights[layout] = [asked.right(name).tolist() for name in SETTINGS]
        assert len(list(asked.records())) == 3 * 10
    assert len({str(found) for found in rights.values()}) == 1, "the same questions, whatever they are written as"


@pytest.mark.parametrize("options", list(OptionsAsked))
def test_questions_with_options_are_put_in_three_ways(
    options: OptionsAsked, micro_bundle: Bundle, files: Mapping[str, Path]
) -> None:
    asked = evaluated(micro_bundle, files["own"], options=options)
    with_options = [one for one in asked.answered if one.options]
    listed = [asked.exam.text(one) for one in with_options]
    assert all(("\nA. " in text) == (options is not OptionsAsked.texts) for text in listed)
    chosen = {one["place"]: one for one in asked.records() if one["setting"] == "full-t6"}
    for one in with_options:
        said = chosen[one.place]
        if options is OptionsAsked.generated:
            assert said["probability"] is None
        else:
            assert said["answer"] in one.options
            assert said["is_right"] == (said["answer"] == one.answer)


def test_an_answer_is_right_to_the_letter_but_for_case_blanks_and_a_full_stop() -> None:
    free = OwnQuestion("line 1", "v", "Where?", ("top left", "upper left"))
    assert all(is_exact(free, said) for said in ("top left", " Top  Left.", "UPPER LEFT", "top left !", "top left ."))
    assert not any(is_exact(free, said) for said in ("", "top", "top left corner"))
    options = ("a dog", "A", "cats")
    assert meant_option("C\nThey are cats.", options) == "cats"
    assert [meant_option(said, options) for said in ("C", "(C)", "C. cats", "c", "A dog", "A man", "D.", "cats")] == [
        "cats", "cats", "cats", None, "a dog", None, None, "cats",
    ]  # fmt: skip


def test_a_journal_goes_on_where_it_was_cut(micro_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path) -> None:
    journal, done = tmp_path / "seen.jsonl", list[int]()
    whole = lasting(evaluated(micro_bundle, files["own"], journal))
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6, "who answers, and a line a video"
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:50])
    cut = evaluation(micro_bundle, files["own"], jobs=2)
    cut.run(done.append, journal)
    assert done == [2, 3, 4, 5]
    assert lasting(cut) == whole
    with pytest.raises(UserError, match="of another evaluation"):
        evaluated(micro_bundle, files["own"], journal, options=OptionsAsked.letters)


def test_a_video_that_cannot_be_read_is_left_out_and_tried_again(
    micro_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path
) -> None:
    good = (files["own"].parent / "videos" / "test-0.mp4").read_bytes()
    row = {"question": "What?", "answer": "red"}
    rows = [{**row, "video": name} for name in ("a.mp4", "broken.mp4", "b.mp4", "gone.mp4", "broken.mp4")]
    path, journal = tmp_path / "own.jsonl", tmp_path / "seen.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(good)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    first = evaluated(micro_bundle, path, journal)
    assert [one.place for one in first.left_out] == ["line 2", "line 4", "line 5"]
    assert "no such file" in first.left_out[1].reason
    assert len(first.answered) == 2
    (tmp_path / "broken.mp4").write_bytes(good)
    second = evaluated(micro_bundle, path, journal)
    assert [one.place for one in second.left_out] == ["line 4"]
    assert [one.place for one in second.answered] == ["line 1", "line 2", "line 5", "line 3"]
    assert len(journal.read_bytes().splitlines()) == 4


def test_a_question_that_does_not_fit_is_left_out_for_all_settings(
    micro_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path
) -> None:
    row = {"video": str(files["own"].parent / "videos" / "test-0.mp4"), "answer": "red"}
    path = tmp_path / "own.jsonl"
    texts = ["What?", "word " * 5000, "<im_patch>?"]
    path.write_text("".join(json.dumps({**row, "question": text}) + "\n" for text in texts))
    asked = evaluated(micro_bundle, path)
    assert [one.place for one in asked.answered] == ["line 1"]
    assert {one.place: one.reason.partition(" ")[0] for one in asked.left_out} == {"line 3": "the", "line 2": "the"}
    report = question_report_of(asked, "2026-01-01T00:00:00+00:00")
    assert report.settings[0].interval is None, "one video has no interval"
    assert report.differences == []


JUDGE = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"right": asked["said"] != "" and asked["answers"][0] != "nothing"}), file=sys.stdout, flush=True)
    print(asked["place"], file=open(sys.argv[1], "a"))
"""


def test_a_judge_of_the_users_own_marks_written_answers_and_no_likely_ones(
    micro_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "judge.py").write_text(JUDGE)
    command = f"{sys.executable} {tmp_path / 'judge.py'} {tmp_path / 'heard'}"
    asked = evaluated(micro_bundle, files["own"], judge=command)
    written = [one.place for one in asked.answered if not one.options]
    heard = (tmp_path / "heard").read_text().splitlines()
    assert set(heard) == set(written)
    assert len(heard) < 3 * len(written) + 1
    for one in asked.records():
        if one["place"] in written:
            assert one["is_right"] == (one["answer"] != "" and one["right"] != "nothing")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('yes', flush=True)", "the judge said 'yes' to line 1; it should say"),
        ("raise SystemExit(1)", "ended"),
        ("print('{\"right\": 1}', flush=True)", "it should say"),
        ("sys.stdout.buffer.write(b'\\xff\\n'); sys.stdout.flush()", "the judge said '\ufffd' to line 1"),
        ("print('[' * 100_000, flush=True)", "it should say"),
    ],
)
def test_a_judge_that_gives_no_verdict_is_named(
    code: str, message: str, micro_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "judge.py").write_text(f"import sys\nsys.stdin.readline()\n{code}\n")
    with pytest.raises(UserError, match=message):
        evaluated(micro_bundle, files["own"], judge=f"{sys.executable} {tmp_path / 'judge.py'}")
    with pytest.raises(UserError, match="cannot be run"):
        evaluated(micro_bundle, files["own"], judge=str(tmp_path / "no-such-judge"))


def test_a_judge_that_says_nothing_and_does_not_end_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_module, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(judge_module, "_FAREWELL_SECONDS", 0.2)
    (tmp_path / "judge.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('{', flush=True)\ntime.sleep(60)\n"
    )
    question, began = OwnQuestion("line 1", "v", "Where?", ("here",)), time.monotonic()
    with judge_module.judged_by(f"{sys.executable} {tmp_path / 'judge.py'}") as verdict:
        with pytest.raises(UserError, match=r"the judge said '\{'"):
            verdict(question, "there")
        with pytest.raises(UserError, match=r"said nothing to line 1 for 0\.5 s"):
            verdict(question, "here")
    assert time.monotonic() - began < 30


def test_a_journal_is_not_mixed_with_a_folder_whose_names_became_others(
    micro_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path
) -> None:
    good = (files["own"].parent / "videos" / "test-0.mp4").read_bytes()
    path, journal = tmp_path / "own.jsonl", tmp_path / "seen.jsonl"
    rows = [{"question": "What?", "answer": "red", "video": f"{name}.mp4"} for name in "abc"]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    (tmp_path / "deep").mkdir()
    for name in "abc":
        (tmp_path / "deep" / f"{name}.mp4").write_bytes(good)
    evaluated(micro_bundle, path, journal)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.mp4").write_bytes(good)
    with pytest.raises(UserError, match="of another evaluation"):
        evaluated(micro_bundle, path, journal)


def test_differences_are_those_of_paired_answers(micro_bundle: Bundle, files: Mapping[str, Path]) -> None:
    """With answers by hand: the second setting is wrong about the first video alone, the third about nothing."""
    asked = evaluated(micro_bundle, files["own"])
    wrong = {one.place for one in asked.exam.videos[0].questions}
    for at, seen in enumerate(asked.seen):
        settings = {
            name: by_hand(said, wrong if name == SETTINGS[1] else set()) for name, said in seen.settings.items()
        }
        asked.seen[at] = seen.model_copy(update={"settings": settings})
    report = question_report_of(asked, "2026-01-01T00:00:00+00:00")
    (found,) = [one for one in report.differences if (one.setting, one.against) == (SETTINGS[1], "full-t6")]
    assert (found.points.value, found.lost, found.won) == (-20, 2, 0)
    assert found.unseen is None
    assert [one.right for one in report.settings] == [100, 80, 100]
    assert {one.place for one in report.changed} == wrong
    same = [one for one in report.differences if one.unseen is not None]
    assert all(one.unseen == pytest.approx(100 * (1 - 0.05**0.2), abs=0.05) for one in same)


def by_hand(said: SettingSaid, wrong: set[str]) -> SettingSaid:
    answers = {
        place: one.model_copy(update={"right": place not in wrong, "text": "no" if place in wrong else "yes"})
        for place, one in said.answers.items()
    }
    return said.model_copy(update={"answers": answers})


def test_kept_groups_survive_the_journal() -> None:
    kept = np.random.default_rng(0).random((1, 9)) < 0.4
    said = SettingSaid(answers={}, vision_ms=1, clip_ms=1, kept=packed(kept))
    again = SettingSaid.model_validate_json(said.model_dump_json())
    np.testing.assert_array_equal(again.kept_groups(1, 9), kept)


def test_the_page_stands_alone_and_shows_what_changed(
    micro_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path
) -> None:
    asked = evaluated(micro_bundle, files["own"])
    seen = asked.seen[0]
    changed = {
        name: by_hand(said, {"line 1"} if name == SETTINGS[1] else set()) for name, said in seen.settings.items()
    }
    asked.seen[0] = seen.model_copy(update={"settings": changed})
    write_page(tmp_path / "page.html", question_report_of(asked, "2026-01-01T00:00:00+00:00"), asked)
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"(?:src|href)=\"(?!data:)|<script|https?://|@import|url\(", page), "nothing is fetched"
    assert page.count("data:image/jpeg;base64,") >= 2, "as two settings saw it"
    assert all(name in page for name in SETTINGS)
    assert "line 1, " in page


def test_the_page_shows_markup_of_others_as_text(
    micro_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path
) -> None:
    asked = evaluated(micro_bundle, files["own"])
    report, markup = question_report_of(asked, "2026-01-01T00:00:00+00:00"), "<img src='x'>"
    said = {name: Said(text=markup, right=False) for name in SETTINGS}
    changed = Changed(place="line 1", video=markup, question=markup, answer=markup, said=said)
    left_out = [NotAsked(place="line 2", reason=markup)] * 501
    kinds = [KindAsked(kind=kind, questions=1, chance=None) for kind in (markup, "b")]
    settings = [one.model_copy(update={"by_kind": {markup: 1.0, "b": 2.0}}) for one in report.settings]
    about = {"file": markup, "judge": markup, "layout": markup, "bundle": markup}
    found = {"changed": [changed], "left_out": left_out, "kinds": kinds, "settings": settings}
    write_page(tmp_path / "page.html", report.model_copy(update={**about, **found}), asked)
    page = (tmp_path / "page.html").read_text()
    assert "<img src='x'" not in page
    assert page.count(escape(markup)) == 2 + 2 + 1 + 1 + 500 + 3 + len(SETTINGS) + 1
    assert "The first 500 are here; the JSON has all." in page


def test_the_command_reports_and_exits_with_2_where_lines_are_wrong(
    micro_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path
) -> None:
    lines = files["own"].read_text().splitlines()
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join([*lines[:4], "{", *lines[4:]]))
    places = ["--report", tmp_path / "report.json", "--page", tmp_path / "page.html", "--answers", tmp_path / "a.jsonl"]
    options = [
        "--videos",
        files["own"].parent,
        "--options",
        "texts",
        "--setting",
        "full-t3",
        "--setting",
        "clip-t3-k0.5",
    ]
    done = run("stts-export", "evaluate", micro_bundle.folder, "--questions", path, *options, *places, "--json")
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[0].startswith("error: line 5: it is not valid JSON")
    assert done.stderr.splitlines()[-1] == "1 of 11 questions could not be asked"
    report = QuestionReport.model_validate_json(done.stdout)
    assert report == QuestionReport.model_validate_json((tmp_path / "report.json").read_text())
    assert (report.questions, report.videos, [one.place for one in report.left_out]) == (10, 5, ["line 5"])
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 20
    assert "Questions that were not asked: 1" in (tmp_path / "page.html").read_text()


def test_report_text_and_page_name_the_scorer_and_how_far_it_is(
    change_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path
) -> None:
    out, page = tmp_path / "report.json", tmp_path / "page.html"
    options = ["--questions", files["own"], "--setting", "clip-t3-k0.5", "--report", out, "--page", page]
    done = run("stts-export", "evaluate", change_bundle.folder, *options, "--max-tokens", "2")
    assert done.returncode == 0, done.stderr
    assert "scored without training, by what changed since the frame before, at layer 3" in done.stdout
    assert "note: 2 engines hold " in done.stdout
    assert "asking about videos: 0 of 5" in done.stdout
    assert QuestionReport.model_validate_json(out.read_bytes()).scorer == change_bundle.manifest.scorer
    assert "no scorer was trained" in page.read_text()


def test_kinds_are_shown_as_they_are_written(
    micro_bundle: Bundle, files: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(files["own"].parent / "videos" / "test-0.mp4")
    rows = [{"question": "What?", "answer": "red", "video": video, "kind": kind} for kind in ("[/a]", "b\33[2J")]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    own_questions._show(question_report_of(evaluated(micro_bundle, path), "2026-01-01T00:00:00+00:00"))
    shown = capsys.readouterr().out
    assert "[/a]" in shown
    assert "\33[2J" not in shown


def test_options_of_the_other_kind_of_evaluation_are_refused(micro_bundle: Bundle, files: Mapping[str, Path]) -> None:
    command = ["stts-export", "evaluate", micro_bundle.folder]
    assert_refused(run(*command, "--videos", "."), "--videos is for --questions FILE, and none is given")
    assert_refused(run(*command, "--questions", files["own"], "--clips", "9"), "--clips is for our own clips")


@pytest.mark.parametrize(("option", "name"), [("--answers", "own"), ("--report", "MVBench")])
def test_questions_are_not_overwritten(option: str, name: str, tmp_path: Path, files: Mapping[str, Path]) -> None:
    before = files[name].read_bytes()
    done = run("stts-export", "evaluate", tmp_path, "--questions", files[name], option, files[name])
    assert_refused(done, "would overwrite the source")
    assert files[name].read_bytes() == before
