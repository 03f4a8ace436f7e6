"""What is kept of a record, and what is no record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stts_runtime.archive.entry import Entry
from stts_runtime.archive.shown import found_line
from stts_runtime.records import StreamEvent
from tests.support.answers import stream_answer_of
from tests.support.archived import record_of


def test_what_it_cost_is_left_out_and_the_rest_stays() -> None:
    record = stream_answer_of("a red car").model_dump()
    kept = json.loads(Entry.of(record).body)
    gone = record.keys() - kept.keys()
    assert gone == {"steady_seconds", "key_frames", "kept_per_frame", "tokens", "milliseconds", "age_ms", "dropped"}
    assert kept["times_seconds"] == [100.0, 102.0]
    assert {name: kept[name] for name in ("answer", "stream", "created")} == {
        name: record[name] for name in ("answer", "stream", "created")
    }


def test_states_and_alarms_have_words() -> None:
    lost = StreamEvent(stream="gate", created="2026-11-23T12:30:45.271+00:00", state="lost", reason="No answer")
    assert Entry.of(lost.model_dump()).words.said == "lost no answer"
    alert = {"rule": "yes>0.8", "on": True, "change": "raised", "number": 3, "probability": 0.9}
    assert Entry.of(record_of("Yes", alert=alert)).words.said == "yes alarm raised yes>0.8"
    assert Entry.of(record_of("Yes", alert={**alert, "change": None})).words.said == "yes"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stream": None}, "stream is missing, or no text"),
        ({"created": 5}, "created is missing, or no text"),
        ({"created": "today"}, "created is not a time such as"),
        ({"created": "2026-11-23T12:30"}, "after 1970 with its zone"),
        ({"created": "1969-12-31T12:30Z"}, "after 1970 with its zone"),
        ({"created": "9999-12-31T12:30Z"}, "after 1970 with its zone"),
        ({"answer": "\ud800"}, "half of a surrogate pair"),
    ],
)
def test_what_is_no_record_is_said(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Entry.of({**record_of("a van"), **change})


def test_odd_values_do_no_harm() -> None:
    odd = record_of("a van", alert=5, times_seconds="no", question=["x"], points=None, site=7)
    assert Entry.of(odd).words == ("a van", "", "gate")
    assert found_line({**odd, "question": "a\x1bb"}).endswith("7 gate  a van  (a\\x1bb)")


def test_a_line_for_people_has_the_alarm_and_where_its_picture_is() -> None:
    alert = {"rule": "yes>0.8", "change": "raised", "number": 3, "picture": {"path": "/a.jpg", "url": None}}
    line = found_line(record_of("yes", site="north", alert=alert, clip={"path": "/a.mp4", "url": "https://box/a.mp4"}))
    assert line.endswith("  north gate  alarm 3 raised: yes>0.8, yes  (What happens?)  https://box/a.mp4  /a.jpg")
    assert found_line(record_of("", state="lost", reason="no answer")).endswith(
        "gate  lost: no answer  (What happens?)"
    )
