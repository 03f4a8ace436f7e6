"""What a fleet may be told, and what of it leaves this machine."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stts_runtime.fleet.config import FleetConfig
from stts_runtime.stream.config import StreamConfig

STREAMS = [{"name": "gate", "source": "rtsp://h/1"}, {"name": "yard", "source": "rtsp://h/2"}]


def config(**settings: Any) -> FleetConfig:
    return FleetConfig.model_validate({"bundle": "b", "questions": ["Who?"], "streams": STREAMS, **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"streams": []}, "at least one stream"),
        ({"streams": [STREAMS[0], STREAMS[0]]}, "come twice: gate"),
        ({"questions": []}, "stream gate has nothing to answer"),
        ({"preview": "out"}, "preview is for one machine"),
        ({"device": "cuda:1"}, "device cuda:1 is for one machine"),
        ({"fleet": {"lost_after": "1s"}}, "greater than or equal to 2"),
        ({"fleet": {"bears": 0}}, "greater than or equal to 1"),
        ({"fleet": {"bears": {"north": 0}}}, "greater than or equal to 1"),
        ({"fleet": {"resources": {"cameras": 0}}}, "greater than 0"),
        ({"fleet": {"nodes": 3}}, "no such setting: nodes; there are address, lost_after, bears, resources"),
    ],
)
def test_a_mistake_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(**settings)


def test_stream_takes_the_same_file() -> None:
    content = {"bundle": "b", "questions": ["Who?"], "streams": STREAMS, "fleet": {"bears": 3}, "serve": {}}
    assert len(StreamConfig.model_validate(content).streams) == 2


def test_a_box_gets_its_streams_and_no_secret_of_a_sink() -> None:
    sinks = [{"to": "https://u:secret@h/hook"}]
    whole = config(sinks=sinks, streams=[STREAMS[0], {**STREAMS[1], "sinks": sinks}], alert_files="/srv/alerts")
    part = whole.part(["yard"], "north/gpu1")
    assert [one.name for one in part.streams] == ["yard"]
    assert part.asking(part.streams[0]).questions == ("Who?",)
    assert "secret" not in repr(part)
    assert part.alert_files is not None
    assert str(part.alert_files.folder) == "/srv/alerts/north-gpu1"
