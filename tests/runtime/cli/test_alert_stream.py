"""Alarms with a picture and a clip, and masks, as programs have them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from typer.testing import CliRunner

from stts_runtime.bundle import Bundle
from stts_runtime.cli.app import app
from stts_runtime.errors import UserError
from tests.runtime.cli.test_stream import run
from tests.support.recordings import write_recording
from tests.support.served import served
from tests.support.small_disk import run_on_small_disk

RULE = "yes>0.000001, snapshot=kept, clip=1s"
ALERTS = ["--choices", "yes,no", "--alert", RULE]
FOREIGN = (
    *("gate/theirs.jpg", "gate/gone.jpg", "yard/a.jpg", "gate/..%2F..%2Fsecret.jpg", "..%2Fsecret.jpg"),
    *("gate/.written.jsonl", "%2E%2E/secret.jpg", "gate/a.jpg%00.mp4", "gate%2F..%2F..%2Fsecret.jpg"),
)


def read(path: str) -> NDArray[np.uint8]:
    picture = cv2.imread(path)
    assert picture is not None
    return picture.astype(np.uint8)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("film") / "a.mp4", "h264", frames=40)


@pytest.mark.onnxruntime
def test_an_alarm_of_a_stream_has_its_picture_and_its_clip(micro_bundle: Bundle, film: Path, tmp_path: Path) -> None:
    folder = tmp_path / "alerts"
    done = run(micro_bundle.folder, film, "--ask", "Who?", *ALERTS, "--frames", 3, "--alert-files", folder, "--json")
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["schema_name"].split(".")[1] for one in said] == [
        "stream-event/1", "stream-answer/1", "alert-clip/1", "stream-event/1",
    ] or [one["schema_name"].split(".")[1] for one in said] == [
        "stream-event/1", "stream-answer/1", "stream-event/1", "alert-clip/1",
    ]  # fmt: skip
    (answer,) = [one for one in said if "answer" in one]
    (clip,) = [one for one in said if "clip" in one]
    assert read(answer["alert"]["snapshot"]["path"]).shape == (64, 96, 3)
    assert "url" not in answer["alert"]["snapshot"]
    assert (clip["question"], clip["number"]) == ("Who?", 1)
    with av.open(clip["clip"]["path"]) as file:
        assert len(list(file.decode(video=0))) > 15
    assert {path.parent.parent for path in folder.rglob("*.*4")} == {folder}


def refused(command: str, *words: object) -> str:
    """Of what is the user's mistake: the one line that the program ends with."""
    done = CliRunner().invoke(app, [command, *map(str, words)])
    assert isinstance(done.exception, UserError), done.output
    assert done.exception.exit_code == 2
    assert "\n" not in str(done.exception)
    return str(done.exception)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--alert-files", "file"], "file is a file, and it should be a folder"),
        (["--alert-files", "/proc/alerts"], "/proc cannot be written into"),
        ([], "alert: snapshot and clip need a folder: alert_files: /var/lib/stts/alerts"),
        (["--alert-files", "alerts", "--alert", "yes>0.5, clip=100s"], "at most 120 s together"),
    ],
)
def test_mistakes_end_it_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    words = ["no-bundle", "gone.mp4", "--ask", "Who?", "--choices", "yes,no", *options]
    words += [] if "--alert" in options else ["--alert", RULE]
    assert said in refused("stream", *words)
    assert not Path("alerts").exists()


@pytest.mark.slow
@pytest.mark.onnxruntime
def test_a_full_disk_is_said_once_and_the_stream_goes_on(micro_bundle: Bundle, film: Path, tmp_path: Path) -> None:
    words = [micro_bundle.folder, film, "--ask", "Who?", "--choices", "yes,no", "--alert", f"{RULE}, send=all"]
    done = run_on_small_disk(tmp_path, "stts-runtime", "stream", *words, "--json", "--alert-files", "alerts", free_kb=8)
    assert done.code == 0, done.err
    assert done.err.count("the disk is full") == 1
    assert "alarms go on without pictures and clips" in done.err
    said = [json.loads(line) for line in done.out.splitlines()]
    assert len([one for one in said if "answer" in one]) > 1
    assert not [name for name in done.left if ".partial" in name]
    assert not [name for name in done.left if name.endswith(".mp4")]


@pytest.mark.slow
@pytest.mark.onnxruntime
def test_a_server_hands_out_alarms_files_to_who_may_ask_and_nothing_else(
    micro_bundle: Bundle, film: Path, tmp_path: Path
) -> None:
    folder, token = tmp_path / "alerts", {"Authorization": "Bearer a-token-that-nobody-guesses"}
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    config: dict[str, Any] = {
        "bundle": str(micro_bundle.folder),
        "frames": 3,
        "questions": ["Who?"],
        "choices": ["yes", "no"],
        "alert": RULE,
        "alert_files": str(folder),
        "streams": [{"name": "gate", "source": str(film)}],
        "serve": {"token": {"env": "TOKEN"}, "base_path": "/cameras"},
    }
    (tmp_path / "cameras.yaml").write_text(json.dumps(config))
    environment = {"TOKEN": "a-token-that-nobody-guesses"}
    with served("--config", tmp_path / "cameras.yaml", environment=environment) as server:
        host = server.address.removesuffix("/cameras")

        def get(path: str, **headers: str) -> requests.Response:
            return requests.get(host + path, headers={**token, **headers}, timeout=10)

        end = time.monotonic() + 30
        while not list(folder.rglob("*.mp4")):
            assert time.monotonic() < end, "no clip came"
            time.sleep(0.05)
        alert = get("/api/state").json()["streams"][0]["answers"][0]["alert"]
        picture, clip = alert["snapshot"]["url"], alert["snapshot"]["url"].replace(".jpg", ".mp4")
        assert picture.startswith("/cameras/api/alerts/gate/gate-")
        assert get(picture).content == Path(alert["snapshot"]["path"]).read_bytes()
        assert get(picture).headers["Content-Type"] == "image/jpeg"
        assert get(picture).headers["Cache-Control"] == "no-store"
        part = get(clip, Range="bytes=4-7")
        assert (part.status_code, part.content, part.headers["Content-Type"]) == (206, b"ftyp", "video/mp4")
        assert requests.get(host + picture, timeout=10).status_code == 401
        (folder / "gate" / "theirs.jpg").write_bytes(b"not ours")
        for path in FOREIGN:
            found = get(f"/cameras/api/alerts/{path}")
            assert found.status_code in (400, 404), path
            assert b"secret" not in found.content
        server.stop()


def write_config(folder: Path, film: Path, masks: str = "[{rectangle: [0, 0, 0.5, 1]}]") -> Path:
    path = folder / "cameras.yaml"
    path.write_text(f"bundle: b\nserve: {{}}\nstreams: [{{name: gate, source: '{film}', masks: {masks}}}]\n")
    return path


def test_masks_are_shown_without_what_they_cover(tmp_path: Path, film: Path) -> None:
    out = tmp_path / "mask.jpg"
    done = CliRunner().invoke(app, ["mask", str(write_config(tmp_path, film)), "--stream", "gate", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "gate, 96 x 64, 52.1 % of it masked" in done.output
    picture = read(str(out))
    # Between the lines.
    assert picture[10:12, 12:17].max() < 30
    assert picture[10:12, 60:66].min() > 15


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stream", "yard"], "there is no stream 'yard': --stream gate"),
        (["--out", "mask.txt"], "mask.txt should end in .jpg or .jpeg"),
    ],
)
def test_mask_says_what_is_wrong(tmp_path: Path, film: Path, words: list[str], said: str) -> None:
    assert said in refused("mask", write_config(tmp_path, film), *words)
