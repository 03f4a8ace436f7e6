"""Frames of streams: what an engine is given and gives, one at a time or several at once, each of another stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.errors import EngineError


@dataclass(frozen=True, eq=False)
class FrameInput:
    """A frame and what is known of the one before it."""

    frame: NDArray[np.uint8]
    """RGB (H, W, 3) of exactly the model's size."""
    previous: NDArray[np.floating] | None
    """`pooled` of the stream's frame before; None for its first."""
    key: bool = False
    """Whether it is kept whole."""


@dataclass(frozen=True, eq=False)
class IncrementalOutput:
    """What one frame of a stream gave, in the host's memory."""

    visual_tokens: NDArray[Any]
    """(K, width), in the type that the language engine of the same backend takes; bfloat16 as uint16."""
    kept: NDArray[np.bool_]
    """(G,): which groups have a visual token."""
    scores: NDArray[np.float32]
    """(G,): high is important."""
    change: NDArray[np.float32]
    """(G,), 0 to 1: how far each group is from the frame before."""
    pooled: NDArray[np.floating]
    """(G, D), float32 or float16 as the bundle has it: what the stream's next frame is given as `previous`."""


class IncrementalVisionEngine(Protocol):
    """Frames of streams. It keeps nothing between two runs, so streams can share it."""

    def run(self, frame: NDArray[np.uint8], previous: NDArray[np.floating] | None, *, key: bool) -> IncrementalOutput:
        """One frame, as `FrameInput` has it."""
        ...

    def run_many(self, looks: Sequence[FrameInput]) -> list[IncrementalOutput]:
        """Frames of several streams, at once where the engine can."""
        ...


class FrameEngine(Protocol):
    """One variant for frames of streams, loaded for exactly `size` of them at once."""

    @property
    def size(self) -> int: ...

    def run(self, looks: Sequence[FrameInput]) -> list[IncrementalOutput]: ...


class IncrementalVision:
    """An `IncrementalVisionEngine` of two variants, which may be the same one."""

    def __init__(self, names: Mapping[bool, str], load: Callable[[str], Sequence[FrameEngine]]) -> None:
        """`names` of the variants: True for key frames, False for those between. `load`, called once for each, gives
        its engines, one of a single frame among them.
        """
        engines = {name: sorted(load(name), key=lambda one: -one.size) for name in set(names.values())}
        self._names, self._engines = names, {key: engines[name] for key, name in names.items()}

    @property
    def sizes(self) -> list[int]:
        """How many frames between key frames can go through at once."""
        return [engine.size for engine in reversed(self._engines[False])]

    def one_by_one(self) -> IncrementalVision:
        """The same engines, one frame at a time; for comparisons."""
        by_name = {self._names[key]: engines[-1:] for key, engines in self._engines.items()}
        return IncrementalVision(self._names, by_name.__getitem__)

    def run(self, frame: NDArray[np.uint8], previous: NDArray[np.floating] | None, *, key: bool) -> IncrementalOutput:
        return self.run_many([FrameInput(frame, previous, key)])[0]

    def run_many(self, looks: Sequence[FrameInput]) -> list[IncrementalOutput]:
        outputs: dict[int, IncrementalOutput] = {}
        for key, engines in self._engines.items():
            waiting = [number for number, look in enumerate(looks) if look.key == key]
            for engine in engines:
                # Exactly as many as wait: a frame of nothing would take as long as another.
                while len(waiting) >= engine.size:
                    numbers, waiting = waiting[: engine.size], waiting[engine.size :]
                    outputs |= zip(numbers, engine.run([looks[number] for number in numbers]), strict=True)
        return [outputs[number] for number in range(len(looks))]


def incremental_sizes(bundle: Bundle, variant: str, lowering: str, most: int) -> list[int]:
    """How many frames at once there are graphs for in this lowering, up to `most`: 1 and more."""
    assert bundle.manifest.live is not None
    batches = bundle.manifest.live.variants[variant].batches
    return [1, *(one.size for one in batches if one.size <= most and lowering in one.graphs)]


def check_frame(frame: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    """Raises `EngineError` for a frame of another size than the graph's."""
    if frame.shape != shape:
        raise EngineError(f"a frame is {frame.shape} and the engine takes {shape}")


def outputs_of_frames(values: Mapping[str, NDArray[Any]], count: int) -> list[IncrementalOutput]:
    """A graph's outputs, by the names of `FRAME_OUTPUTS` and rows of all frames, for each of its `count` frames."""
    kept = np.zeros(len(values["scores"]), dtype=np.bool_)
    kept[values["kept_groups"]] = True
    by_frame = {name: array.reshape(count, -1, *array.shape[1:]) for name, array in {**values, "kept": kept}.items()}
    return [
        IncrementalOutput(
            by_frame["visual_tokens"][row],
            by_frame["kept"][row],
            by_frame["scores"][row],
            by_frame["change"][row],
            by_frame["pooled"][row],
        )
        for row in range(count)
    ]
