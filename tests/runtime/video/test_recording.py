"""Recordings as they are found in the wild: each codec, container and fault gives the right frames at their time."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stts_runtime.errors import SourceError
from stts_runtime.video import Most, VideoFile, window_of_file
from stts_runtime.video.decoding import Decoder
from stts_runtime.video.pixels import turn
from tests.support.clips import level
from tests.support.recordings import CODECS, FPS, SIZE, remux, write_films, write_recording, write_sound

_FRAMES = 60


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each kind, 6 s long, every pixel of every frame its own."""
    folder = tmp_path_factory.mktemp("recordings")
    return {
        kind: write_recording(folder / f"{kind}.{container}", kind, _FRAMES, texture=True)
        for kind, (container, *_) in CODECS.items()
    }


def levels_of(video: VideoFile, numbers: Sequence[int] | None = None) -> list[int]:
    """Which frames came, by their brightness; -1 for one that did not decode."""
    wanted = range(video.frames) if numbers is None else numbers
    images = [image for _, image in video.images(list(wanted))]
    return [-1 if image is None else round((float(image.mean()) - 20) / 10) for image in images]


def written(frames: range) -> list[int]:
    return [(level(number) - 20) // 10 for number in frames]


# Codecs


@pytest.mark.parametrize("kind", CODECS)
def test_every_codec_gives_all_frames_in_order_and_on_time(recordings: dict[str, Path], kind: str) -> None:
    video = VideoFile(str(recordings[kind]))
    assert video.frames == _FRAMES
    np.testing.assert_allclose(video.pts_seconds, np.arange(_FRAMES) / 10, atol=0.002)
    assert video.duration_seconds == pytest.approx(6.0, abs=0.01)
    assert levels_of(video) == written(range(_FRAMES))
    assert video.notes == []


@pytest.mark.parametrize("kind", CODECS)
def test_a_frame_is_the_same_whatever_else_is_read(recordings: dict[str, Path], kind: str) -> None:
    video = VideoFile(str(recordings[kind]))
    everything = [image for _, image in video.images(range(_FRAMES))]
    random = np.random.default_rng(0)
    for count in (1, 2, 5, 20):
        numbers = np.sort(random.integers(0, _FRAMES, count))
        some = [image for _, image in video.images(numbers)]
        np.testing.assert_array_equal(some, [everything[number] for number in numbers])


@pytest.mark.parametrize("kind", [kind for kind in CODECS if kind not in ("av1", "h264-avi")])
def test_pixels_are_those_of_opencv_to_the_bit(recordings: dict[str, Path], kind: str) -> None:
    """OpenCV's build has no AV1, and its times of H.264 in an AVI are two frames off."""
    capture = cv2.VideoCapture(str(recordings[kind]), cv2.CAP_FFMPEG)
    for number, image in VideoFile(str(recordings[kind])).images(range(_FRAMES)):
        np.testing.assert_array_equal(image, capture.read()[1], err_msg=f"frame {number}")
    assert not capture.grab()


@pytest.mark.parametrize("size", [(97, 65), (352, 288), (130, 62)])
def test_odd_sizes_have_the_pixels_of_opencv(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_recording(tmp_path / "odd.avi", "mpeg4", 3, size, texture=True)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    for _, image in VideoFile(str(path)).images(range(3)):
        np.testing.assert_array_equal(image, capture.read()[1])


@pytest.mark.parametrize("kind", ["h264", "mpeg4", "mpeg2", "vp8"])
def test_a_frame_costs_its_group_of_pictures_and_no_more(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recording(tmp_path / f"long.{CODECS[kind][0]}", kind, 600)
    decoded: list[int] = []
    frames = Decoder._frames

    def counted(self: Decoder, start: int, last: int, targets: set[int]) -> object:
        decoded.append(last + 1 - start)
        return frames(self, start, last, targets)

    monkeypatch.setattr(Decoder, "_frames", counted)
    wanted = [0, 150, 300, 599]
    assert levels_of(VideoFile(str(path)), wanted) == [(number % 24) for number in wanted]
    # A picture that is shown before its key frame needs the group before as well.
    assert sum(decoded) <= len(wanted) * 2 * 15


# Containers


def trimmed(source: Path, target: Path, start: int) -> Path:
    """As a lossless cut leaves it: packets from a key frame on, and an edit list that hides those before `start`."""

    def shift(_: int, packet: av.Packet[av.VideoStream]) -> bool:
        assert packet.time_base is not None
        assert packet.pts is not None
        assert packet.dts is not None
        offset = round(start / 10 / packet.time_base)
        packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
        return True

    return remux(source, target, shift, options={"avoid_negative_ts": "disabled"})


def test_what_an_edit_list_hides_is_not_shown(recordings: dict[str, Path], tmp_path: Path) -> None:
    video = VideoFile(str(trimmed(recordings["h264"], tmp_path / "trimmed.mp4", 17)))
    assert levels_of(video) == written(range(17, _FRAMES))
    assert video.duration_seconds == pytest.approx(4.3)
    assert video.notes == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_cover_picture_is_no_film(tmp_path: Path, order: int) -> None:
    films = [("png", 1, True), ("libx264", 30, False)][::order]
    video = VideoFile(str(write_films(tmp_path / "covered.mp4", films)))
    assert levels_of(video) == written(range(30))
    assert video.notes == []


def test_of_several_films_the_longest_is_taken_with_a_note(tmp_path: Path) -> None:
    video = VideoFile(str(write_films(tmp_path / "two.mp4", [("libx264", 20, False), ("libx264", 30, False)])))
    assert video.frames == 30
    assert video.notes == ["it holds 2 films; the longest was taken (96 x 64, 3.0 s)"]


@pytest.mark.parametrize("suffix", ["mkv", "mov", "avi"])
def test_a_film_may_come_after_many_tracks_of_sound(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"late.{suffix}"
    with av.open(str(path), "w") as out:
        sounds = [out.add_stream("pcm_s16le", 8000) for _ in range(12)]
        film = out.add_stream("mpeg4", FPS, width=SIZE[0], height=SIZE[1], pix_fmt="yuv420p")
        for sound in sounds:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
            samples.sample_rate = 8000
            out.mux(sound.encode(samples))
        for _ in range(5):
            out.mux(film.encode(av.VideoFrame(*SIZE, "yuv420p")))
        out.mux(film.encode())
    assert VideoFile(str(path)).frames == 5


def test_a_lone_picture_that_nobody_marked_as_a_cover_is_passed_over(tmp_path: Path) -> None:
    video = VideoFile(str(write_films(tmp_path / "cover.mkv", [("mjpeg", 1, False), ("libx264", 30, False)])))
    assert video.frames == 30
    assert video.notes == []


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_film_is_turned_upright(recordings: dict[str, Path], tmp_path: Path, quarters: int) -> None:
    path = remux(
        recordings["h264"], tmp_path / "turned.mp4", setup=lambda stream: stream.set_display_rotation(90 * quarters)
    )
    video = VideoFile(str(path))
    ((_, upright),) = VideoFile(str(recordings["h264"])).images([7])
    ((_, turned),) = video.images([7])
    assert upright is not None
    np.testing.assert_array_equal(turned, np.rot90(upright, quarters))
    assert window_of_file(video, 2, 2, 84).aspect == pytest.approx(96 / 64 if quarters == 2 else 64 / 96)


def test_all_eight_ways_of_turning_and_mirroring() -> None:
    """Source: the matrix sends a point (x, y) to (a x + c y, b x + d y), y pointing down."""
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    ways = [((x, 0), (0, y)) for x in (1, -1) for y in (1, -1)] + [((0, x), (y, 0)) for x in (1, -1) for y in (1, -1)]
    for (a, b), (c, d) in ways:
        turned = turn(image, np.array([[a, b], [c, d]]) << 16)
        corners = {(a * x + c * y, b * x + d * y): image[y, x] for y in range(2) for x in range(3)}
        left, top = min(x for x, _ in corners), min(y for _, y in corners)
        for (x, y), pixel in corners.items():
            np.testing.assert_array_equal(turned[y - top, x - left], pixel)


def test_pixels_that_are_not_square_widen_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "anamorphic.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for number in range(4):
            frame = av.VideoFrame(96, 64, "yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert window_of_file(VideoFile(str(path)), 2, 2, 84).aspect == pytest.approx(96 / 64 * 4 / 3)


# Stamps


def stamped(recordings: dict[str, Path], path: Path, change: dict[int, float]) -> VideoFile:
    """VP8 in Matroska, some of its packets moved by so many seconds."""

    def move(number: int, packet: av.Packet[av.VideoStream]) -> bool:
        assert packet.time_base is not None
        assert packet.pts is not None
        packet.pts += round(change.get(number, 0) / packet.time_base)
        return True

    return VideoFile(str(remux(recordings["vp8"], path, move)))


def test_a_stray_stamp_is_mended_with_a_note(recordings: dict[str, Path], tmp_path: Path) -> None:
    video = stamped(recordings, tmp_path / "stray.mkv", {20: 36_000.0})
    assert video.duration_seconds == pytest.approx(6.0)
    assert levels_of(video) == written(range(_FRAMES))
    assert len(video.notes) == 1
    assert "1 frame (36002.0 s) does not fit its neighbours" in video.notes[0]


@pytest.mark.parametrize("number", [1, 20, 21, 22, 23, 59])
def test_a_stray_stamp_among_frames_that_are_decoded_out_of_order_loses_none(
    recordings: dict[str, Path], tmp_path: Path, number: int
) -> None:
    def move(at: int, packet: av.Packet[av.VideoStream]) -> bool:
        if at == number:
            assert packet.time_base is not None
            assert packet.pts is not None
            packet.pts += round(36_000 / packet.time_base)
        return True

    video = VideoFile(str(remux(recordings["h264-one-key"], tmp_path / "stray.mkv", move)))
    assert levels_of(video) == written(range(_FRAMES))
    assert video.duration_seconds == pytest.approx(6.0, abs=0.11)
    assert len(video.notes) == 1


def test_a_film_may_begin_anywhere(recordings: dict[str, Path], tmp_path: Path) -> None:
    video = stamped(recordings, tmp_path / "late.mkv", dict.fromkeys(range(_FRAMES), 95_443.7))
    np.testing.assert_allclose(video.pts_seconds, np.arange(_FRAMES) / 10, atol=0.002)
    assert video.notes == []


def test_a_pause_in_a_film_is_a_pause(recordings: dict[str, Path], tmp_path: Path) -> None:
    video = stamped(recordings, tmp_path / "pause.mkv", dict.fromkeys(range(30, _FRAMES), 100.0))
    assert video.duration_seconds == pytest.approx(106.0)
    assert video.notes == []


# Transport streams


def test_recordings_one_behind_the_other_are_one_film(recordings: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "joined.ts"
    path.write_bytes(recordings["h264-ts"].read_bytes() * 3)
    video = VideoFile(str(path))
    assert levels_of(video) == written(range(_FRAMES)) * 3
    np.testing.assert_allclose(video.pts_seconds, np.arange(3 * _FRAMES) / 10, atol=0.002)
    assert video.notes == [
        "its clock jumps at 6.0, 12.0 s: what follows was taken to come directly after what was before"
    ]


@settings(max_examples=25, deadline=None)
@given(ends=st.tuples(st.floats(0, 0.6), st.floats(0.7, 1)))
def test_a_transport_stream_may_be_cut_anywhere(
    recordings: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, ends: tuple[float, float]
) -> None:
    content = recordings["h264-ts"].read_bytes()
    path = tmp_path_factory.mktemp("cut") / "cut.ts"
    path.write_bytes(content[int(ends[0] * len(content)) : int(ends[1] * len(content))])
    video = VideoFile(str(path))
    seen = levels_of(video)
    due = [(seen[0] + round(second * 10)) % 24 for second in video.pts_seconds]
    # Where the stream ends nothing tells whether the last packet is whole.
    last = int(video._recording.shown.packet_of.argmax())
    assert [*seen[:last], *seen[last + 1 :]] == [*due[:last], *due[last + 1 :]]
    assert not any("damaged" in note for note in video.notes)


# Damage


def cut_to(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("kind", ["mjpeg", "mpeg4", "h264-one-key", "vp8"])
def test_a_film_that_is_cut_off_says_so_and_answers(tmp_path: Path, kind: str) -> None:
    path = write_recording(tmp_path / f"cut.{CODECS[kind][0]}", kind, texture=True)
    whole = path.stat().st_size
    video = VideoFile(str(cut_to(path, 0.6)))
    assert 10 < video.frames < 50
    assert levels_of(video) == written(range(video.frames))
    assert len(video.notes) == 1
    assert f"it is cut off: {path.stat().st_size:,} of its {whole:,} bytes are there" in video.notes[0]


def test_an_mp4_with_its_index_in_front_may_be_cut_off(recordings: dict[str, Path], tmp_path: Path) -> None:
    path = remux(recordings["h264"], tmp_path / "front.mp4", options={"movflags": "faststart"})
    video = VideoFile(str(cut_to(path, 0.6)))
    assert video.frames > 20
    assert levels_of(video) == [round(second * 10) % 24 for second in video.pts_seconds]
    assert "it is cut off" in video.notes[0]


def test_a_header_that_counts_wrongly_is_no_damage(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "wrong.avi", "mjpeg")
    content = bytearray(path.read_bytes())
    for place in (content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32):
        struct.pack_into("<I", content, place, 100)
    path.write_bytes(content)
    video = VideoFile(str(path))
    assert video.frames == _FRAMES
    assert video.notes == []


def test_lost_packets_are_said_and_the_frames_that_need_them_left_out(
    recordings: dict[str, Path], tmp_path: Path
) -> None:
    content = bytearray(recordings["h264-ts"].read_bytes())
    packets = len(content) // 188
    video = VideoFile(str(recordings["h264-ts"]))
    position = int(video._recording.shown.packets.position[27]) // 188
    assert 0 < position < packets - 3
    path = tmp_path / "lossy.ts"
    path.write_bytes(content[: (position + 1) * 188] + content[(position + 2) * 188 :])
    lossy = VideoFile(str(path))
    assert 40 < lossy.frames < _FRAMES
    assert any("packets are missing" in note for note in lossy.notes)
    seen = dict(zip(lossy.pts_seconds.round(1).tolist(), levels_of(lossy), strict=True))
    assert all(found == round(second * 10) % 24 for second, found in seen.items())


def test_frames_after_a_hole_are_left_out_to_the_next_key_frame(recordings: dict[str, Path], tmp_path: Path) -> None:
    content = recordings["h264-ts"].read_bytes()
    packets = VideoFile(str(recordings["h264-ts"]))._recording.shown.packets
    start, end = (int(packets.position[number]) // 188 * 188 for number in (25, 32))
    path = tmp_path / "hole.ts"
    path.write_bytes(content[:start] + content[end:])
    video = VideoFile(str(path))
    assert any("packets are missing" in note for note in video.notes)
    assert levels_of(video) == [round(second * 10) % 24 for second in video.pts_seconds]


def test_what_does_not_decode_is_replaced_by_a_neighbour_with_a_note(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "bad.avi", "mjpeg")
    with av.open(str(path)) as container:
        packet = bytes(list(container.demux(video=0))[20])
    path.write_bytes(path.read_bytes().replace(packet, bytes(len(packet)), 1))
    video = VideoFile(str(path))
    assert levels_of(video, [19, 20, 21]) == [19, -1, 21]
    window = window_of_file(video, _FRAMES, 10, 84)
    assert window.frames[20].mean() == pytest.approx(level(19), abs=3)
    assert window.notes == ("1 of 60 frames did not decode; those before them stand in",)


# What is refused


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        VideoFile(str(path))
    assert path.name[-100:] in str(caught.value), "a long name is cut at its beginning"
    return str(caught.value)


def test_an_interrupted_recording_says_what_may_repair_it(recordings: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "interrupted.mp4"
    path.write_bytes(recordings["h264"].read_bytes())
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"moov") - 4])
    assert "has no index (moov)" in refusal(path)
    assert "untrunc" in refusal(path)


def test_each_kind_of_bad_file_has_its_own_sentence(recordings: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.mp4").write_text("not a video\n" * 100)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "phone.mp4").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(5000))
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:6,\n{recordings['h264-ts']}\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{recordings['h264']}'\n")
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.zeros((64, 96, 3), np.uint8))
    unknown = tmp_path / "unknown.mp4"
    unknown.write_bytes(recordings["h264"].read_bytes().replace(b"avc1", b"zzz9"))
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    said = [
        ("empty.mp4", "is empty: 0 bytes"),
        ("notes.mp4", "is text and no recording"),
        ("list.m3u8", "is text and no recording; of a playlist, give the files that it names"),
        ("list.mp4", "is text and no recording"),
        ("noise.mp4", "is not a video, or not one that FFmpeg knows"),
        ("phone.mp4", "is a HEIC picture and no video"),
        ("photo.jpg", "is a picture and no video"),
        ("unknown.mp4", "nothing here decodes the codec"),
        ("pipe.mp4", "is a pipe"),
        ("link.mp4", "which is not there"),
        ("x" * 300 + ".mp4", "cannot be read: the name is too long"),
    ]
    for name, words in said:
        assert words in refusal(tmp_path / name)
    assert refusal(write_sound(tmp_path / "sound.m4a")).endswith("holds only sound")


def test_a_file_that_may_not_be_read_is_named(recordings: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert "permission denied" in refusal(recordings["h264"])


@pytest.mark.parametrize(
    ("most", "words"),
    [
        (Most(frames=59), "holds more than the 59 frames"),
        (Most(seconds=5), "is longer than the 5 s"),
        (Most(pixels=1000), "has frames of 96 x 64 pixels, and 1,000 are allowed"),
        (Most(work_seconds=0), "takes more than 0 s to read"),
    ],
)
def test_limits_hold_before_anything_is_decoded(recordings: dict[str, Path], most: Most, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        VideoFile(str(recordings["h264"]), most)
    assert VideoFile(str(recordings["h264"]), Most(60, 6, 96 * 64, 100)).frames == _FRAMES
