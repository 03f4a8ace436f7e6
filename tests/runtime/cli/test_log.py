"""Lines on stderr of programs that run for long: times, levels, JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.cli.log import Log, LogFormat, LogLevel
from stts_runtime.tell import tell_event
from tests.support.places import DATA
from tests.support.programs import run
from tests.support.served import served


def events(stderr: str) -> list[dict[str, Any]]:
    """Of a log that is all JSON."""
    said = [json.loads(line) for line in stderr.splitlines()]
    assert all({"time", "level", "message"} <= one.keys() for one in said), stderr
    return said


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


@pytest.mark.onnxruntime
def test_states_of_streams_are_events_with_their_name(tmp_path: Path, clip: Path) -> None:
    done = run(
        "stts-runtime", "stream", DATA / "bundle-v7", clip, "--ask", "Who?", "--to", tmp_path / "out.jsonl",
        "--log-format", "json", "--log-level", "debug",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = events(done.stderr)
    assert [one["state"] for one in said if "state" in one] == ["live", "ended"]
    assert {one["stream"] for one in said if "state" in one or "answer" in one} == {"stream-1"}
    assert any(one.get("answer") is not None and one["number"] == 1 for one in said)
    wrong = run("stts-runtime", "stream", "/no/such", clip, "--ask", "Who?", "--log-format", "json")
    assert wrong.returncode == 2
    assert json.loads(wrong.stderr)["level"] == "error"


@pytest.mark.onnxruntime
def test_every_line_of_a_server_is_an_event_and_requests_have_their_id() -> None:
    with served(DATA / "bundle-v7", "--log-format", "json", "--access-log") as one:
        request = urllib.request.Request(f"{one.address}/api/state", headers={"X-Request-Id": "mine-7"})
        urllib.request.urlopen(request, timeout=60).close()
        said = events(one.stop())
    assert [event["message"].split()[1:3] for event in said if event.get("request_id") == "mine-7"] == [
        ["GET", "/api/state"]
    ]


STRAY = """
import logging, sys, threading, typer, warnings
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.log import LogFormat, LogLevel
from stts_runtime.cli.long_running import opened_log

app = typer.Typer()

class Ends:
    def __del__(self):
        raise KeyError("late")

def broken():
    raise ValueError("in a thread")

@app.command()
def command():
    opened_log(LogFormat.JSON, LogLevel.DEBUG)
    print("error: of another", "print", file=sys.stderr)
    print("a bar\\rand its next\\n\\nand more", file=sys.stderr)
    warnings.warn("old\\nways", stacklevel=1)
    logging.getLogger("a.library").error("logged %d", 3)
    logging.getLogger("a.library").warning("hm")
    try:
        broken()
    except ValueError:
        logging.getLogger("asyncio").exception("never looked at")
    thread = threading.Thread(target=broken, name="worker")
    thread.start()
    thread.join()
    Ends()
    print("no end", end="", file=sys.stderr)
    raise ZeroDivisionError("the crash")

sys.exit(run_app(app, "program"))
"""


def test_what_others_say_and_how_it_crashes_are_events() -> None:
    done = subprocess.run([sys.executable, "-c", STRAY], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    said = events(done.stderr)
    assert [(one["level"], one["message"]) for one in said] == [
        ("error", "of another print"),
        ("warning", "a bar"),
        ("warning", "and its next"),
        ("warning", "and more"),
        ("warning", "UserWarning: old\nways"),
        ("error", "logged 3"),
        ("warning", "hm"),
        ("error", "never looked at"),
        ("error", "internal error: ValueError: in a thread"),
        ("error", "exception ignored: KeyError: 'late'"),
        ("error", "internal error: ZeroDivisionError: the crash"),
        ("warning", "no end"),
    ]
    assert said[5]["logger"] == "a.library"
    assert said[8]["thread"] == "worker"
    for number, place in ((7, "in broken"), (8, "in broken"), (9, "in __del__"), (10, "in command")):
        assert place in said[number]["traceback"]


@pytest.mark.parametrize("command", ["stream", "serve", "fleet"])
def test_what_ends_a_command_before_it_runs_is_an_event(command: str, tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text("streams: 3\n")
    words = [file] if command == "fleet" else ["--config", file]
    done = run("stts-runtime", command, *words, "--log-format", "json")
    assert done.returncode == 2
    assert [one["level"] for one in events(done.stderr)] == ["error"]
