"""Alarms at their receivers: with their picture, signed with the time, and nothing but alarms if that is wanted."""

from __future__ import annotations

import base64
import json
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.record_parts import AlertFile, AlertRecord
from stts_runtime.records import AlertClip, StreamAnswer, StreamEvent
from stts_runtime.sinks.alerts_only import AlertsOnly
from stts_runtime.sinks.config import FileConfig, MqttConfig, WebhookConfig
from stts_runtime.sinks.line_file import FileSink
from stts_runtime.sinks.open import open_sink
from stts_runtime.sinks.screen import text_line
from tests.support.places import ROOT
from tests.support.receivers import answer, mqtt_broker, web_receiver

PICTURE = b"\xff\xd8 a picture \xff\xd9"
CLIP = AlertClip(
    stream="gate", created="2026-01-02T03:04:09.678Z", question="What is there?", number=1,
    clip=AlertFile(path="/alerts/gate/a.mp4", bytes=9), before=5.0, after=5.0,
)  # fmt: skip
EVENT = StreamEvent(stream="gate", created="2026-01-02T03:04:05.678Z", state="live", reason="pictures come")


def alarm(folder: Path, change: Any = "raised") -> StreamAnswer:
    path = folder / "a.jpg"
    path.write_bytes(PICTURE)
    snapshot = AlertFile(path=str(path), bytes=len(PICTURE), url="/api/alerts/gate/a.jpg")
    record = AlertRecord(rule="yes>0.5", on=True, change=change, number=1, probability=0.9, snapshot=snapshot)
    return answer(text="Ja, größer.").model_copy(update={"alert": record})


def sent_by(config: WebhookConfig | MqttConfig, folder: Path, *records: Any) -> None:
    sink = open_sink(config, lambda: folder / "state", lambda _: None)
    for record in records:
        sink.write(record)
    sink.close(5)


def test_a_webhook_gets_the_picture_in_the_record(tmp_path: Path) -> None:
    with web_receiver() as receiver:
        config = WebhookConfig.model_validate({"to": receiver.url(), "attach": "snapshot"})
        sent_by(config, tmp_path, alarm(tmp_path), answer(2), CLIP)
    with_picture, without, clip = (json.loads(one.body) for one in receiver.requests)
    assert base64.b64decode(with_picture["alert"]["snapshot"]["jpeg"]) == PICTURE
    assert with_picture["alert"]["snapshot"]["url"] == "/api/alerts/gate/a.jpg"
    assert "alert" not in without
    assert clip == json.loads(CLIP.model_dump_json())


def test_without_attach_a_record_only_names_its_picture(tmp_path: Path) -> None:
    with web_receiver() as receiver:
        sent_by(WebhookConfig(to=receiver.url()), tmp_path, alarm(tmp_path))
    (request,) = receiver.requests
    assert json.loads(request.body)["alert"]["snapshot"].keys() == {"path", "bytes", "url"}


def test_a_picture_that_is_gone_holds_up_no_alarm(tmp_path: Path) -> None:
    record = alarm(tmp_path)
    (tmp_path / "a.jpg").unlink()
    with web_receiver() as receiver:
        sent_by(WebhookConfig(to=receiver.url(), attach="snapshot"), tmp_path, record)
    assert "jpeg" not in json.loads(receiver.requests[0].body)["alert"]["snapshot"]


def test_a_broker_gets_the_picture_as_it_is_before_the_record(tmp_path: Path) -> None:
    with mqtt_broker() as broker:
        config = MqttConfig.model_validate({"to": f"mqtt://127.0.0.1:{broker.port}/site/a", "attach": "snapshot"})
        sent_by(config, tmp_path, alarm(tmp_path), answer(2))
    published = [one for one in broker.published if not one[0].endswith("/status")]
    assert published[0] == ("site/a/gate/snapshot", PICTURE, False)
    assert [topic for topic, _, _ in published[1:]] == ["site/a", "site/a"]
    record = StreamAnswer.model_validate_json(published[1][1])
    assert record.answer == "Ja, größer."
    assert record.alert is not None
    assert record.alert.snapshot == AlertFile(path=str(tmp_path / "a.jpg"), bytes=15, url="/api/alerts/gate/a.jpg")


def checker() -> Callable[..., bool]:
    """What receivers are shown to do."""
    names = runpy.run_path(str(ROOT / "docs" / "examples" / "webhook_receiver.py"))
    return names["is_ours"]  # type: ignore[no-any-return]


def test_a_receiver_can_tell_who_sent_an_alarm_and_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING", "k3y")
    is_ours = checker()
    with web_receiver() as receiver:
        config = {"to": receiver.url(), "attach": "snapshot", "signing_key": {"env": "SIGNING"}}
        sent_by(WebhookConfig.model_validate(config), tmp_path, alarm(tmp_path))
    (request,) = receiver.requests
    headers = request.headers
    assert is_ours(headers, request.body, b"k3y")
    assert not is_ours(headers, request.body, b"another")
    assert not is_ours(headers, request.body + b" ", b"k3y")
    assert not is_ours({**headers, "X-Stts-Timestamp": str(int(time.time()) + 1)}, request.body, b"k3y")
    assert not is_ours({}, request.body, b"k3y")
    # A copy that is sent again later.
    monkeypatch.setattr(time, "time", lambda: int(headers["X-Stts-Timestamp"]) + 301.0)
    assert not is_ours(headers, request.body, b"k3y")


def test_a_sink_can_ask_for_alarms_alone(tmp_path: Path) -> None:
    sink = AlertsOnly(FileSink(FileConfig(to=str(tmp_path / "a.jsonl")), lambda _: None))
    for record in (EVENT, answer(1), alarm(tmp_path), alarm(tmp_path, None), alarm(tmp_path, "cleared"), CLIP):
        sink.write(record)
    sink.close(1)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line.get("alert", {}).get("change") for line in lines] == ["raised", "cleared", None]
    assert lines[-1]["schema_name"] == "stts.alert-clip/1"
    assert sink.name == str(tmp_path / "a.jsonl")


def test_people_read_where_a_clip_is_or_why_there_is_none() -> None:
    assert text_line(CLIP) == "2026-01-02T03:04:09.678Z  gate  clip of alarm 1: /alerts/gate/a.mp4"
    gone = CLIP.model_copy(update={"clip": None, "reason": "no key frame"})
    assert text_line(gone).endswith("clip of alarm 1: no key frame")
