"""What vLLM's `mm_processor_kwargs` and `media_io_kwargs` say of a clip: followed, or refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.openai_records import ChatRequest

V = TypeVar("V", int, float)
_MOST_FRAMES = 100_000
_FPS = 0.001, 1000.0


@dataclass(frozen=True)
class ClipKwargs:
    """None: nothing was said of it."""

    frames: int | None = None
    """`num_frames`: so many are looked at, if the bundle has a variant for that."""
    fps: float | None = None
    """Of pictures that are the frames of a clip, how many were taken a second; of a clip, how many are looked at."""
    param: str = ""
    """Where the newest of them stands, for messages."""


def clip_kwargs(body: ChatRequest) -> ClipKwargs:
    """Raises `ApiError` 400 for any other, for values that are none, or for two that differ."""
    frames, fps, where = dict[str, int](), dict[str, float](), ""
    for name, given, param in _given(body):
        if name == "num_frames":
            frames[param] = _frames(given, param)
        elif name == "fps":
            fps[param] = _fps(given, param)
        else:
            raise ApiError(400, f"{param} is not known here, where there are num_frames and fps; leave it out", param)
        where = param
    return ClipKwargs(_agreed(frames), _agreed(fps), where)


def _agreed(said: Mapping[str, V]) -> V | None:
    """What all places say. Raises `ApiError` 400 where they do not say the same."""
    values = list(said.values())
    if any(value != values[0] for value in values):
        told = " and ".join(f"{param} is {value:g}" for param, value in said.items())
        raise ApiError(400, f"{told}; leave one of them out", list(said)[-1])
    return values[0] if values else None


def _given(body: ChatRequest) -> Iterator[tuple[str, object, str]]:
    """Each name, what it has, and where. `media_io_kwargs` has a level more."""
    media = _object(body.media_io_kwargs, "media_io_kwargs")
    for name in media.keys() - {"video"}:
        param = f"media_io_kwargs.{name}"
        raise ApiError(400, f"{param} is not known here, where there is video; leave it out", param)
    for kwargs, place in (
        (body.mm_processor_kwargs, "mm_processor_kwargs"),
        (media.get("video"), "media_io_kwargs.video"),
    ):
        for name, given in _object(kwargs, place).items():
            if given is not None:
                yield name, given, f"{place}.{name}"


def _object(given: object, param: str) -> dict[str, object]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ApiError(400, f'{param} should be an object such as {{"num_frames": 16}}', param)
    return given


def _frames(given: object, param: str) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= _MOST_FRAMES:
        raise ApiError(400, f"{param} should be a whole number from 1 to {_MOST_FRAMES}", param)
    return given


def _fps(given: object, param: str) -> float:
    low, high = _FPS
    if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high:
        raise ApiError(400, f"{param} should be a number from {low:g} to {high:g}", param)
    return float(given)
