"""What a recording holds: which film in it is meant, its pictures and their times, and what is wrong with it.

Nothing is decoded here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from stts_runtime.errors import SourceError
from stts_runtime.pictures import name_of_other
from stts_runtime.text import counted
from stts_runtime.video.clock import Clock, read_clock
from stts_runtime.video.decoding import Shown
from stts_runtime.video.packet_reader import (
    MOST_VIDEOS,
    Layout,
    ManyVideosError,
    open_container,
    read_layout,
)
from stts_runtime.video.packets import Packets, index_packets, videos_of

_CLOCK_MAY_JUMP = 0x0200
"""FFmpeg's AVFMT_TS_DISCONT."""
_COUNTABLE = ("h264", "hevc")
"""Codecs of which every packet gives one picture, or none where it refers to what was not decoded."""
_STILL_PICTURES = ("image2", "_pipe")


@dataclass(frozen=True)
class Recording:
    stream: int
    """Index of the film's stream in the container."""
    shown: Shown
    clock: Clock
    width: int
    height: int
    pixel_aspect: float
    """Width over height of one pixel."""
    notes: list[str]
    """True statements about a file that can be used all the same."""


def read_recording(place: str, name: str, check: Callable[[int], None]) -> Recording:
    """`place` is a path or URL, and `name` stands for it in messages; `check` is `index_packets`'.

    Raises `SourceError` for what is no recording, or holds no picture that can be decoded.
    """
    layout = _layout(place, name)
    if layout.is_text:
        raise SourceError(f"{name} is text and no recording; of a playlist, give the files that it names")
    if other := name_of_other(layout.head):
        raise SourceError(f"{name} is {other} and no video")
    try:
        container = open_container(place)
    except av.FFmpegError as error:
        raise SourceError(_why_not_opened(error, layout, name)) from None
    except ManyVideosError:
        raise SourceError(
            f"{name} holds more than {MOST_VIDEOS} videos; write the one that is meant to a file of its own: "
            "ffmpeg -i FILE -map 0:v:0 -c copy ONE.mkv"
        ) from None
    with container:
        streams = _films(container, name)
        indexes, broke_off = index_packets(container, streams, check)
        if len(indexes[0]) == 1 and any(mark in container.format.name for mark in _STILL_PICTURES):
            raise SourceError(f"{name} is a picture and no video; folders of pictures are for `stts-runtime stream`")
        may_jump = bool(container.format.flags & _CLOCK_MAY_JUMP)
        # What FFmpeg gives for an AVI is reckoned, and wrong where the order changes.
        has_no_pts = container.format.name == "avi"
        films = [_film(*pair, may_jump, has_no_pts) for pair in zip(streams, indexes, strict=True)]
    films = [one for one in films if len(one.clock.seconds)]
    if not films:
        raise SourceError(f"{name} holds no picture that can be decoded: {_what_is_there(indexes, layout)}")
    longest = max(films, key=lambda one: one.clock.duration_seconds)
    longest.notes.extend(_notes(films, longest, layout, broke_off))
    return longest


def _layout(place: str, name: str) -> Layout:
    if "://" in place:
        return Layout(-1)
    try:
        return read_layout(Path(place))
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {(error.strerror or 'input/output error').lower()}") from None


def _why_not_opened(error: av.FFmpegError, layout: Layout, name: str) -> str:
    if layout.size_bytes == 0:
        return f"{name} is empty: 0 bytes"
    if layout.lacks_index:
        return (
            f"{name} has no index (moov): its recording was interrupted before it was finished; a repair tool such as "
            f"untrunc may save it with the help of a whole file of the same camera"
        )
    if layout.is_cut_off:
        return f"{name} is cut off before anything of it can be decoded: {_bytes(layout)}"
    if isinstance(error, av.error.EOFError):
        return f"{name} ends before its first picture"
    if isinstance(error, av.error.InvalidDataError):
        return f"{name} is not a video, or not one that FFmpeg knows; ffprobe may say more about it"
    return f"{name} cannot be opened: {error.strerror}"


def _films(container: InputContainer, name: str) -> list[av.VideoStream]:
    films = videos_of(container)
    if films:
        return films
    if any(getattr(stream, "codec_context", None) is None for stream in container.streams.video):
        raise SourceError(f"{name}: nothing here decodes the codec of this video, or it is encrypted")
    sound = "only sound" if container.streams.audio else "no video"
    raise SourceError(f"{name} holds {sound}" + (" and a cover picture" if container.streams.video else ""))


def _what_is_there(indexes: Sequence[Packets], layout: Layout) -> str:
    if found := sum(map(len, indexes)):
        return f"none of its {counted(found, 'frame')} is whole"
    return f"it is cut off: {_bytes(layout)}" if layout.is_cut_off else "its video stream has no packets"


def _film(stream: av.VideoStream, packets: Packets, may_jump: bool, has_no_pts: bool) -> Recording:
    shown = np.flatnonzero(~packets.is_hidden & packets.is_whole)
    reordered, stamps = bool(stream.codec_context.has_b_frames), packets.seconds(packets.pts)
    if np.isnan(stamps[shown]).sum() > len(shown) / 2:
        stamps = packets.seconds(packets.dts)
    # Where packets say when they are decoded alone, as in an AVI: in order, the times of showing are the same.
    by_rank = reordered and (has_no_pts or not (np.diff(stamps[shown]) < 0).any())
    if has_no_pts:
        stamps = packets.seconds(packets.dts)
    # What the codec's own headers say goes before FFmpeg's default for a stream that has nothing else.
    rate = stream.guessed_rate or stream.average_rate
    clock = read_clock(stamps[shown], reordered and not by_rank, may_jump, float(1 / rate) if rate else 0.04)
    aspect = stream.sample_aspect_ratio
    return Recording(
        stream=stream.index,
        shown=Shown(packets, shown[clock.order], by_rank, stream.codec_context.name in _COUNTABLE),
        clock=clock,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        pixel_aspect=float(aspect) if aspect else 1.0,
        notes=[*clock.notes, *_lost(packets)],
    )


def _lost(packets: Packets) -> list[str]:
    """Pictures before the first key frame, and damaged ones."""
    first = int(np.argmax(packets.is_key)) if len(packets) else 0
    notes = []
    if first:
        notes.append(f"it begins in the middle: {counted(first, 'frame')} before the first key frame were left out")
    if lost := int((~packets.is_whole[first:-1]).sum()):
        notes.append(f"{counted(lost, 'frame')} were left out: packets are missing before them, so the file is damaged")
    return notes


def _notes(films: list[Recording], taken: Recording, layout: Layout, broke_off: bool) -> list[str]:
    notes = []
    if (count := sum(len(one.clock.seconds) > 1 for one in films)) > 1:
        size, seconds = f"{taken.width} x {taken.height}", f"{taken.clock.duration_seconds:.1f} s"
        notes.append(f"it holds {count} films; the longest was taken ({size}, {seconds})")
    if layout.is_cut_off:
        notes.append(f"it is cut off: {_bytes(layout)}")
    elif broke_off:
        notes.append(f"it cannot be read to its end: it breaks off after {taken.clock.duration_seconds:.1f} s")
    return notes


def _bytes(layout: Layout) -> str:
    return f"{layout.size_bytes:,} of its {layout.promised_bytes:,} bytes are there"
