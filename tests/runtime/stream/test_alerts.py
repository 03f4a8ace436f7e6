"""Alarms: when one is raised and cleared, and that it does not flap. The clock is the test's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_runtime.mistakes import mistakes
from stts_runtime.model import load
from stts_runtime.records import StreamAnswer
from stts_runtime.stream.alerts import Alarm, AlertRule
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.config_file import load_config

FILE = """
bundle: b
questions: ["Who?"]
choices: ["yes", "no"]
alert: {RULE}
streams:
  - {name: gate, source: a.mp4}
"""


def changes(rule: object, answers: Iterable[tuple[float, float]]) -> list[str]:
    """What each answer, of a moment and a probability of yes, does: `+` raises, `-` clears, `.` neither."""
    alarm = Alarm(AlertRule.model_validate(rule))
    signs = {"raised": "+", "cleared": "-", None: "."}
    return [signs[alarm.judge({"yes": yes, "no": 1 - yes}, now).change] for now, yes in answers]


def every_second(*probabilities: float) -> list[tuple[float, float]]:
    return list(enumerate(probabilities))


def test_an_alarm_is_raised_when_it_holds_so_often_in_a_row() -> None:
    answers = every_second(0.9, 0.5, 0.9, 0.9, 0.9)
    assert "".join(changes("yes>0.8", answers)) == "+-+.."
    assert "".join(changes("yes>0.8, for=2", answers)) == "...+."
    assert "".join(changes("yes>0.8, for=4", answers)) == "....."


def test_what_is_near_the_bound_changes_nothing() -> None:
    answers = every_second(0.81, 0.79, 0.81, 0.75, 0.81, 0.7, 0.79, 0.81)
    assert "".join(changes("yes>0.8", answers)) == "+....-.+"
    assert "".join(changes("yes>0.8, clear=0.8", answers)) == "+-+-+-.+"
    assert "".join(changes("yes>0.8, clear=0.5", answers)) == "+......."


def test_an_alarm_is_over_when_it_was_calm_for_so_long() -> None:
    answers = [(0.0, 0.9), (1.0, 0.1), (4.0, 0.1), (5.0, 0.75), (6.0, 0.1), (10.9, 0.1), (11.0, 0.1)]
    assert "".join(changes("yes>0.8, hold=5s", answers)) == "+.....-"


def test_the_next_alarm_comes_so_long_after_the_last_at_the_soonest() -> None:
    answers = [(0.0, 0.9), (10.0, 0.1), (20.0, 0.9), (299.9, 0.9), (300.0, 0.9), (310.0, 0.1)]
    assert "".join(changes("yes>0.8, once_per=5m", answers)) == "+-..+-"


def test_a_rule_can_be_about_what_is_unlikely() -> None:
    answers = every_second(0.5, 0.95, 0.85, 0.75, 0.5)
    assert "".join(changes("no<0.1", answers)) == ".+.-."


@pytest.mark.parametrize(
    ("rule", "expected"), [("yes>0.05", "+.-"), ("yes>0.1", "+-."), ("no<0.95", "+.-"), ("no<0.9", "+-.")]
)
def test_an_alarm_near_the_end_of_the_range_is_over_before_it_is_certain(rule: str, expected: str) -> None:
    assert "".join(changes(rule, every_second(0.2, 0.04, 0.02))) == expected


def test_alarms_are_numbered_and_their_ends_have_their_numbers() -> None:
    alarm = Alarm(AlertRule.model_validate("yes>0.5"))
    judged = [alarm.judge({"yes": yes}, 0.0) for yes in (0.1, 0.9, 0.9, 0.1, 0.9)]
    assert [(one.number, one.on) for one in judged] == [(0, False), (1, True), (1, True), (1, False), (2, True)]


def test_text_and_settings_are_the_same_rule() -> None:
    text = AlertRule.model_validate("top left > .25, for=3, clear=0.1, hold=1m, once_per=2h, send=all")
    settings = {"if": "top left>0.25", "for": 3, "clear": 0.1, "hold": 60, "once_per": "2h", "send": "all"}
    assert text == AlertRule.model_validate(settings)
    assert str(text.condition) == "top left>0.25"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("yes", "if: it should be CHOICE>NUMBER or CHOICE<NUMBER, with a number between 0 and 1: yes>0.8"),
        ("yes>1.2", "if: it should be CHOICE>NUMBER"),
        ("yes>1", "if: it should be CHOICE>NUMBER"),
        ("yes>0", "if: it should be CHOICE>NUMBER"),
        ("no<0", "if: it should be CHOICE>NUMBER"),
        ("yes>0.5, clear=0", "clear should be above 0"),
        ("no<0.5, clear=1", "clear should be below 1"),
        ("yes>0.5, for", "after the condition there should be KEY=VALUE, got 'for'"),
        ("yes>0.5, for=0", "for should be at least 1"),
        ("yes>0.5, four=2", "no such setting: four; there are if, for, clear, hold, once_per, send"),
        ("yes>0.5, clear=0.6", "clear should be at most 0.5"),
        ("no<0.1, clear=0.05", "clear should be at least 0.1"),
        ("yes>0.5, once_per=soon", "once_per: a time is a number of seconds"),
        ("yes>0.5, send=none", "send should be 'alerts' or 'all'"),
        ({"for": 2}, "if is missing"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place(rule: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AlertRule.model_validate(rule)
    assert mistakes(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{RULE}", '{if: "maybe>0.5"}', "stream gate: alert: the rule is about 'maybe', which is none of the choices"),
        ('choices: ["yes", "no"]', "", "stream gate: alert: the rule yes>0.5 needs choices"),
        ('["yes", "no"]', "[yes, no]", "choices: [0] should be text in quotes, for YAML reads yes and no as true"),
        ('["yes", "no"]', "[]", "stream gate: alert: the rule yes>0.5 needs choices"),
        ('["yes", "no"]', "['yes']", "choices: it should have from 2 to 64 of them, as yes,no has; got 1"),
        ('["yes", "no"]', '["yes", "yes"]', "choices: [1] is 'yes', which [0] is already"),
        ('choices: ["yes", "no"]', 'choices: ["yes", "no"]\nschema: a.json', "choices and schema exclude each other"),
        ("{RULE}", '{if: "yes>2"}', "alert.if: it should be CHOICE>NUMBER"),
    ],
)
def test_a_file_with_a_rule_that_cannot_hold_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(FILE.replace(old, new).replace("{RULE}", '{if: "yes>0.5"}'))
    with pytest.raises(UserError) as caught:
        load_config(path, StreamConfig)
    assert message in str(caught.value)


def test_choices_and_rule_may_stand_apart(tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    text = FILE.replace("alert: {RULE}", "").replace("a.mp4}", "a.mp4, alert: {if: 'no>0.5', for: 2}}")
    path.write_text(text)
    config = load_config(path, StreamConfig)
    asking = config.asking(config.streams[0])
    assert asking.choices == ("yes", "no")
    assert asking.alert is not None
    assert asking.alert.answers == 2


@pytest.mark.parametrize("none", ["[]", "null", ""])
def test_a_stream_can_do_without_the_choices_of_its_file(tmp_path: Path, none: str) -> None:
    path = tmp_path / "cameras.yaml"
    streams = f"  - {{name: gate, source: a.mp4}}\n  - name: yard\n    source: b.mp4\n    choices: {none}\n    alert:\n"
    path.write_text(FILE.partition("  - ")[0].replace("{RULE}", '"yes>0.5"') + streams)
    config = load_config(path, StreamConfig)
    assert [config.asking(one).choices for one in config.streams] == [("yes", "no"), ()]


@pytest.mark.onnxruntime
def test_alerts_alone_are_passed_on_and_all_answers_if_that_is_wanted(micro_bundle: Bundle, clip: Path) -> None:
    def answers(rule: str) -> list[StreamAnswer]:
        settings: dict[str, Any] = {"choices": "yes,no", "alert": rule}
        with load(micro_bundle.folder, "cpu") as model:
            return list(model.stream(clip, ask="Who?", frames=3, **settings))

    every = answers("yes>0.00001, send=all")
    assert len(every) > 1
    assert [one.alert is not None and one.alert.change for one in every[:2]] == ["raised", None]
    alone = answers("yes>0.00001")
    assert [(one.number, one.choices) for one in alone] == [(1, every[0].choices)]
    assert answers("yes<0.00001") == []
