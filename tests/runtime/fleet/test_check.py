"""`fleet --check`: what would run, without Ray; what `--connect` says of a cluster is in `test_fleet`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.errors import UserError
from stts_runtime.fleet.check import FleetReport, check_fleet
from stts_runtime.fleet.cluster import Place
from stts_runtime.fleet.config import FleetConfig, FleetSettings
from stts_runtime.stream.config_file import load_config
from tests.support.places import DATA
from tests.support.programs import run

STREAMS = [{"name": "gate", "source": "rtsp://u:hunter2@h/1"}, {"name": "yard", "source": "rtsp://h/2"}]


def written(folder: Path, **settings: Any) -> Path:
    content = {
        "bundle": str(DATA / "bundle-v7"),
        "questions": ["Who?"],
        # No machine of the tests has one.
        "engine": "cuda",
        "sinks": [str(folder / "seen.db")],
        "streams": STREAMS,
        "fleet": {"bears": {"north": 3}, "lost_after": "4s", "resources": {"cameras": 1}},
        **settings,
    }
    file = folder / "cameras.yaml"
    file.write_text(json.dumps(content))
    file.chmod(0o600)
    return file


def test_it_says_what_would_run_where_and_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray; and what is wrong with a stream ends it with code 2, in one line."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "ray.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(blocked), prepend=":")
    file = written(tmp_path, streams=[*STREAMS, {"name": "gone", "source": "/no/such.mp4"}])
    done = run("stts-runtime", "fleet", file, "--check")
    assert (done.returncode, done.stderr) == (2, "error: gone: no such file: /no/such.mp4\n")
    said = done.stdout.splitlines()
    assert said[0].endswith(", engine cuda")
    assert "fleet     cluster auto; lost after 4 s; a box bears north 3" in said
    assert "          of machines that have 1 cameras" in said
    assert "stream    gate  rtsp://***@h/1" in said
    assert said[-1] == "3 streams, 1 of them cannot run"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["blocked", "cameras.yaml"]


def test_connecting_takes_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    config = load_config(written(tmp_path), FleetConfig)
    with pytest.raises(UserError, match="ray is not installed"):
        check_fleet(config, connect=True)
    assert check_fleet(config, connect=False).places is None


def test_room_is_what_all_boxes_bear_where_that_is_given() -> None:
    places = [Place("1", "north", 0), Place("1", "north", 1), Place("2", "south", None)]

    def room(bears: Any) -> int | None:
        settings = FleetSettings.model_validate({"bears": bears})
        return FleetReport.model_construct(settings=settings, places=places).room

    assert room(4) == 12
    assert room({"north": 4, "north/gpu1": 2, "south": 1}) == 7
    assert room({"north": 4}) is None
    assert room(None) is None
