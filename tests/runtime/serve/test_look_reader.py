"""What several pictures of one message are read to, by what it is kept, and what is refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.clip_kwargs import ClipKwargs
from stts_runtime.serve.engine_worker import EngineWorker
from stts_runtime.serve.look_cache import LookCache
from stts_runtime.serve.look_reader import LookReader
from stts_runtime.serve.looks import ReadLook
from stts_runtime.serve.questions import Frames, Media, Question
from stts_runtime.serve.settings import Limits, ServerSettings
from stts_runtime.serve.uploads import Uploads
from stts_runtime.session import Wanted


class Reading:
    """A reader of its own. No engine is needed: a clip of pictures is read without the worker."""

    def __init__(self, bundle: Bundle, folder: Path, **limits: Any) -> None:
        settings = ServerSettings(limits=Limits(**limits))
        self.cache = LookCache(10_000_000)
        uploads = Uploads(folder, settings.limits)
        self.reader = LookReader(bundle, cast("EngineWorker", None), uploads, self.cache, settings)

    def read(self, *colours: int, frames: int | None = None, fps: float | None = None) -> ReadLook:
        pictures = [Media(picture(colour), f"content[{at}]", "picture") for at, colour in enumerate(colours)]
        about = Frames(tuple(pictures), "content")
        return self.reader.read(
            about, Question("?", about, 4, Wanted(frames=frames), clip=ClipKwargs(frames, fps, "fps"))
        )


def picture(colour: int) -> str:
    """A grey one as a data URL."""
    content = cv2.imencode(".png", np.full((12, 16, 3), colour, np.uint8))[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def test_pictures_are_kept_by_all_that_their_frames_depend_on(micro_bundle: Bundle, tmp_path: Path) -> None:
    reading = Reading(micro_bundle, tmp_path)
    first = reading.read(10, 20, 30, 40, 50, 60)
    assert reading.read(10, 20, 30, 40, 50, 60) is first
    others = [
        reading.read(20, 10, 30, 40, 50, 60),
        reading.read(10, 20, 30, 40, 50, 60, 60),
        reading.read(10, 20, 30, 40, 50, 60, fps=1),
        reading.read(10, 20, 30, 40, 50, 60, frames=3),
    ]
    assert (reading.cache.hits["frames"], reading.cache.misses["frames"]) == (1, 5)
    assert len({first.key, *(one.key for one in others)}) == 5, "frames or times differ"
    assert others[2].window.duration_seconds == 5
    assert others[3].window.frames.shape[0] == 3


def test_what_is_refused_is_not_kept(micro_bundle: Bundle, tmp_path: Path) -> None:
    reading = Reading(micro_bundle, tmp_path)
    with pytest.raises(ApiError, match=r"no variant with keep 0\.5, 4 frames") as caught:
        reading.read(10, 20, 30, 40, frames=4)
    assert str(micro_bundle.folder) not in str(caught.value)
    assert len(reading.cache) == 0


def test_pictures_together_have_the_limits_of_a_clip(micro_bundle: Bundle, tmp_path: Path) -> None:
    size = len(base64.b64decode(picture(10).partition(",")[2]))
    fits = Reading(micro_bundle, tmp_path, upload_bytes=3 * size)
    assert fits.read(10, 10, 10).window.frames.shape[0] == 3
    with pytest.raises(ApiError, match="together") as caught:
        fits.read(10, 10, 10, 10)
    assert caught.value.status == 413
    with pytest.raises(ApiError, match="may have 3 frames, got 4"):
        Reading(micro_bundle, tmp_path, clip_frames=3).read(10, 20, 30, 40)


def test_reading_pictures_has_a_limit_of_time(
    micro_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("stts_runtime.clock.now", lambda: float(next(ticks)))
    with pytest.raises(ApiError, match="reading the pictures takes more than 2 s") as caught:
        Reading(micro_bundle, tmp_path, decoding_seconds=2).read(10, 20, 30)
    assert (caught.value.status, caught.value.param) == (413, "content[2]")
