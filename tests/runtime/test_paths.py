"""What a path leads to: file:// URLs, cameras under names that stay, and what is neither a file nor a camera."""

from __future__ import annotations

import os
import socket
import stat
import time
from pathlib import Path
from urllib.request import pathname2url

import cv2
import pytest

from stts_runtime.errors import SourceError
from stts_runtime.paths import check_path, local_path
from stts_runtime.sources import LiveSettings, State, open_source
from stts_runtime.sources.camera_reader import CameraReader
from stts_runtime.sources.faults import Lost
from stts_runtime.sources.spec import Kind, parse_spec


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///data/gate%201.mp4", "/data/gate 1.mp4"),
        ("file://localhost/data/a.mp4", "/data/a.mp4"),
        ("FILE:/data/a.mp4", "/data/a.mp4"),
        ("file:///data/50%25 #1?.mp4", "/data/50% #1?.mp4"),
        ("file:///data/%C3%BC.mp4", "/data/ü.mp4"),
        ("/data/50%25.mp4", "/data/50%25.mp4"),
        ("file.mp4", "file.mp4"),
        ("rtsp://cam7/x", "rtsp://cam7/x"),
    ],
)
def test_a_file_url_is_the_path_that_it_names(text: str, path: str) -> None:
    assert local_path(text) == path


@pytest.mark.parametrize("text", ["file://server/share/a.mp4", "file://clip.mp4", "file://u:s3cret@localhost/a.mp4"])
def test_a_file_of_another_machine_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="write file:///PATH") as caught:
        parse_spec(text)
    assert "s3cret" not in str(caught.value)


def test_a_file_url_is_read(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "50% of a@b #1.mp4"
    path.write_bytes(clip.read_bytes())
    url = f"file://{pathname2url(str(path))}"
    assert parse_spec(f"loop:{url}").place == str(path)
    source = open_source(url)
    assert source.name == url
    assert source.take(1) is not None
    source.close()


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """Links as udev makes them, to cameras with numbers that no machine has."""
    for name, target in {"usb-cam": "/dev/video4242", "null": "/dev/null", "gone": "/nowhere", "ring": "ring"}.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize("name", ["usb-cam", "file://usb-cam", "v4l2:usb-cam"])
def test_a_link_to_a_camera_is_a_camera_under_its_own_name(links: Path, name: str) -> None:
    text = name.replace("usb-cam", str(links / "usb-cam"))
    spec = parse_spec(text)
    assert (spec.kind, spec.place, spec.name) == (Kind.CAMERA, str(links / "usb-cam"), text)


@pytest.mark.parametrize("path", ["/dev/v4l/by-id/usb-cam", "/host/dev/v4l/by-path/pci-0-index0", "/dev/door-camera"])
def test_a_camera_that_is_not_plugged_in_is_waited_for(path: str) -> None:
    settings = LiveSettings(first_pause=0.01, longest_pause=0.01)
    source = open_source(path, settings=settings)
    began = time.monotonic()
    while source.status.state is not State.RECONNECTING:
        assert time.monotonic() - began < 5
        time.sleep(0.01)
    assert source.status.reason == f"there is no {path}; is the camera plugged in?"
    source.close()


def _pretend(monkeypatch: pytest.MonkeyPatch, path: Path, kind: int, device: int) -> None:
    """Makes a file at `path` that seems to be a device."""
    path.touch()
    real = Path.stat
    found = os.stat_result([kind | 0o660, *path.stat()[1:]], {"st_rdev": device})
    monkeypatch.setattr(Path, "stat", lambda self, **how: found if self == path else real(self, **how))


def test_a_device_of_v4l2_is_a_camera_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, tmp_path / "front", stat.S_IFCHR, os.makedev(81, 3))
    assert parse_spec(str(tmp_path / "front")).kind is Kind.CAMERA


def test_a_link_is_followed_anew_at_each_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that was video0 comes back as video1."""
    opened: list[str] = []

    class Capture:
        def __init__(self, path: str, _: int) -> None:
            opened.append(os.path.realpath(path))

        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
            return False

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    link = tmp_path / "usb-cam"
    for name in ("video0", "video1"):
        (tmp_path / name).touch()
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        with pytest.raises(Lost, match="usb-cam gives no video"):
            CameraReader(link).open()
    assert opened == [str(tmp_path / "video0"), str(tmp_path / "video1")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("null", "is a device and no camera"),
        ("gone", "is a link to /nowhere, which is not there"),
        ("ring", "it is a link that leads back to itself"),
        ("no.mp4", "no such file"),
        ("null/a.mp4", "is a file, not a folder"),
    ],
)
def test_what_is_no_video_says_what_it_is(links: Path, name: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        parse_spec(str(links / name))
    assert str(links / name) in str(caught.value)


def test_a_pipe_is_named_at_once_though_nobody_writes_to_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "video")
    for text in (str(tmp_path / "video"), f"loop:{tmp_path / 'video'}"):
        with pytest.raises(SourceError, match=r"is a pipe.*save it to a file first"):
            open_source(text)


def test_a_process_substitution_is_a_pipe() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(SourceError, match=f"/dev/fd/{reading} is a pipe"):
            parse_spec(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        os.close(writing)


def test_a_socket_and_a_folder_of_devices_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("camera.sock")
        with pytest.raises(SourceError, match=r"camera\.sock is a socket"):
            parse_spec("camera.sock")
    with pytest.raises(SourceError, match="/dev is a folder of devices; give one of them: "):
        parse_spec("/dev")


def test_a_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, tmp_path / "disk", stat.S_IFBLK, os.makedev(8, 1))
    with pytest.raises(SourceError, match="is a disk"):
        check_path(str(tmp_path / "disk"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_may_not_be_looked_into_is_named(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "clip.mp4").write_bytes(clip.read_bytes())
    folder.chmod(0)
    try:
        with pytest.raises(SourceError, match="cannot be read: Permission denied"):
            parse_spec(str(folder / "clip.mp4"))
    finally:
        folder.chmod(0o700)
