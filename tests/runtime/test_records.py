"""Records of answers that point, and what readers of older and newer records make of one another's."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from stts_runtime.records import Answer, StreamAnswer
from stts_runtime.results import AnswerSettings
from tests.support.answers import answer_of, stream_answer_of

POINTING = '<points coords="1.0 1 250 500">dog</points>'
SETTINGS = AnswerSettings(bundle_sha256="0" * 64, engine="cpu", keep=0.5, budget=None, frames=None, max_tokens=64)


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


FIRST_FIELDS: dict[str, dict[str, Any]] = {
    "stts.answer/1": {
        "source": str, "window": dict, "question": str, "answer": str, "finish": str, "variant": str, "keep": float,
        "budget": str, "kept_per_frame": list, "tokens": dict, "milliseconds": dict, "reused_prefix": bool,
        "notes": list,
    },
    "stts.stream-answer/1": {
        "stream": str, "number": int, "created": str, "steady_seconds": float, "question": str, "answer": str,
        "finish": str, "trigger": str, "novelty": float, "times_seconds": list, "key_frames": list,
        "kept_per_frame": list, "tokens": dict, "milliseconds": dict, "age_ms": dict, "dropped": dict,
    },
    "tokens": {"visual_in": int, "visual_kept": int, "prompt": int, "generated": int},
    "settings": {
        "bundle_sha256": str, "engine": str, "keep": float, "budget": str | None, "frames": int | None,
        "max_tokens": int,
    },
}  # fmt: skip
"""What the readers of the first releases knew, which refuse every other field. It does not change with the records."""


def first_reader(name: str) -> type[BaseModel]:
    fields: dict[str, Any] = {field: (kind, ...) for field, kind in FIRST_FIELDS[name].items()}
    if "tokens" in fields:
        fields["tokens"] = (first_reader("tokens"), ...)
    if name.startswith("stts."):
        fields["schema_name"] = (Literal[name], name)
    return create_model("FirstReader", __config__=ConfigDict(extra="forbid"), **fields)


@pytest.mark.parametrize("answer", [answer_of("yes"), stream_answer_of("yes")], ids=["clip", "stream"])
def test_answers_that_use_nothing_new_are_read_by_the_first_readers(answer: Answer | StreamAnswer) -> None:
    line = answer.model_dump_json()
    assert first_reader(answer.schema_name).model_validate_json(line).model_dump() == json.loads(line)
    assert dict(type(answer).model_validate_json(line)) == dict(answer)


@pytest.mark.parametrize(
    "answer", [answer_of("yes", cached=30, seen=True), stream_answer_of("yes", cached=30)], ids=["clip", "stream"]
)
def test_so_is_the_second_of_two_questions_about_one_window(answer: Answer | StreamAnswer) -> None:
    assert answer.tokens.cached == 30
    line = answer.model_dump_json()
    assert first_reader(answer.schema_name).model_validate_json(line).model_dump() == json.loads(line)
    assert "reused_vision" not in answer.model_dump(include={"reused_vision"})


def test_a_conversation_and_what_was_seen_for_somebody_else_are_new() -> None:
    record = json.loads(answer_of("yes", cached=30, turns=1, seen=True).model_dump_json())
    assert (record["tokens"]["cached"], record["reused_vision"], record["reused_prefix"]) == (30, True, True)
    again = Answer.model_validate(record)
    assert again.model_dump() == record
    record = json.loads(answer_of("yes", seen=True).model_dump_json())
    assert (record["reused_vision"], record["reused_prefix"]) == (True, False)


def test_settings_that_use_nothing_new_are_read_by_the_first_readers() -> None:
    line = SETTINGS.model_dump_json()
    assert first_reader("settings").model_validate_json(line).model_dump() == json.loads(line)
    assert AnswerSettings.model_validate_json(line) == SETTINGS


def test_what_is_new_is_written_where_it_is_used() -> None:
    with pytest.raises(ValidationError, match="points"):
        first_reader("stts.answer/1").model_validate_json(answer_of(POINTING).model_dump_json())
    assert json.loads(answer_of("There are none.").model_dump_json())["count"] == 0
    assert json.loads(SETTINGS.model_copy(update={"top_logprobs": 0}).model_dump_json())["top_logprobs"] == 0


def test_settings_that_an_older_file_lacks_differ_by_name() -> None:
    assert SETTINGS.differences(SETTINGS) == ""
    now = SETTINGS.model_copy(update={"choices": ("yes", "no")})
    assert SETTINGS.differences(now) == "choices unset (now ('yes', 'no'))"


def test_the_picture_of_an_answer_shows_its_points() -> None:
    pointing, silent = answer_of(POINTING).picture(), answer_of("yes").picture()
    changed = np.nonzero((pointing != silent).any(axis=2))
    # Three frames lie in two columns; the second is on the right.
    assert changed[1].min() > pointing.shape[1] / 2
    assert changed[0].max() < pointing.shape[0] / 2
