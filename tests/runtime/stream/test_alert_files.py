"""What a configuration says about pictures and clips of alarms: forms, defaults, and mistakes as one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from stts_runtime.errors import UserError
from stts_runtime.mistakes import mistakes
from stts_runtime.stream.alert_files import AlertFiles, ClipRule
from stts_runtime.stream.alerts import AlertRule
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.config_file import load_config
from stts_runtime.stream.evidence import clip_notes, clips_of, open_alert_files
from stts_runtime.stream.pipeline import Events
from tests.support.recordings import write_recording

CONFIG = """
bundle: b
questions: ["Who?"]
choices: ["yes", "no"]
alert: {if: "yes>0.5", snapshot: kept, clip: {before: 2s, after: 3s}}
alert_files: {folder: alerts, keep_for: 7d, max_bytes: 2GB}
streams: [{name: gate, source: "rtsp://host/a"}]
"""


def config_of(folder: Path, text: str) -> StreamConfig:
    path = folder / "cameras.yaml"
    path.write_text(text)
    return load_config(path, StreamConfig)


def test_a_file_says_where_for_how_long_and_what(tmp_path: Path) -> None:
    config = config_of(tmp_path, CONFIG)
    alert = config.asking(config.streams[0]).alert
    assert alert is not None
    assert (alert.snapshot, alert.clip) == ("kept", ClipRule(before=2, after=3))
    assert config.alert_files == AlertFiles(folder=Path("alerts"), keep_for=7 * 86400, max_bytes=2 * 10**9)


def test_short_forms_say_the_same() -> None:
    rule = AlertRule.model_validate("yes>0.5, snapshot=plain, clip=5s")
    assert rule == AlertRule.model_validate({"if": "yes>0.5", "snapshot": "plain", "clip": {"before": 5, "after": 5}})
    assert AlertFiles.model_validate("alerts") == AlertFiles(folder=Path("alerts"))
    assert AlertRule.model_validate("yes>0.5").needs_files is False


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("alert_files: {folder: alerts, keep_for: 7d, max_bytes: 2GB}", "", "alert: snapshot and clip need a folder"),
        ("{before: 2s, after: 3s}", "{before: 100s, after: 30s}", "at most 120 s together, which is what is held"),
        ("{before: 2s, after: 3s}", "{before: 0, after: 0}", "above 0 and at most 120 s"),
        ("{before: 2s, after: 3s}", "5 parsecs", "a time is a number of seconds"),
        ("{before: 2s, after: 3s}", "{behind: 2s}", "no such setting: behind; there are before, after"),
        ("snapshot: kept", "snapshot: all", "should be 'kept', 'plain' or 'none'"),
        ("folder: alerts", 'folder: ""', "alert_files.folder: it should be a path, and it is empty"),
        ("keep_for: 7d", "keep_for: 0", "alert_files.keep_for should be above 0"),
        ("max_bytes: 2GB", "max_bytes: many", "a size is a number of bytes"),
        ("max_bytes: 2GB", "url: alerts.example.com", "it should be an address of a folder: https://HOST/PATH"),
        ('"rtsp://host/a"', "a, masks: [{polygon: [[0, 0], [1, 1]]}]", "(stream gate): a polygon should"),
    ],
)  # fmt: skip
def test_mistakes_are_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in CONFIG
    with pytest.raises(UserError) as found:
        config_of(tmp_path, CONFIG.replace(old, new))
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_a_wrong_clip_of_a_command_line_is_one_line_too() -> None:
    with pytest.raises(ValidationError) as found:
        TypeAdapter(AlertRule).validate_python("yes>0.5, clip=2m")
    assert "at most 120 s together" in mistakes(found.value)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        ("source: gst:videotestsrc", "this kind of source gives pictures and no packets"),
        ("source: FOLDER", "this kind of source gives pictures and no packets"),
        ("source: rtsp://host/a, masks: [{rectangle: [0, 0, 0.5, 1]}]", "as the source sends it, without the masks"),
        ("source: rtsp://host/a", None),
        ("source: 'loop:FILE'", None),
        ("source: FILE", None),
        ("source: gone.mp4", None),
    ],
)
def test_streams_without_a_clip_are_named_with_the_reason(tmp_path: Path, stream: str, reason: str | None) -> None:
    film = write_recording(tmp_path / "a.mp4", "mpeg4", frames=2)
    entry = stream.replace("FOLDER", str(tmp_path)).replace("FILE", str(film))
    config = config_of(tmp_path, CONFIG.replace('source: "rtsp://host/a"', entry))
    notes = clip_notes(config)
    if reason is None:
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith("gate: alarms come without a clip: ")
        assert note.endswith(reason)
        (gate,) = config.streams
        config = config.model_copy(update={"alert_files": AlertFiles(folder=tmp_path / "alerts")})
        with open_alert_files(config, Events(), notes.append) as archive:
            assert archive is not None
            assert clips_of(gate, config.asking(gate).alert, archive) is None


def test_links_lead_to_where_the_folder_is_shown(tmp_path: Path) -> None:
    def link(**settings: Any) -> str | None:
        config = config_of(tmp_path, CONFIG)
        files = AlertFiles(folder=tmp_path / "alerts", **settings)
        config = config.model_copy(update={"alert_files": files})
        with open_alert_files(config, Events(), lambda _: None, lambda place: f"/api/{place}") as archive:
            assert archive is not None
            return archive.write("gate", "a.jpg", b"picture").url

    assert link() == "/api/gate/a.jpg"
    assert link(url="https://host/alerts/") == "https://host/alerts/gate/a.jpg"


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    config = config_of(tmp_path, CONFIG).model_copy(update={"alert_files": None})
    with open_alert_files(config, Events(), lambda _: None) as archive:
        assert archive is None
    assert not (tmp_path / "alerts").exists()
