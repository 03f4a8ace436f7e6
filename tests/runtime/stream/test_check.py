"""`--check`: what a configuration would run, and what is wrong with it, without running it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.stream.check import ConfigReport, check_cameras
from stts_runtime.stream.config import StreamConfig
from tests.support.places import DATA
from tests.support.programs import run

pytestmark = pytest.mark.onnxruntime

BUNDLE = DATA / "bundle-v7"


def checked(folder: Path, *, connect: bool = False, **settings: Any) -> ConfigReport:
    streams = settings.pop("streams", [{"name": "gate", "source": "rtsp://u:hunter2@127.0.0.1:9/1"}])
    content = {"bundle": BUNDLE, "questions": ["Who?"], "state": folder, "streams": streams, **settings}
    return check_cameras(StreamConfig.model_validate(content), connect=connect)


def test_it_says_what_would_run_and_writes_nothing(tmp_path: Path) -> None:
    report = checked(tmp_path, sinks=[str(tmp_path / "answers.jsonl"), "mqtt://u:hunter2@h/t"], when="novelty>0.2")
    assert report.problems == []
    assert report.windows is not None
    assert (report.engine, report.windows.frames, report.windows.variants) == ("cpu", 2, ["live-key", "live-k0.5"])
    (stream,) = report.streams
    assert stream.questions == ["Who?"]
    assert stream.when == "novelty>0.2"
    assert stream.source == "rtsp://***@127.0.0.1:9/1"
    assert "hunter2" not in report.model_dump_json()
    assert not list(tmp_path.iterdir())


def test_every_stream_and_sink_with_a_mistake_is_named(tmp_path: Path) -> None:
    streams = [
        {"name": "gone", "source": "/no/such.mp4"},
        {"name": "long", "source": "rtsp://h/1", "questions": ["who " * 900]},
        {"name": "well", "source": "rtsp://h/1", "sinks": []},
    ]
    report = checked(
        tmp_path, streams=streams, sinks=["/proc/answers.jsonl", {"to": "http://h/x", "token": {"env": "NO_X"}}]
    )
    said = "\n".join(report.problems)
    assert "gone: no such file: /no/such.mp4" in said
    assert "long: the question takes" in said
    assert "/proc/answers.jsonl: " in said
    assert "http://h/x: the secret in the environment variable NO_X is missing" in said
    assert len(report.problems) == 4  # fmt: skip


def test_connecting_says_what_came_and_what_did_not(tmp_path: Path, clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        reached = f"http://127.0.0.1:{there.getsockname()[1]}/x"
        report = checked(
            tmp_path,
            connect=True,
            sinks=[reached, "http://127.0.0.1:9/y", str(tmp_path / "seen.db")],
            streams=[{"name": "gate", "source": str(clip)}],
        )
    assert report.streams[0].found is not None
    assert report.streams[0].found.startswith("96 x 64 after ")
    assert [one.problem for one in report.sinks if one.name == reached] == [None]
    assert report.problems == ["http://127.0.0.1:9/y: 127.0.0.1:9 cannot be reached: Connection refused"]


def test_the_program_ends_with_2_and_says_so_in_json(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json.yaml"
    content = {"bundle": str(BUNDLE), "questions": ["Who?"], "streams": [{"name": "gate", "source": "rtsp://h/1"}]}
    path.write_text(json.dumps(content))
    done = run("stts-runtime", "stream", "--check", "--json", "--config", path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    path.write_text(json.dumps({**content, "keep": 2}))
    done = run("stts-runtime", "stream", "--check", "--json", "--config", path)
    assert done.returncode == 2
    said = json.loads(done.stdout)
    assert said == {"ok": False, "problems": [f"{path}: keep should be at most 1.0"]}
    assert done.stderr == f"error: {path}: keep should be at most 1.0\n"
