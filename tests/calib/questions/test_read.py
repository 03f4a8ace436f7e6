"""Files of questions: five published layouts and people's own, and what is said of a line that is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stts_calib.questions import read_questions
from stts_calib.questions.question import OwnQuestion
from stts_calib.questions.read import QuestionFile
from stts_runtime.errors import UserError
from stts_tools.question_files import write_question_files

PUBLISHED = ("MVBench", "TempCompass", "MLVU", "Video-MME", "NExT-QA")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return write_question_files(tmp_path_factory.mktemp("questions") / "files", 84)


def read(folder: Path, name: str, content: object) -> QuestionFile:
    """A file next to a video that is called v.mp4; what is in that nobody looks at here."""
    (folder / "v.mp4").touch()
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_questions(path)


def only(file: QuestionFile) -> OwnQuestion:
    assert file.left_out == []
    assert len(file.questions) == 1
    return file.questions[0]


@pytest.mark.parametrize("layout", PUBLISHED)
def test_a_published_layout_is_told_and_asks_what_the_others_ask(layout: str, files: Mapping[str, Path]) -> None:
    videos = files["own"].parent / "videos"
    found, own = read_questions(files[layout], videos), read_questions(files["own"])
    assert found.layout == layout
    assert found.left_out == []
    assert [(one.video, one.text, one.answer) for one in found.questions] == [
        (one.video, one.text, one.answer) for one in own.questions
    ]
    assert all(Path(one.video).is_file() for one in found.questions)
    assert {len(one.options) for one in found.questions} == {5 if layout == "NExT-QA" else 4}


def test_parquet_is_read_as_json_is(files: Mapping[str, Path], tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    from pyarrow import parquet

    path = tmp_path / "test-00000-of-00001.parquet"
    parquet.write_table(arrow.Table.from_pylist(json.loads(files["Video-MME"].read_text())), path)
    videos = files["own"].parent / "videos"
    found, other = read_questions(path, videos), read_questions(files["Video-MME"], videos)
    assert found.layout == "Video-MME"
    assert [one.text for one in found.questions] == [one.text for one in other.questions]
    assert [one.place for one in found.questions[:2]] == ["row 1", "row 2"]


def test_tempcompass_has_options_in_the_lines_of_a_question(tmp_path: Path) -> None:
    captions = (
        "Which sentence better captures the essence of the video?\nSentence A: A man runs.\nSentence B: A man sits."
    )
    entry = {"v": {"action": [{"question": captions, "answer": "Sentence B: A man sits."}]}}
    matching = only(read(tmp_path, "caption_matching.json", entry))
    assert (matching.options, matching.answer) == (("A man runs.", "A man sits."), "A man sits.")
    assert matching.kind == "action"
    yes_no = only(read(tmp_path, "yes_no.json", {"v": {"speed": [{"question": "Is it fast?", "answer": "no"}]}}))
    assert (yes_no.text, yes_no.options, yes_no.answer) == ("Is it fast?", ("yes", "no"), "no")
    two = {"question": "Describe.\nInformation A: {'action': 'runs'}\nGenerated Caption:", "answer": "A. runs"}
    captioning = only(read(tmp_path, "captioning.json", {"v": {"action": [two]}}))
    assert captioning.options == ()


def test_mlvu_comes_in_two_forms(tmp_path: Path) -> None:
    (tmp_path / "1_plotQA").mkdir()
    (tmp_path / "2_needle").mkdir()
    for folder in ("1_plotQA", "2_needle"):
        (tmp_path / folder / "v.mp4").touch()
    row = {"video": "v.mp4", "duration": 9, "question": "Who?", "answer": "me", "question_type": "plotQA"}
    chosen = only(read(tmp_path, "1_plotQA.json", [{**row, "candidates": ["me", "you"]}]))
    assert Path(chosen.video) == tmp_path / "1_plotQA" / "v.mp4", "videos of different tasks have the same names"
    assert only(read(tmp_path, "2_needle.json", [row])).options == ()
    letters = {"video_name": "v.mp4", "task_type": "ego", "question": "Who?\n(A) me\n(B) you", "answer": "B"}
    asked = only(read(tmp_path, "mlvu.json", [letters]))
    assert (asked.text, asked.options, asked.answer, asked.kind) == ("Who?", ("me", "you"), "you", "ego")


def test_open_questions_of_next_qa_may_have_two_answers(tmp_path: Path) -> None:
    lines = (
        "video,frame_count,width,height,question,answer,qid,type,additional_ref_answer\nv,9,4,3,why,cold,0,CW,snow\n"
    )
    asked = only(read(tmp_path, "val.csv", lines))
    assert (asked.text, asked.answers, asked.kind) == ("why", ("cold", "snow"), "CW")


def test_mvbench_asks_about_parts_of_videos(tmp_path: Path) -> None:
    row = {"video": "v.mp4", "question": "What?", "candidates": ["a", "b"], "answer": "b", "start": 2.5, "end": 7}
    assert only(read(tmp_path, "action_sequence.json", [row])).part == (2.5, 7.0)


GOOD = {"video": "v.mp4", "question": "What?", "answer": "red"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", r"it is not valid JSON \(.*\); it should be an object in one line"),
        ("[" * 100_000, "it is not valid JSON"),
        ("5", "it is int and should be an object with video, question and answer"),
        ({**GOOD, "answer": ""}, "the answer is empty; it should be a text"),
        ({**GOOD, "answer": " ", "options": ["red", "blue"]}, "should be a text, one of 'red', 'blue'"),
        ({**GOOD, "question": "\n"}, "the question is empty"),
        ({**GOOD, "options": ["blue", "green"]}, "the answer 'red' is not an option; it should be one of A, B"),
        ({**GOOD, "options": ["red", ""]}, r"options\[1\] is empty"),
        ({**GOOD, "options": ["red", None]}, r"it has no options\[1\]; it should be a text"),
        ({**GOOD, "options": ["red"]}, "options should have from 2 to 64"),
        ({**GOOD, "options": ["red", "red"]}, r"options\[1\] is 'red', which options\[0\] is already"),
        ({**GOOD, "options": "red"}, "options should be a list of texts, got str"),
        ({"video": "v.mp4", "question": "What?"}, "it has no answer; it should be a text"),
        ({**GOOD, "answer": True}, "answer should be a text, got bool"),
        ({**GOOD, "video": "\0"}, "no path was given"),
        ({**GOOD, "start": 3}, "end should be a number of seconds, got None"),
        ({**GOOD, "start": 3, "end": 3}, "start should be before end"),
        ({**GOOD, "start": 3, "end": 10**400}, "end should be a number of seconds, got 1000"),
        ('{"video": "v.mp4", "question": "What?", "answer": ' + "1" * 5000 + "}", "a number has too many digits"),
        ({**GOOD, "question": "What \ud800?"}, r"\\ud800 is half of a character"),
        ({**GOOD, "kind": "\ud800"}, r"\\ud800 is half of a character"),
        ({**GOOD, "video": "v" * 5000}, "the name is too long"),
    ],
)
def test_a_wrong_line_is_named_with_what_it_should_be_and_the_others_are_read(
    line: object, reason: str, tmp_path: Path
) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    found = read(tmp_path, "own.jsonl", "\n".join([json.dumps(GOOD), "", text, json.dumps(GOOD)]))
    assert [one.place for one in found.questions] == ["line 1", "line 4"]
    assert [one.place for one in found.left_out] == ["line 3"]
    with pytest.raises(UserError, match=reason):
        raise UserError(found.left_out[0].reason)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.txt", "", "should end in .jsonl, .json, .csv or .parquet"),
        ("own.jsonl", "", "holds no questions"),
        ("own.jsonl", "{\n{\n", "no question of .* can be asked; line 1: it is not valid JSON"),
        ("own.jsonl", {"clip": 1}, "has the fields clip; a question should have video, question and answer"),
        ("own.json", "[", "is not valid JSON at line 1"),
        ("own.json", "[" + "1" * 5000 + "]", "is not valid JSON: a number has too many digits"),
        ("own.json", "5", "should hold an array of questions"),
        ("own.parquet", "PAR1", "pyarrow|is no parquet file"),
    ],
)
def test_a_file_of_which_nothing_can_be_asked_is_refused(name: str, content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, name, content)


def test_a_row_with_too_few_columns_is_named(tmp_path: Path) -> None:
    lines = "video,question,answer,qid\nv,who,me,1\nv,who\n"
    found = read(tmp_path, "val.csv", lines)
    assert [one.place for one in found.left_out] == ["line 3"]
    assert found.left_out[0].reason == "it should have 4 columns, as the first line has"


def test_videos_are_found_below_their_folder_by_name_and_without_suffix(tmp_path: Path) -> None:
    for name in ("deep/down/1164/42.mp4", "deep/a.webm", "x/b.mp4", "y/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = ["42", "a.webm", "x/b.mp4", "b.mp4", "not-there.mp4"]
    found = read(tmp_path, "own.jsonl", "\n".join(json.dumps({**GOOD, "video": name}) for name in names))
    places = [str(Path(one.video).relative_to(tmp_path)) for one in found.questions]
    assert places == ["deep/down/1164/42.mp4", "deep/a.webm", "x/b.mp4", "not-there.mp4"]
    assert "several videos are called b.mp4: x/b.mp4, y/b.mp4" in found.left_out[0].reason


@pytest.mark.parametrize("more", [{"qid": 3}, {"qid": 3, "type": "CW"}, {"question_type": "count"}])
def test_own_questions_with_options_are_no_benchmarks_whatever_else_they_have(
    more: Mapping[str, object], tmp_path: Path
) -> None:
    asked = read(tmp_path, "own.jsonl", json.dumps({**GOOD, **more, "options": ["red", "blue"]}))
    assert asked.layout == "own"
    assert only(asked).options == ("red", "blue")


def test_rows_of_csv_are_named_by_the_line_that_they_begin_in(tmp_path: Path) -> None:
    lines = 'video,question,answer,options,start,end\nv,"who\nor\nwhat",me,,,\n\nv,"a\nb",\nv,,me,,,\n'
    found = read(tmp_path, "own.csv", lines)
    assert [(one.place, one.options, one.part) for one in found.questions] == [("line 2", (), None)]
    assert [one.place for one in found.left_out] == ["line 6", "line 8"]


def test_a_video_of_another_folder_is_not_taken_for_the_one_that_is_named(tmp_path: Path) -> None:
    for name in ("all/street/0.mp4", "all/1_plotQA/1.mp4", "all/2_needle/1.mp4", "all/2_needle/2.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    rows = [{**GOOD, "video": name} for name in ("yard/0.mp4", "street/0.mp4", "street/0")]
    found = read(tmp_path, "own.jsonl", "\n".join(json.dumps(one) for one in rows))
    places = [str(Path(one.video).relative_to(tmp_path)) for one in found.questions]
    assert places == ["yard/0.mp4", "all/street/0.mp4", "all/street/0.mp4"]
    mlvu = [{**GOOD, "video": name, "question_type": "plotQA"} for name in ("1.mp4", "2.mp4")]
    found = read(tmp_path, "1_plotQA.json", mlvu)
    places = [str(Path(one.video).relative_to(tmp_path)) for one in found.questions]
    assert places == ["all/1_plotQA/1.mp4", "1_plotQA/2.mp4"]
    (tmp_path / "2.mp4").touch()
    found = read(tmp_path, "1_plotQA.json", mlvu)
    assert found.questions[1].video == str(tmp_path / "2.mp4"), "it lies in no folder that could be another's"
    (tmp_path / "all/test_1.mp4").touch()
    of_test = only(read(tmp_path, "test_mcq_gt.json", [{**mlvu[0], "video": "test_1.mp4"}]))
    assert of_test.video == str(tmp_path / "all/test_1.mp4")


def test_a_question_of_several_lines_is_read_to_its_end(tmp_path: Path) -> None:
    text = "A man comes in.\nWhat does he do?\nA. runs\nB. sits"
    entry = {"v": {"action": [{"question": text, "answer": "B. sits"}]}}
    asked = only(read(tmp_path, "multi-choice.json", entry))
    assert (asked.text, asked.options, asked.answer) == (
        "A man comes in.\nWhat does he do?",
        ("runs", "sits"),
        "sits",
    )
    row = {"video_name": "v.mp4", "task_type": "ego", "question": text + "\nOnly give the best option.", "answer": "A"}
    asked = only(read(tmp_path, "mlvu.json", [row]))
    assert (asked.text, asked.options) == ("A man comes in.\nWhat does he do?", ("runs", "sits"))


def test_a_first_line_that_lacks_fields_is_left_out_as_any_other(tmp_path: Path) -> None:
    rows = [{"note": "of the yard"}, {"video": "v.mp4", "answer": "red"}, GOOD]
    found = read(tmp_path, "own.jsonl", "\n".join(json.dumps(one) for one in rows))
    assert [one.place for one in found.questions] == ["line 3"]
    assert [(one.place, one.reason) for one in found.left_out] == [
        ("line 1", "it has no answer; it should be a text"),
        ("line 2", "it has no question; it should be a text"),
    ]


@pytest.mark.parametrize("told_by", [{"qid": 1, "type": "CW"}, {"question_type": "count"}])
def test_options_among_open_questions_of_a_benchmark_are_not_dropped(
    told_by: Mapping[str, object], tmp_path: Path
) -> None:
    row = {**GOOD, **told_by}
    found = read(tmp_path, "all.jsonl", "\n".join(json.dumps(one) for one in (row, {**row, "options": ["red", "x"]})))
    assert [one.place for one in found.questions] == ["line 1"]
    assert "it has options, and by the rows before it should have" in found.left_out[0].reason
