"""Sampling, timestamps, resizing and files that are no videos."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stts_runtime.errors import SourceError
from stts_runtime.text import redacted
from stts_runtime.video import VideoFile, rule_count, sample_times, window_of_file
from stts_runtime.video.pixels import resize_to_square
from stts_runtime.video.window import shown_at
from tests.support.clips import level, write_clip


@pytest.mark.parametrize(
    ("duration", "times"),
    [(2.0, [0, 0.5, 1, 1.5, 2]), (2.2, [0, 0.5, 1, 1.5, 2, 2.2]), (0.4, [0, 0.4]), (0.5, [0, 0.5])],
)
def test_the_rule_takes_two_frames_a_second_and_the_last(duration: float, times: list[float]) -> None:
    assert rule_count(duration, 2) == len(times)
    np.testing.assert_allclose(sample_times(duration, 2, len(times)), times)


def test_fewer_frames_than_the_rule_are_spread_evenly() -> None:
    np.testing.assert_allclose(sample_times(10, 2, 5), [0, 2.5, 5, 7.5, 10])


@given(st.floats(0.05, 3600), st.integers(2, 128))
def test_times_ascend_from_start_to_end(duration: float, frames: int) -> None:
    times = sample_times(duration, 2, frames)
    assert len(times) == frames
    assert times[0] == 0
    assert times[-1] == pytest.approx(duration)
    assert (np.diff(times) > 0).all()


def test_the_frame_on_screen_is_the_last_one_that_began() -> None:
    pts = np.array([0, 0.04, 0.08, 0.5])
    shown = shown_at(np.array([0, 0.039, 0.04, 0.3, 0.5, 9.0]), pts)
    assert shown.tolist() == [0, 0, 1, 2, 3, 3]


def test_a_file_is_timed_and_its_frames_are_the_right_ones(clip: Path) -> None:
    video = VideoFile(str(clip))
    assert video.frames == 20
    assert video.duration_seconds == pytest.approx(2.0)
    np.testing.assert_allclose(video.pts_seconds, np.arange(20) / 10, atol=1e-6)
    numbers = np.array([0, 0, 5, 10, 19])
    seen = [int(image.mean()) for _, image in video.images(numbers) if image is not None]
    assert seen == pytest.approx([level(number) for number in numbers], abs=4.9)


def test_a_window_holds_the_frames_of_its_times(clip: Path) -> None:
    window = window_of_file(VideoFile(str(clip)), 5, 2, 84)
    assert window.frames.shape == (5, 84, 84, 3)
    assert window.frames.dtype == np.uint8
    assert window.aspect == pytest.approx(96 / 64)
    brightness = window.frames.mean(axis=(1, 2, 3))
    assert brightness == pytest.approx([level(number) for number in (0, 5, 10, 15, 19)], abs=4.9)


def test_more_frames_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    short = write_clip(tmp_path / "short.mp4", frames=3, fps=10)
    with pytest.raises(SourceError, match="holds 3 frames, fewer than the 8"):
        window_of_file(VideoFile(str(short)), 8, 2, 84)


def test_a_clip_of_one_frame_is_a_video(tmp_path: Path) -> None:
    video = VideoFile(str(write_clip(tmp_path / "one.mp4", frames=1, fps=10)))
    assert video.frames == 1
    assert video.duration_seconds == pytest.approx(0.1)


@pytest.mark.parametrize("content", [b"", b"this is no video", b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 300])
def test_what_is_no_video_is_refused_in_one_line(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fake.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"fake\.mp4"):
        VideoFile(str(path))
    assert capfd.readouterr().err == ""


def test_a_video_without_its_index_is_refused(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip.read_bytes()[:600])
    with pytest.raises(SourceError):
        VideoFile(str(path))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none.mp4", "no such file"), (tmp_path, "is a folder: folders of pictures")):
        with pytest.raises(SourceError, match=message):
            VideoFile(str(path))


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://admin:hunter2@camera.local:554/stream", "rtsp://***@camera.local:554/stream"),
        ("rtsp://admin:hunt@er2@camera.local/stream", "rtsp://***@camera.local/stream"),
        ("rtsp://admin:hunt/er2@camera.local/stream", "rtsp://***@camera.local/stream"),
        ("rtsp:/admin:hunter2@camera.local/stream", "rtsp:/***@camera.local/stream"),
        ("http://camera.local/live?user=admin&token=hunter2", "http://camera.local/live?user=***&token=***"),
        ("/videos/a@b.mp4", "/videos/a@b.mp4"),
    ],
)
def test_credentials_never_reach_a_message(source: str, shown: str) -> None:
    assert redacted(source) == shown
    with pytest.raises(SourceError) as caught:
        VideoFile(source)
    assert shown in str(caught.value)
    assert "er2" not in str(caught.value)


@pytest.mark.parametrize("name", ["12:30.mp4", "concat:a.mp4", "with space é.mp4", "-dash.mp4"])
def test_file_names_are_taken_as_they_are(clip: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(clip, tmp_path / name)
    assert VideoFile(str(tmp_path / name)).frames == 20


def test_a_relative_name_with_a_colon_is_no_protocol(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(clip, tmp_path / "12:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert VideoFile("12:30.mp4").frames == 20


def test_a_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(SourceError, match="not valid UTF-8"):
        VideoFile("\udcff.mp4")


def test_resizing_is_that_of_torch_without_antialiasing() -> None:
    """transformers' processor resizes with torch's bilinear interpolation in float32 and rounds."""
    torch = pytest.importorskip("torch")
    frame = np.random.default_rng(0).integers(0, 256, (272, 640, 3), dtype=np.uint8)
    tensor = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(tensor, size=(252, 252), mode="bilinear", align_corners=False)
    expected = resized.round().clamp(0, 255).to(torch.uint8)[0].permute(1, 2, 0).numpy()
    different = (resize_to_square(frame, 252) != expected).mean()
    assert different < 0.002


def test_a_part_of_a_file_is_a_clip_that_begins_there(clip: Path) -> None:
    """Frame n of the clip has the brightness `level(n)` and is shown from n / 10 s on."""
    window = window_of_file(VideoFile(str(clip)), 3, 2, 84, part=(0.5, 1.5))
    assert window.times_seconds.tolist() == [0, 0.5, 1]
    assert window.duration_seconds == pytest.approx(1)
    assert window.frames.mean(axis=(1, 2, 3)).tolist() == pytest.approx([level(n) for n in (5, 10, 15)], abs=4.9)
    beyond = window_of_file(VideoFile(str(clip)), 3, 2, 84, part=(1.0, 99.0))
    assert beyond.duration_seconds == pytest.approx(1), "as much of it as there is"
    with pytest.raises(SourceError, match=r"holds 4 frames from 0.5 to 0.8 s, fewer than the 5"):
        window_of_file(VideoFile(str(clip)), 5, 2, 84, part=(0.5, 0.8))
    with pytest.raises(SourceError, match="lasts 2 s, and holds nothing from 3 to 4 s"):
        window_of_file(VideoFile(str(clip)), 3, 2, 84, part=(3.0, 4.0))
