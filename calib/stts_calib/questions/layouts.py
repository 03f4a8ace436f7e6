"""How files name what a question is: ours, and five public benchmarks as they are published.

- own: hand-written JSON lines with `video` and `question`; where these have `options`, fields that others have
  too, such as `qid` for a number, make it no other.
- MVBench: `json/TASK.json` of OpenGVLab/MVBench, and `TASK/train/0000.parquet` of its converted branch. Told by
  `candidates`.
- TempCompass: `questions/{multi-choice,yes_no,caption_matching,captioning}.json` of llyx97/TempCompass, and the parquet
  files of lmms-lab/TempCompass. Told by `dim`, which the nesting of the JSON becomes.
- MLVU: `json/N_TASK.json` of MLVU/MVLU, and `test_mcq_gt.json` of MLVU_Test, told by `question_type`; the parquet of
  sy1998/MLVU_dev, told by `task_type` and `video_name`.
- Video-MME: `videomme/test-00000-of-00001.parquet` of lmms-lab/Video-MME. Told by `videoID`.
- NExT-QA: `{train,val,test}.csv` of doc-doc/NExT-QA (multiple choice) and NExT-OE, and the parquet files of
  lmms-lab/NExTQA. Told by `qid` and `type`.

Any of them may also come as another kind of file with the same fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stts_calib.questions.question import LETTERS, OwnQuestion
from stts_calib.questions.rows import Row
from stts_runtime.errors import UserError
from stts_runtime.text import shortened

_LISTED_OPTION = re.compile(r"\(?([A-Z])[.):]\s*(.*)|(?:Option|Caption|Sentence) (\w): (.*)")
"""A line of a question, or a text, that is an option with its letter or number."""
_LONGEST_SECONDS = 1e9
_NUMBERED_TASK = re.compile(r"\d+_")
_YES_NO = ("yes", "no")


@dataclass(frozen=True)
class Layout:
    name: str
    told_by: frozenset[str]
    """Fields that all its rows have; the first of `LAYOUTS` that they fit is taken."""
    read: Callable[[Row, Path], OwnQuestion]
    """The question of a row of a file. Raises `UserError` for what is missing or wrong."""


def layout_of(rows: Sequence[Row], path: Path) -> Layout:
    """Told by the fields of the first row that has all of one. Raises `UserError` if none has."""
    for fields in (row.fields for row in rows):
        for layout in LAYOUTS:
            if fields.keys() >= layout.told_by:
                return layout
    fields = rows[0].fields
    raise UserError(
        f"{path} has the fields {', '.join(map(str, fields))}; a question should have video, question and answer, or "
        f"those of {', '.join(one for one in dict.fromkeys(one.name for one in LAYOUTS) if one != 'own')}"
    )


def _own(row: Row, _: Path) -> OwnQuestion:
    """`options` and `kind` may be left out, `start` and `end` are seconds; the answer is an option or its letter."""
    options = () if _is_blank(row, "options") else _texts(row, "options")
    answer = _text(row, "answer")
    if options and answer and answer not in options:
        answer = _by_letter(answer, options)
    return OwnQuestion(
        row.place,
        _text(row, "video"),
        _text(row, "question"),
        (answer,),
        options,
        str(row.fields.get("kind") or ""),
        _part(row),
    )


def _mvbench(row: Row, path: Path) -> OwnQuestion:
    """The answer is the candidate's text; some tasks are about a part of a longer video."""
    video, question, candidates = _text(row, "video"), _text(row, "question"), _texts(row, "candidates")
    return OwnQuestion(row.place, video, question, (_text(row, "answer"),), candidates, path.stem, _part(row))


def _tempcompass(row: Row, _: Path) -> OwnQuestion:
    """Options are lines of the question. Those of yes_no go without saying; captioning has none, and needs a judge."""
    question, answer, dimension = _text(row, "question"), _text(row, "answer"), _text(row, "dim")
    asked, listed, rest = _with_listed_options(question)
    about = row.place, _text(row, "video_id")
    if listed and not rest:
        return OwnQuestion(*about, asked, (_option(answer) or answer,), listed, dimension)
    options = _YES_NO if answer.lower() in _YES_NO else ()
    return OwnQuestion(*about, question, (answer.lower() if options else answer,), options, dimension)


def _mlvu(row: Row, path: Path) -> OwnQuestion:
    """Its JSON has candidates and the right one's text, or an open answer (sub_scene, summary) that needs a judge. The
    parquet has the options in the question's lines, as `(A) ...`, and the right one's letter.
    """
    if "task_type" in row.fields:
        asked, options, _ = _with_listed_options(_text(row, "question"))
        about = row.place, _text(row, "video_name"), asked
        return OwnQuestion(*about, (_by_letter(_text(row, "answer"), options),), options, _text(row, "task_type"))
    _check_no_options(row, "MLVU's candidates")
    options = _texts(row, "candidates") if row.fields.get("candidates") is not None else ()
    # Videos of different tasks have the same names, and are in folders that are called as the files are: 1_plotQA.
    folder = f"{path.stem}/" if _NUMBERED_TASK.match(path.stem) else ""
    about = row.place, folder + _text(row, "video"), _text(row, "question")
    return OwnQuestion(*about, (_text(row, "answer"),), options, _text(row, "question_type"))


def _video_mme(row: Row, _: Path) -> OwnQuestion:
    """Options begin with their letters, and the answer is one. Subtitles are not read."""
    options = tuple(_option(one) or one for one in _texts(row, "options"))
    answer = _by_letter(_text(row, "answer"), options)
    kind = str(row.fields.get("task_type") or "")
    return OwnQuestion(row.place, _text(row, "videoID"), _text(row, "question"), (answer,), options, kind)


def _next_qa(row: Row, _: Path) -> OwnQuestion:
    """Five options and the number of the right one, or of NExT-OE one answer, sometimes two."""
    about = row.place, _text(row, "video"), _text(row, "question")
    kind = str(row.fields.get("type") or "")
    if "a0" not in row.fields:
        _check_no_options(row, "NExT-QA's a0 to a4")
        more = row.fields.get("additional_ref_answer")
        return OwnQuestion(*about, (_text(row, "answer"), *([str(more)] if more else [])), (), kind)
    options, answer = tuple(_text(row, f"a{number}") for number in range(5)), _text(row, "answer")
    if answer not in ("0", "1", "2", "3", "4"):
        raise UserError(f"the answer {answer!r} is not an option; it should be a number from 0 to 4")
    return OwnQuestion(*about, (options[int(answer)],), options, kind)


LAYOUTS: Sequence[Layout] = (
    Layout("Video-MME", frozenset({"videoID", "options"}), _video_mme),
    Layout("own", frozenset({"video", "question", "options"}), _own),
    Layout("NExT-QA", frozenset({"video", "qid", "type"}), _next_qa),
    Layout("MLVU", frozenset({"video", "question_type"}), _mlvu),
    Layout("MLVU", frozenset({"video_name", "task_type"}), _mlvu),
    Layout("TempCompass", frozenset({"video_id", "dim"}), _tempcompass),
    Layout("MVBench", frozenset({"video", "candidates"}), _mvbench),
    Layout("own", frozenset({"video", "question"}), _own),
)


def _is_blank(row: Row, name: str) -> bool:
    """Whether nothing is given; a column of CSV has a cell in every row."""
    return row.fields.get(name) in (None, "")


def _check_no_options(row: Row, wanted: str) -> None:
    """An own question among those of a benchmark: without its options it would be another question."""
    if not _is_blank(row, "options"):
        raise UserError(f"it has options, and by the rows before it should have {wanted}; put it in a file of its own")


def _text(row: Row, name: str) -> str:
    """Without blanks around it. Numbers are text, too: CSV knows no other, and parquet has them as they are."""
    given = row.fields.get(name)
    if given is None:
        raise UserError(f"it has no {name}; it should be a text")
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise UserError(f"{name} should be a text, got {type(given).__name__}")
    return str(given).strip()


def _texts(row: Row, name: str) -> tuple[str, ...]:
    given = row.fields.get(name)
    if not isinstance(given, list):
        raise UserError(f"{name} should be a list of texts, got {type(given).__name__}")
    return tuple(_text(Row(row.place, {f"{name}[{at}]": one}), f"{name}[{at}]") for at, one in enumerate(given))


def _with_listed_options(question: str) -> tuple[str, tuple[str, ...], list[str]]:
    """What is asked, in one line or several, the options in the lines below, and lines after it that are none."""
    first, *lines = question.split("\n")
    found = [_option(line) for line in lines]
    start = next((at for at, one in enumerate(found) if one is not None), len(lines))
    options = tuple(one for one in found if one is not None)
    rest = [line for line, one in zip(lines[start:], found[start:], strict=True) if one is None]
    return "\n".join([first, *lines[:start]]).strip(), options, rest


def _option(line: str) -> str | None:
    """An option without its letter or number; None for a line that is none."""
    found = _LISTED_OPTION.fullmatch(line.strip())
    return None if found is None else (found[2] if found[1] else found[4]).strip()


def _by_letter(answer: str, options: Sequence[str]) -> str:
    at = LETTERS.find(answer.strip().strip("().")) if len(answer.strip().strip("().")) == 1 else -1
    if not 0 <= at < len(options):
        there = ", ".join(LETTERS[: len(options)])
        raise UserError(f"the answer {answer!r} is not an option; it should be one of {there}, or an option's own text")
    return options[at]


def _part(row: Row) -> tuple[float, float] | None:
    start, end = row.fields.get("start"), row.fields.get("end")
    if _is_blank(row, "start") and _is_blank(row, "end"):
        return None
    for name, given in (("start", start), ("end", end)):
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= _LONGEST_SECONDS:
            raise UserError(f"{name} should be a number of seconds, got {shortened(str(given), 80)}")
    assert start is not None
    assert end is not None
    if start >= end:
        raise UserError(f"start should be before end, got {start:g} and {end:g}")
    return float(start), float(end)
