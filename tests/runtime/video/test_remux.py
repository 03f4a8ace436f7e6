"""Packets written to an MP4 as they are: the same pictures, from the first packet on."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stts_runtime.errors import SourceError
from stts_runtime.video.remux import Codec, CodedPacket, film_of, mp4_of
from tests.support.recordings import write_recording


def packets_of(path: Path) -> tuple[Codec, list[CodedPacket]]:
    with av.open(str(path)) as file:
        film = film_of(file)
        coded = [
            CodedPacket(bytes(one), one.pts or 0, one.dts or 0, one.duration or 0, one.is_keyframe)
            for one in file.demux(film)
            if one.size
        ]
        return Codec.of(film, coded[0].data), coded


def pictures(content: bytes | Path) -> list[tuple[float, NDArray[np.uint8]]]:
    with av.open(io.BytesIO(content if isinstance(content, bytes) else content.read_bytes()), "r") as file:
        return [(frame.time or 0.0, frame.to_ndarray(format="gray").astype(np.uint8)) for frame in file.decode(video=0)]


@pytest.mark.parametrize("kind", ["h264", "h264-ts", "hevc-10-bits", "vp9", "av1", "mpeg4"])
def test_the_pictures_are_those_of_the_source(tmp_path: Path, kind: str) -> None:
    path = write_recording(tmp_path / f"a.{'ts' if kind == 'h264-ts' else 'mkv'}", kind, frames=24, texture=True)
    written, given = pictures(mp4_of(*packets_of(path))), pictures(path)
    assert len(written) == len(given) == 24
    assert all((one == other).all() for (_, one), (_, other) in zip(written, given, strict=True))
    assert [time for time, _ in written] == pytest.approx([number / 10 for number in range(24)], abs=1e-3)


def test_it_begins_at_any_key_frame(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mp4", "h264-one-key", frames=12, texture=True)
    later = write_recording(tmp_path / "b.mp4", "mpeg4", frames=36, texture=True)
    assert len(pictures(mp4_of(*packets_of(path)))) == 12
    codec, packets = packets_of(later)
    begin = [place for place, one in enumerate(packets) if one.is_key][1]
    written, given = pictures(mp4_of(codec, packets[begin:])), pictures(later)[begin:]
    assert written[0][0] == 0
    assert all((one == other).all() for (_, one), (_, other) in zip(written, given, strict=True))


def test_a_codec_that_mp4_does_not_hold_is_named(tmp_path: Path) -> None:
    codec, packets = packets_of(write_recording(tmp_path / "a.webm", "vp8", frames=4))
    with pytest.raises(SourceError, match="an MP4 does not hold vp8"):
        mp4_of(codec, packets)
