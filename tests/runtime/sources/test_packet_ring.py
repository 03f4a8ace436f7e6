"""The last packets of a stream: from a key frame on, around a moment, in bounded memory, whatever the stamps do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from stts_runtime.errors import SourceError
from stts_runtime.sources.clips import Cut, Moment
from stts_runtime.sources.open import open_clips, open_source
from stts_runtime.sources.packet_ring import Connection, PacketRing
from stts_runtime.sources.source import Frame
from tests.support.recordings import write_recording

FPS, GROUP = 10, 10
SIZE = 1000


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Iterator[av.VideoStream]:
    with av.open(str(write_recording(tmp_path_factory.mktemp("film") / "a.avi", "mpeg4", frames=2))) as file:
        yield file.streams.video[0]


@dataclass
class Coded:
    """As much of a packet as the ring looks at."""

    number: int
    dts: int | None
    pts: int | None
    is_keyframe: bool
    duration: int = 1
    size: int = SIZE

    def __bytes__(self) -> bytes:
        return self.number.to_bytes(4, "big").ljust(self.size, b"\0")


def feed(
    connection: Connection, numbers: range, stamps: int | None = 0, begins: float = 100.0, every: int = GROUP
) -> None:
    """Packet `number` comes at `begins + number / FPS`; its stamp is `stamps` more than its number."""
    for number in numbers:
        stamp = None if stamps is None else number + stamps
        packet: Any = Coded(number, stamp, stamp, number % every == 0)
        connection.put(packet, begins + number / FPS)


def at(number: int) -> Moment:
    return Moment(0.0, 100.0 + number / FPS)


def numbers(cut: Cut) -> list[int]:
    return [int.from_bytes(one.data[:4], "big") for one in cut.packets]


def ring(film: av.VideoStream, seconds: float = 60, most_bytes: int = 10**9, **options: Any) -> tuple[PacketRing, Any]:
    made = PacketRing(seconds, most_bytes)
    assert film.time_base == Fraction(1, FPS)
    return made, made.connected(film, **options)


def test_a_clip_begins_at_the_key_frame_before_and_ends_with_its_seconds(film: av.VideoStream) -> None:
    held, connection = ring(film)
    feed(connection, range(100))
    cut = held.cut(at(55), before=2.0, after=1.5)
    assert numbers(cut) == list(range(30, 71))
    assert (cut.before, cut.after) == pytest.approx((2.5, 1.5))
    assert cut.packets[0].is_key
    assert held.due(at(55), 1.5) == pytest.approx(at(70).captured)


def test_a_clip_has_what_there_is(film: av.VideoStream) -> None:
    held, connection = ring(film)
    feed(connection, range(5, 30))
    cut = held.cut(at(22), before=10.0, after=10.0)
    assert numbers(cut) == list(range(10, 30))
    assert (cut.before, cut.after) == pytest.approx((1.2, 0.7))


def test_it_holds_its_seconds_and_no_more_than_a_group_besides(film: av.VideoStream) -> None:
    held, connection = ring(film, seconds=3.0)
    for number in range(0, 500, 10):
        feed(connection, range(number, number + 10))
        assert held.size_bytes <= SIZE * (3 * FPS + 2 * GROUP)
    assert numbers(held.cut(at(499), before=3.0, after=0))[0] == 460


def test_it_holds_no_more_than_its_bytes(film: av.VideoStream) -> None:
    held, connection = ring(film, most_bytes=25 * SIZE)
    feed(connection, range(100))
    assert held.size_bytes <= 25 * SIZE
    assert numbers(held.cut(at(95), before=60, after=60)) == list(range(80, 100))


def test_a_group_that_is_too_large_is_let_go_whole(film: av.VideoStream) -> None:
    held, connection = ring(film, most_bytes=25 * SIZE)
    feed(connection, range(100), every=1000)
    assert held.size_bytes == 0
    with pytest.raises(SourceError, match="no key frame came"):
        held.cut(at(50), 1, 1)


def test_a_clip_does_not_reach_over_a_reconnection(film: av.VideoStream) -> None:
    held, first = ring(film)
    feed(first, range(40))
    second = held.connected(film)
    feed(second, range(40, 80), stamps=-40)
    # A reader that was left behind.
    feed(first, range(80, 90))
    assert numbers(held.cut(at(35), 1, 5)) == list(range(20, 40))
    assert numbers(held.cut(at(45), 5, 1)) == list(range(40, 56))


@pytest.mark.parametrize("jump", [-50, 10_000])
def test_stamps_that_jump_leave_the_time_line_whole(film: av.VideoStream, jump: int) -> None:
    held, connection = ring(film)
    feed(connection, range(50))
    feed(connection, range(50, 100), stamps=jump)
    cut = held.cut(at(50), before=1, after=1)
    assert numbers(cut) == list(range(40, 61))
    assert [two.dts - one.dts for one, two in zip(cut.packets, cut.packets[1:], strict=False)] == [1] * 20


@pytest.mark.parametrize(("stamps", "options"), [(None, {}), (7, {"has_stamps": False})])
def test_without_stamps_time_is_that_of_arrival(film: av.VideoStream, stamps: int | None, options: Any) -> None:
    held, connection = ring(film, **options)
    feed(connection, range(100), stamps=stamps)
    cut = held.cut(at(50), before=1, after=1)
    assert numbers(cut) == list(range(40, 61))


def test_a_recording_needs_no_ring(tmp_path: Path) -> None:
    for kind, name in (("h264", "a.mp4"), ("h264-ts", "a.ts"), ("mpeg4", "a.avi")):
        clips = open_clips(str(write_recording(tmp_path / name, kind, frames=60)), 10, 10**9)
        assert clips is not None
        cut = clips.cut(Moment(3.0, 0.0), 1.0, 1.0)
        assert cut.packets[0].is_key
        assert 1.0 <= cut.before + 1e-6 < 2.3
        assert 1.0 <= cut.after + 1e-6 < 1.5
        assert clips.cut(Moment(0.0, 0.0), 5, 1).before == pytest.approx(0)
        assert clips.due(Moment(3.0, 10**9), 5) == 0


def test_a_recording_in_one_group_may_be_more_than_is_held(tmp_path: Path) -> None:
    clips = open_clips(str(write_recording(tmp_path / "a.mkv", "h264-one-key", frames=60, texture=True)), 10, 9_000)
    assert clips is not None
    with pytest.raises(SourceError, match="more than the 9,000 bytes"):
        clips.cut(Moment(5.0, 0.0), 1.0, 0.5)


def test_pictures_have_no_packets(tmp_path: Path) -> None:
    assert open_clips(str(tmp_path), 10, 10**9) is None
    assert open_clips("gst:videotestsrc", 10, 10**9) is None


def test_a_looped_file_gives_its_packets_round_after_round(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.avi", "mpeg4", frames=4)
    with av.open(str(path)) as file:
        given = [bytes(one) for one in file.demux(video=0) if one.size]
    held = PacketRing(60, 10**8)
    source = open_source(f"loop:{path}", ring=held)
    frames: list[Frame] = []
    while len(frames) < 12:
        if (frame := source.take(5.0)) is not None:
            frames.append(frame)
    source.close()
    cut = held.cut(Moment(frames[-2].seconds, frames[-2].captured), before=0.5, after=0.0)
    first = given.index(cut.packets[0].data)
    assert len(cut.packets) > 4
    assert [one.data for one in cut.packets] == [given[(first + number) % 4] for number in range(len(cut.packets))]
    assert [two.dts - one.dts for one, two in zip(cut.packets, cut.packets[1:], strict=False)] == [1] * (
        len(cut.packets) - 1
    )
