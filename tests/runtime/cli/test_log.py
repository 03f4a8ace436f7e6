"""Lines on stderr of programs that run for long: times, levels, JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from stts_runtime.cli.log import Log, LogFormat, LogLevel
from stts_runtime.errors import EngineError, UserError
from stts_runtime.tell import tell_event
from tests.support.places import DATA
from tests.support.programs import run


def test_a_line_has_its_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()
    for line in ("page: there", "note: small", "warning: hm", "error: no"):
        log(line)
    tell_event(log, "warning", "gate: stalled\n", stream="gate")
    tell_event(log, "debug", "unheard")
    said = capsys.readouterr().err.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \w+: ", line) for line in said)
    assert [line.partition(" ")[2] for line in said] == [
        "info: page: there", "note: small", "warning: hm", "error: no", r"warning: gate: stalled\n",
    ]  # fmt: skip


def test_the_least_level_holds(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(least=LogLevel.WARNING)
    for line in ("page: there", "note: small", "warning: hm", "error: no"):
        log(line)
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["warning:", "error:"]


def test_json_has_one_object_a_line_with_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(LogFormat.JSON, LogLevel.DEBUG)
    log("note: small\nand more")
    tell_event(log, "debug", "gate: answer 3", stream="gate", number=3)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["level"], first["message"]) == ("info", "small\nand more")
    assert {key: second[key] for key in ("level", "message", "stream", "number")} == {
        "level": "debug", "message": "gate: answer 3", "stream": "gate", "number": 3,
    }  # fmt: skip


def test_who_takes_lines_alone_hears_all_but_what_is_for_debugging() -> None:
    heard = list[str]()
    tell_event(heard.append, "info", "a", stream="x")
    tell_event(heard.append, "debug", "b")
    assert heard == ["a"]


def test_the_last_words_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, Log(LogFormat.JSON).last_words():
        raise EngineError("broken")
    assert ended.value.exit_code == 1
    assert json.loads(capsys.readouterr().err)["message"] == "broken"
    with pytest.raises(UserError), Log().last_words():
        raise UserError("said by the program")


@pytest.mark.onnxruntime
def test_states_of_streams_are_events_with_their_name(tmp_path: Path, clip: Path) -> None:
    done = run(
        "stts-runtime", "stream", DATA / "bundle-v7", clip, "--ask", "Who?", "--to", tmp_path / "out.jsonl",
        "--log-format", "json", "--log-level", "debug",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert [one["state"] for one in said if "state" in one] == ["live", "ended"]
    assert {one["stream"] for one in said if "state" in one or "answer" in one} == {"stream-1"}
    assert any(one.get("answer") is not None and one["number"] == 1 for one in said)
    wrong = run("stts-runtime", "stream", "/no/such", clip, "--ask", "Who?", "--log-format", "json")
    assert wrong.returncode == 2
    assert json.loads(wrong.stderr)["level"] == "error"
