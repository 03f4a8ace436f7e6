"""Sources without a network: specs, time, pauses, what is dropped, what a fault is called, files and folders."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stts_runtime import clock
from stts_runtime.errors import MissingExtraError, SourceError
from stts_runtime.natural_order import natural_key
from stts_runtime.sources import LiveSettings, State, Status, open_source, redacted
from stts_runtime.sources.camera_reader import CameraReader
from stts_runtime.sources.faults import Lost, Refused, Stalled, check_host, fault_of
from stts_runtime.sources.live_source import Backoff, LiveSource
from stts_runtime.sources.pump import FreezeWatch, LiveTimeline
from stts_runtime.sources.source import Picture
from stts_runtime.sources.spec import Kind, host_and_port, parse_spec
from stts_runtime.video import VideoFile
from stts_runtime.video.decoding import has_nvdec
from stts_runtime.video.pixels import BgrConverter
from tests.support.clips import level, write_clip

_SECRET = "s3cret"
_QUICK = LiveSettings(
    open_seconds=0.4,
    stall_seconds=0.3,
    key_frame_seconds=5.0,
    frozen_seconds=60.0,
    first_pause=0.01,
    longest_pause=0.05,
    healthy_seconds=60.0,
)


# What a source string says.


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ("rtsp://cam7/stream", Kind.STREAM, "rtsp://cam7/stream"),
        ("RTSPS://cam7:322/stream", Kind.STREAM, "RTSPS://cam7:322/stream"),
        ("http://cam7/video.mjpg", Kind.STREAM, "http://cam7/video.mjpg"),
        ("https://cam7/live/index.m3u8?a=b", Kind.STREAM, "https://cam7/live/index.m3u8?a=b"),
        ("https://cam7/clip.MP4?a=b", Kind.RECORDING, "https://cam7/clip.MP4?a=b"),
        ("/dev/video3", Kind.CAMERA, "/dev/video3"),
        ("v4l2:/dev/video12", Kind.CAMERA, "/dev/video12"),
        ("0", Kind.CAMERA, "/dev/video0"),
        ("csi://1", Kind.CSI, "1"),
        ("gst: videotestsrc ! queue ", Kind.PIPELINE, "videotestsrc ! queue"),
    ],
)
def test_a_spec_says_its_kind(text: str, kind: Kind, place: str) -> None:
    spec = parse_spec(text)
    assert (spec.kind, spec.place) == (kind, place)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gst:  ",
        "csi://front",
        f"ftp://admin:{_SECRET}@cam7/x",
        f"rtsp://admin:{_SECRET}@/x",
        f"rtsp://admin:{_SECRET}@cam7:port/x",
        f"rtsp://admin:{_SECRET} and@cam7/x",
        "nothing.mp4",
        "a\0b",
        "\udcff.mp4",
    ],
)
def test_nonsense_is_refused_in_one_line_without_the_password(text: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_spec(text)
    assert _SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (
            f"gst:rtspsrc location=rtsp://admin:{_SECRET}@cam7/x?key={_SECRET} latency=0 ! decodebin",
            "gst:rtspsrc location=rtsp://***@cam7/x?key=*** latency=*** ! decodebin",
        ),
        (
            f"gst:rtspsrc location=rtsp://cam7/x user-id=admin user-pw='{_SECRET}' ! decodebin",
            "gst:rtspsrc location=rtsp://cam7/x user-id=*** user-pw=*** ! decodebin",
        ),
        (f'gst:souphttpsrc user-pw = "a {_SECRET}" ! queue', "gst:souphttpsrc user-pw = *** ! queue"),
        ("gst:videotestsrc num-buffers=3", "gst:videotestsrc num-buffers=3"),
    ],
)
def test_pipelines_are_shown_without_credentials(source: str, shown: str) -> None:
    assert redacted(source) == shown


def test_a_host_is_read_the_way_ffmpeg_does() -> None:
    assert host_and_port("rtsp://admin:p%2Fw@Cam7:554/stream@main?a=b@c") == ("cam7", 554)
    assert host_and_port("rtsp://[::1]:8554/x") == ("::1", 8554)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("rtsp://admin:word@Cam7.invalid/x", "the host name cam7.invalid is not known"),
        ("rtsp://admin.invalid:5/word@cam7.invalid/x", "the host name is not known"),
    ],
)
def test_an_unknown_host_is_named_and_a_user_never(url: str, reason: str) -> None:
    with pytest.raises(Lost) as caught:
        check_host(url)
    assert str(caught.value) == reason


def test_a_spec_shows_no_password() -> None:
    spec = parse_spec(f"rtsp://admin:{_SECRET}@cam7/stream")
    assert spec.name == "rtsp://***@cam7/stream"
    assert _SECRET not in repr(spec)


# Time.

_stamps = st.one_of(
    st.none(), st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf, 0.0]), st.floats(0, 5)
)


@given(st.lists(st.tuples(_stamps, st.floats(0, 20), st.booleans()), min_size=1, max_size=60))
def test_seconds_never_go_back_and_stay_near_the_clock(pictures: list[tuple[float | None, float, bool]]) -> None:
    timeline, clock, last = LiveTimeline(), 1000.0, 0.0
    for number, (pts, wait, reconnected) in enumerate(pictures):
        clock += wait if number else 0
        if reconnected:
            timeline.restart()
        seconds = timeline.place(pts, clock)
        assert seconds >= last
        assert abs(seconds - (clock - 1000.0)) <= 3.001
        last = seconds


@given(st.lists(st.floats(0.0, 0.3), min_size=2, max_size=100), st.floats(0, 1e5))
def test_even_timestamps_stay_even_when_pictures_come_in_bursts(delays: list[float], start: float) -> None:
    timeline, seconds = LiveTimeline(), []
    arrived = 0.0
    for number, delay in enumerate(delays):
        arrived = max(arrived, number * 0.04 + delay)
        seconds.append(timeline.place(start + number * 0.04, arrived))
    gaps = np.diff(seconds)
    assert gaps.min() >= 0.0379
    assert gaps.max() <= 0.0421


def test_a_camera_whose_clock_runs_fast_is_followed_without_a_jump() -> None:
    timeline = LiveTimeline()
    seconds = [timeline.place(number * 0.0408, number * 0.04) for number in range(5000)]
    assert seconds[-1] == pytest.approx(4999 * 0.04, abs=0.1)
    assert np.diff(seconds).min() > 0.03


def test_time_goes_on_over_a_reconnection() -> None:
    timeline = LiveTimeline()
    timeline.place(50.0, 100.0)
    timeline.restart()
    assert timeline.place(0.0, 160.0) == pytest.approx(60.0, abs=3)


def test_pauses_grow_to_the_longest_and_begin_again() -> None:
    backoff = Backoff(0.5, 30.0)
    limits = [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert all(0 <= backoff.next() <= limit for limit in limits)
    many = [backoff.next() for _ in range(200)]
    assert max(many) <= 30
    assert max(many) - min(many) > 10, "streams that were lost together must not come back together"
    backoff.reset()
    assert backoff.next() <= 0.5


# A frozen picture.


def _picture(value: int = 0, arrived: float | None = None, pts: float | None = None) -> Picture:
    image = np.full((4, 6, 3), value, dtype=np.uint8)
    return Picture(pts, clock.now() if arrived is None else arrived, lambda: image, lambda: image)


def test_a_picture_that_stays_the_same_is_frozen_and_mostly_dropped() -> None:
    watch = FreezeWatch(10.0)
    passed = []
    for number in range(30 * 30):
        passed.append(watch.passes(_picture(7, number / 30)))
        assert watch.frozen == (number / 30 >= 10.0)
    assert all(passed[:300])
    assert sum(passed[301:]) == pytest.approx(2 * 20, abs=2)


def test_the_first_picture_that_moves_passes_at_once() -> None:
    watch = FreezeWatch(1.0)
    for number in range(60):
        watch.passes(_picture(7, number / 30))
    assert watch.frozen
    assert watch.passes(_picture(8, 2.001))
    assert not watch.frozen


# Live sources on readers that do what the test wants.

_Step = Picture | Exception | Callable[[], object] | None


class _Reader:
    """Gives these pictures, raises these errors and calls these functions; then it waits until the test is over."""

    def __init__(self, *steps: _Step) -> None:
        self.corrupt = 0
        self.closed = False
        self._steps = iter(steps)

    def open(self) -> None:
        pass

    def read(self) -> Picture | None:
        try:
            step = next(self._steps)
        except StopIteration:
            time.sleep(0.02)
            return None
        if isinstance(step, Exception):
            raise step
        if step is None or isinstance(step, Picture):
            return step
        step()
        return None

    def close(self) -> None:
        self.closed = True


@contextmanager
def _live(*readers: _Reader, settings: LiveSettings = _QUICK) -> Iterator[tuple[LiveSource, list[Status], list[int]]]:
    """A source on these readers one after the other, what it told, and one entry for each attempt to connect."""
    told: list[Status] = []
    attempts: list[int] = []

    def connect() -> _Reader:
        attempts.append(len(attempts))
        return readers[min(len(attempts), len(readers)) - 1]

    source = LiveSource("test", connect, told.append, settings)
    try:
        yield source, told, attempts
    finally:
        began = time.monotonic()
        source.close()
        source.close()
        assert time.monotonic() - began < 2


def _until(happened: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < 5
        time.sleep(0.005)


def test_the_freshest_frame_is_taken_and_the_others_are_late() -> None:
    with _live(_Reader(*(_picture(value) for value in range(10)))) as (source, _, _):
        _until(lambda: source.drops["late"] == 9)
        frame = source.take(1)
        assert frame is not None
        assert int(frame.image[0, 0, 0]) == 9
        assert source.take(0.05) is None
        assert source.status.state is State.LIVE


def test_the_age_of_a_frame_counts_from_its_arrival() -> None:
    with _live(_Reader(_picture(arrived=123.0))) as (source, _, _):
        frame = source.take(1)
        assert frame is not None
        assert frame.captured == 123.0


def test_it_reconnects_and_says_why() -> None:
    first, second = _Reader(_picture(), Lost("the cable broke")), _Reader(_picture(1))
    with _live(first, second) as (source, told, _):
        _until(lambda: source.reconnections == 1)
        assert first.closed
    states = [(one.state, one.reason) for one in told]
    assert states == [
        (State.CONNECTING, "connecting"),
        (State.LIVE, "pictures come"),
        (State.RECONNECTING, "the cable broke"),
        (State.LIVE, "pictures come"),
        (State.ENDED, "closed"),
    ]
    assert [one.since for one in told] == sorted(one.since for one in told)


def test_a_fault_that_stays_is_told_once() -> None:
    with _live(_Reader(*[Lost("nothing there")] * 50)) as (_, told, attempts):
        _until(lambda: len(attempts) > 5)
    assert [one.state for one in told] == [State.CONNECTING, State.RECONNECTING, State.ENDED]


def test_a_refusal_at_the_start_is_the_end() -> None:
    with _live(_Reader(Refused("wrong password"))) as (source, told, attempts):
        assert source.take(5) is None
        assert source.status.state is State.REFUSED
        assert source.status.over
        time.sleep(5 * _QUICK.longest_pause)
        assert len(attempts) == 1
    assert (told[-1].state, told[-1].reason) == (State.REFUSED, "wrong password")


def test_a_refusal_after_pictures_is_asked_again_slowly() -> None:
    with _live(_Reader(_picture(), Refused("wrong password"))) as (source, _, attempts):
        _until(lambda: source.status.state is State.RECONNECTING)
        assert source.status.reason == "wrong password; asking again every 300 s"
        time.sleep(5 * _QUICK.longest_pause)
        assert len(attempts) == 1


def test_a_reader_that_hangs_is_left_behind() -> None:
    over = threading.Event()
    with _live(_Reader(_picture(), over.wait), _Reader(_picture(1))) as (source, told, _):
        _until(lambda: source.reconnections == 1)
        assert (told[2].state, told[2].reason) == (State.STALLED, "no packet for 0.3 s")
        over.set()


def test_readers_that_hang_do_not_pile_up() -> None:
    over = threading.Event()
    readers = [_Reader(over.wait) for _ in range(20)]
    before = threading.active_count()
    with _live(*readers) as (source, _, attempts):
        _until(lambda: "restart this program" in source.status.reason)
        assert source.status.state is State.STALLED
        time.sleep(0.3)
        assert len(attempts) == 4
        assert threading.active_count() <= before + 5
        over.set()
        _until(lambda: len(attempts) > 4)


def test_packets_without_a_whole_picture_are_a_stall_in_the_end() -> None:
    with _live(_Reader(), settings=LiveSettings(key_frame_seconds=0.3, first_pause=9)) as (source, _, _):
        _until(lambda: source.status.state is State.STALLED)
        assert source.status.reason == "packets come, but no whole picture for 0.3 s"


def test_what_nobody_thought_of_is_a_lost_connection_without_its_text() -> None:
    with _live(_Reader(ValueError(f"rtsp://admin:{_SECRET}@cam7"))) as (source, _, _):
        _until(lambda: source.status.state is State.RECONNECTING)
        assert source.status.reason == "the reader failed with ValueError"


def test_damaged_pictures_are_counted_over_connections() -> None:
    readers = [_Reader(_picture(), Lost("gone")), _Reader(_picture())]
    readers[0].corrupt, readers[1].corrupt = 3, 4
    with _live(*readers) as (source, _, _):
        _until(lambda: source.reconnections == 1)
        assert source.drops["corrupt"] == 7


def test_a_listener_may_ask_the_source() -> None:
    asked: list[State] = []
    source: LiveSource

    def listen(_: Status) -> None:
        ready.wait(5)
        asked.append(source.status.state)
        assert source.drops["late"] == 0

    ready = threading.Event()
    source = LiveSource("test", lambda: _Reader(_picture()), listen, _QUICK)
    ready.set()
    _until(lambda: State.LIVE in asked)
    source.close()
    assert asked[-1] is State.ENDED


# What FFmpeg's errors are called.


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (av.error.HTTPUnauthorizedError, Refused, "user name or password (401)"),
        (av.error.HTTPNotFoundError, Refused, "nothing under this path (404)"),
        (av.error.DecoderNotFoundError, Refused, "codec"),
        (av.error.HTTPServerError, Lost, "500"),
        (av.error.InvalidDataError, Lost, "not a video"),
        (av.error.BugError, Lost, "FFmpeg failed"),
    ],
)
def test_errors_are_told_without_the_url(error: type[av.error.FFmpegError], kind: type[Lost], words: str) -> None:
    fault = fault_of(error(1, "a bad day", f"rtsp://admin:{_SECRET}@cam7"))
    assert type(fault) is kind
    assert words in str(fault)
    assert _SECRET not in str(fault)


# Files, folders and cameras.


def test_a_file_gives_every_frame_in_order(clip: Path) -> None:
    told: list[Status] = []
    source = open_source(str(clip), told.append)
    assert not source.live
    frames = []
    while frame := source.take(1):
        frames.append(frame)
    assert [int(frame.image.mean()) for frame in frames] == pytest.approx([level(n) for n in range(20)], abs=4.9)
    assert [frame.seconds for frame in frames] == pytest.approx([n / 10 for n in range(20)], abs=1e-6)
    assert source.drops == {"corrupt": 0}
    source.close()
    assert [(one.state, one.reason) for one in told] == [
        (State.LIVE, "reading"),
        (State.ENDED, "read to its end"),
    ]


def test_pictures_of_nvdec_have_the_colours_of_the_cpu() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    planar = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format="yuv420p")
    semi_planar = planar.reformat(format="nv12")
    convert = BgrConverter()
    np.testing.assert_array_equal(convert(semi_planar), convert(planar))


@pytest.mark.gpu
def test_nvdec_decodes_what_the_cpu_does(clip: Path) -> None:
    assert has_nvdec()
    on_cpu, on_gpu = (
        [image for _, image in VideoFile(str(clip), nvdec=nvdec).images(range(20))] for nvdec in (False, True)
    )
    np.testing.assert_array_equal(on_gpu, on_cpu)


def test_a_file_that_is_no_video_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video\n" * 100)
    with pytest.raises(SourceError, match=r"notes\.mp4 is text and no recording"):
        open_source(str(path))


def test_a_file_name_may_look_like_a_protocol(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "at 12:30.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    source = open_source("at 12:30.mp4")
    assert source.take(1) is not None
    source.close()
    assert source.take(1) is None


def test_a_folder_is_read_the_way_people_count(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        cv2.imwrite(str(tmp_path / f"picture {number}.png"), np.full((8, 8, 3), number, dtype=np.uint8))
    (tmp_path / "picture 2.png").write_bytes(b"damaged")
    (tmp_path / "notes.txt").write_text("no image")
    source = open_source(str(tmp_path), folder_fps=4)
    frames = []
    while frame := source.take(1):
        frames.append(frame)
    assert [(int(frame.image[0, 0, 0]), frame.seconds) for frame in frames] == [(1, 0), (9, 0.5), (10, 0.75)]
    assert source.drops == {"corrupt": 1}
    assert source.status.reason.startswith("read to its end; 1 of 4 frames did not decode; picture 2.png: ")


def test_of_a_file_only_the_frames_that_are_due_are_read(clip: Path) -> None:
    source = open_source(str(clip), frames_per_second=2)
    seconds = []
    while frame := source.take(1):
        seconds.append(frame.seconds)
    assert seconds == pytest.approx([0, 0.5, 1, 1.5])


def test_a_folder_without_pictures_and_a_rate_of_zero_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no picture; allowed are \.apng, \.avif,"):
        open_source(str(tmp_path))
    (tmp_path / "phone.HEIC").write_bytes(b"")
    with pytest.raises(SourceError, match=r"; it holds \.heic$"):
        open_source(str(tmp_path))
    with pytest.raises(SourceError, match="above 0"):
        open_source(str(tmp_path), folder_fps=0)


def test_a_folder_of_which_no_picture_can_be_read_says_why(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    source = open_source(str(tmp_path))
    assert source.take(1) is None
    assert source.drops == {"corrupt": 3}
    assert source.status.state is State.REFUSED
    assert source.status.reason.startswith(
        "none of its 3 frames could be decoded; 0.jpg: this is a HEIC picture, and JPEG, PNG,"
    )


def test_names_are_sorted_by_their_numbers() -> None:
    names = ["b1", "a10", "a9", "A2b", "a2a", "7", "a"]
    assert sorted(names, key=natural_key) == ["7", "a", "a2a", "A2b", "a9", "a10", "b1"]


class _Capture:
    """As `cv2.VideoCapture`, with two pictures in it."""

    def __init__(self, *_: object) -> None:
        self.left, self.released = 2, False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def set(self, *_: object) -> bool:
        return True

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((4, 6, 3), self.left, dtype=np.uint8)

    def release(self) -> None:
        self.released = True


def test_a_looped_file_goes_on_behind_its_end_and_its_time_never_goes_back(tmp_path: Path) -> None:
    source = open_source(f"loop:{write_clip(tmp_path / 'short.mp4', frames=4, fps=10)}")
    try:
        frames = [frame for _ in range(9) if (frame := source.take(2.0))]
    finally:
        source.close()
    levels = [int(frame.image.mean()) for frame in frames]
    assert len(frames) == 9, "more than twice the file"
    assert levels[0] == pytest.approx(levels[4], abs=3) == pytest.approx(level(0), abs=8)
    seconds = [frame.seconds for frame in frames]
    assert seconds == sorted(seconds)
    assert seconds[-1] >= 0.7, "at the file's own pace"


@pytest.mark.parametrize(
    ("place", "message"), [("nothing.mp4", "no such file"), (".", "is not a video file"), ("", "no source")]
)
def test_only_a_file_can_be_looped(place: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        parse_spec(f"loop:{place}")


def test_a_camera_gives_pictures_until_it_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", _Capture)
    device = tmp_path / "video0"
    device.touch()
    reader = CameraReader(device)
    reader.open()
    assert [int(reader.read().image()[0, 0, 0]) for _ in range(2)] == [1, 0]
    with pytest.raises(Stalled, match="gives no picture"):
        reader.read()
    reader.close()
    assert reader._capture is not None
    assert reader._capture.released  # type: ignore[attr-defined]


def test_a_camera_that_is_not_there_may_be_plugged_in_later() -> None:
    with pytest.raises(Lost, match="no /dev/video99999; is the camera plugged in"):
        CameraReader(Path("/dev/video99999")).open()


def test_without_gstreamer_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match=r"apt-get install gstreamer1\.0-tools"):
        open_source("csi://0")
