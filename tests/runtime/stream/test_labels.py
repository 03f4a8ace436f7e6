"""What records say of where and when, if the configuration wants it; without a word about it they are as ever."""

from __future__ import annotations

import json
import platform
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.run import run_streams
from tests.support.places import DATA

pytestmark = pytest.mark.onnxruntime


def records(folder: Path, clip: Path, **settings: Any) -> list[dict[str, Any]]:
    out = folder / "out.jsonl"
    streams = [{"name": "gate", "source": str(clip)}, {"name": "yard", "source": str(clip), "site": "south"}]
    content = {"bundle": DATA / "bundle-v7", "questions": ["Who?"], "max_tokens": 1, "sinks": [str(out)]}
    run_streams(
        StreamConfig.model_validate({**content, "streams": streams, **settings}), threading.Event(), lambda _: None
    )
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_site_host_and_times_by_the_clock(tmp_path: Path, clip: Path) -> None:
    said = records(tmp_path, clip, site="north", host="gw-1", clock_times=True)
    assert {(one["stream"], one["site"], one["host"]) for one in said} == {
        ("gate", "north", "gw-1"),
        ("yard", "south", "gw-1"),
    }
    assert {"state", "number"} <= {key for one in said for key in one}
    for answer in (one for one in said if "number" in one):
        times = [datetime.fromisoformat(one) for one in answer["clock_times"]]
        created = datetime.fromisoformat(answer["created"])
        assert len(times) == len(answer["times_seconds"])
        assert times == sorted(times)
        newest = answer["age_ms"]["at_last_token"] / 1000
        # Each was rounded to a millisecond.
        assert -0.01 < (created - times[-1]).total_seconds() - newest < 5


def test_without_them_there_is_no_new_field(tmp_path: Path, clip: Path) -> None:
    fields = {key for one in records(tmp_path, clip, streams=[{"name": "gate", "source": str(clip)}]) for key in one}
    assert not fields & {"site", "host", "clock_times", "bundle"}


def test_a_machine_may_give_its_own_name() -> None:
    content = {"bundle": "b", "questions": ["Who?"], "streams": [{"name": "gate", "source": "a.mp4"}]}
    config = StreamConfig.model_validate({**content, "host": "auto"})
    assert config.host_name == platform.node()
