"""The folder of pictures and clips: whole files or none, for so long and so many bytes, and nobody else's files."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from stts_runtime import clock
from stts_runtime.errors import SinkError, UserError
from stts_runtime.stream.alert_files import AlertFiles
from stts_runtime.stream.alert_store import AlertStore

NOW = datetime(2026, 11, 29, 20, 15, 3, 412_345, tzinfo=timezone.utc)
DAY = 86_400.0


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The time, which a test may set."""
    shown = [NOW]
    monkeypatch.setattr(clock, "wall", lambda: shown[0])
    return shown


def opened(folder: Path, told: list[str] | None = None, **settings: Any) -> AlertStore:
    return AlertStore(AlertFiles(folder=folder, **settings), (told if told is not None else []).append)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_are_named_by_stream_and_time(tmp_path: Path) -> None:
    store = opened(tmp_path)
    name = store.free_name("gate", NOW)
    assert name == "gate-20261129T201503.412Z"
    path = store.write("gate", f"{name}.jpg", b"picture")
    assert path == tmp_path / "gate" / f"{name}.jpg"
    assert path.read_bytes() == b"picture"
    assert store.free_name("gate", NOW) == f"{name}-2"
    assert store.free_name("yard", NOW) == "yard-20261129T201503.412Z"


def test_what_is_older_is_deleted(tmp_path: Path, wall: list[datetime]) -> None:
    store = opened(tmp_path, keep_for="2d")
    for day in range(4):
        wall[0] = NOW + timedelta(days=day)
        store.write("gate", f"{day}.jpg", b"picture")
    assert files(tmp_path) == [".written.jsonl", "gate/1.jpg", "gate/2.jpg", "gate/3.jpg"]
    wall[0] += timedelta(days=9)
    store.prune()
    assert files(tmp_path) == [".written.jsonl"]
    assert (tmp_path / ".written.jsonl").read_bytes() == b""


def test_the_oldest_make_room(tmp_path: Path) -> None:
    store = opened(tmp_path, max_bytes=25)
    for number in range(5):
        store.write("gate" if number % 2 else "yard", f"{number}.jpg", b"10 bytes..")
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.jpg")) <= 25
    assert files(tmp_path) == [".written.jsonl", "gate/3.jpg", "yard/4.jpg"]
    with pytest.raises(SinkError, match="26 bytes are more than max_bytes"):
        store.write("gate", "large.mp4", bytes(26))
    assert files(tmp_path) == [".written.jsonl", "gate/3.jpg", "yard/4.jpg"]


def test_nothing_is_deleted_that_was_not_written_here(tmp_path: Path, wall: list[datetime]) -> None:
    (tmp_path / "gate").mkdir()
    theirs = [tmp_path / "holiday.jpg", tmp_path / "gate" / "gate-20200101T000000.000Z.jpg"]
    for path in theirs:
        path.write_bytes(b"theirs")
        os.utime(path, (0, 0))
    store = opened(tmp_path, keep_for="1d", max_bytes=100)
    replaced = store.write("gate", "replaced.jpg", b"ours")
    linked = store.write("gate", "linked.jpg", b"ours")
    replaced.write_bytes(b"somebody else's by now")
    linked.unlink()
    linked.symlink_to(theirs[0])
    wall[0] += timedelta(days=2)
    store.write("gate", "new.jpg", bytes(100))
    for path in theirs:
        assert path.read_bytes() == b"theirs"
    assert replaced.exists()
    assert linked.is_symlink()


def test_a_new_start_knows_what_was_written(tmp_path: Path, wall: list[datetime]) -> None:
    first = opened(tmp_path)
    first.write("gate", "old.jpg", b"picture")
    first.close()
    # As kill -9 leaves it: a file that was listed and half written, and half a line.
    listed = tmp_path / ".written.jsonl"
    listed.write_text(listed.read_text() + json.dumps({"file": "gate/half.mp4", "bytes": 9, "at": 1.0}) + '\n{"file":')
    (tmp_path / "gate" / ".partial-half.mp4").write_bytes(b"half")
    second = opened(tmp_path)
    assert files(tmp_path) == [".written.jsonl", "gate/old.jpg"]
    assert second.find("gate", "old.jpg") == tmp_path / "gate" / "old.jpg"
    second.write("gate", "new.jpg", b"picture")
    second.close()
    wall[0] += timedelta(days=31)
    opened(tmp_path)
    assert files(tmp_path) == [".written.jsonl"]


def test_only_what_was_written_here_is_found(tmp_path: Path) -> None:
    store = opened(tmp_path / "alerts")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    store.write("gate", "a.jpg", b"picture")
    (tmp_path / "alerts" / "gate" / "b.jpg").write_bytes(b"not ours")
    assert store.find("gate", "a.jpg") is not None
    for stream, name in [
        ("gate", "b.jpg"),
        ("..", "secret.jpg"),
        ("gate", "../../secret.jpg"),
        (".", ".written.jsonl"),
    ]:
        assert store.find(stream, name) is None
    (tmp_path / "alerts" / "gate" / "a.jpg").unlink()
    (tmp_path / "alerts" / "gate" / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    assert store.find("gate", "a.jpg") is None


def test_a_full_disk_is_said_once_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    store = opened(tmp_path, told)
    store.write("gate", "a.jpg", b"picture")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            with pytest.raises(SinkError, match=r"b\.jpg cannot be written: the disk is full"):
                store.write("gate", "b.jpg", b"picture")
    assert files(tmp_path) == [".written.jsonl", "gate/a.jpg"]
    assert len(told) == 1
    assert "the disk is full; alarms go on without pictures" in told[0]
    store.write("gate", "b.jpg", b"picture")
    assert told[1:] == ["pictures and clips of alarms are written again"]


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, and it should be a folder"):
        opened(tmp_path / "file")
    opened(tmp_path / "alerts")
    with pytest.raises(UserError, match="is being written by another process"):
        opened(tmp_path / "alerts")
