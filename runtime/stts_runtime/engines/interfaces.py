"""What the pipeline asks of an engine, whatever runs it. A fake with these methods is all that a test needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import EngineName
from stts_runtime.bundle.manifest import Graph
from stts_runtime.errors import EngineError
from stts_runtime.prompt import Tokens


@dataclass(frozen=True)
class VisionOutput:
    """One window's visual tokens and how they were chosen."""

    visual_tokens: Any
    """(K, width), wherever the language engine of the same backend takes it from."""
    kept: NDArray[np.bool_]
    """(T, G): which groups have a visual token."""
    scores: NDArray[np.float32] | None
    """(T, G), high is important: a trained scorer's in (0, 1), those of change in 0..3. None where nothing was scored
    (keep 1).
    """


class VisionEngine(Protocol):
    """One vision variant, loaded."""

    lowering: str
    """Which of the part's graphs runs, or was compiled."""

    def run(self, frames: NDArray[np.uint8], given: NDArray[np.bool_] | None = None) -> VisionOutput:
        """RGB frames (T, H, W, 3) of exactly the variant's size; `given` (T, G) says what a control variant keeps."""
        ...

    def downloaded(self, output: VisionOutput) -> NDArray[np.float32]:
        """The visual tokens (K, width) of the last run, wherever they lie; for checks, not for answers."""
        ...


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
    """Frames of streams, one at a time. It keeps nothing between two runs, so streams can share it."""

    def run(self, frame: NDArray[np.uint8], previous: NDArray[np.floating] | None, *, key: bool) -> IncrementalOutput:
        """An RGB frame (H, W, 3) of exactly the model's size; `previous` is None for a stream's first."""
        ...


class FrameEngine(Protocol):
    """One variant for frames of streams, loaded."""

    def run(self, frame: NDArray[np.uint8], previous: NDArray[np.floating] | None) -> IncrementalOutput: ...


class IncrementalVision:
    """An `IncrementalVisionEngine` of two variants, which may be the same one."""

    def __init__(self, names: Mapping[bool, str], load: Callable[[str], FrameEngine]) -> None:
        """`names` of the variants: True for key frames, False for those between; `load` is called once for each."""
        engines = {name: load(name) for name in set(names.values())}
        self._engines = {key: engines[name] for key, name in names.items()}

    def run(self, frame: NDArray[np.uint8], previous: NDArray[np.floating] | None, *, key: bool) -> IncrementalOutput:
        return self._engines[key].run(frame, previous)


class LanguageEngine(Protocol):
    """The language model with its cache of `context` slots, of which the first `length` are filled."""

    lowering: str

    context: int
    length: int

    def show(self, visual_tokens: Any) -> None:
        """Makes these the visual tokens that image patches in later calls refer to: a `VisionOutput`'s, or rows in
        the host's memory as `IncrementalOutput` has them.
        """
        ...

    def prefill(self, tokens: Tokens) -> None:
        """Fills the empty cache with a prefix that has images in it; what comes next is not asked."""
        ...

    def forward(self, tokens: Tokens) -> int:
        """Appends tokens to the cache and returns the greedy choice of the next one."""
        ...

    def logits(self) -> NDArray[np.float32]:
        """What the last call gave for the token after it, (vocabulary,); for checks, not for answers."""
        ...

    def rewind(self, length: int) -> None:
        """Forgets all but the first `length` slots."""
        ...


@runtime_checkable
class Noted(Protocol):
    """An engine of which there may be something to say."""

    @property
    def note(self) -> str | None:
        """What a user should know of how it runs, which is known once it is loaded; None if there is nothing."""
        ...


class Backend(Protocol):
    """One target: whether it is ready, and its engines. All of them stand in `backends.py`."""

    @property
    def name(self) -> EngineName: ...

    @property
    def needs_gpu(self) -> bool: ...

    def has(self, bundle: Bundle, part: str) -> bool:
        """Whether the bundle holds what this backend runs of a part: graphs for it, or a compiled engine."""
        ...

    def graph(self, bundle: Bundle, part: str) -> Graph:
        """The graph that runs, or that the engine was compiled from. Raises `SttsError` if neither can run here."""
        ...

    def check(self, bundle: Bundle) -> None:
        """Raises `SttsError` with the reason if the language model, which everything needs, would not load here."""
        ...

    def note(self, bundle: Bundle) -> str | None:
        """What a user should know before this backend answers; None if there is nothing."""
        ...

    def load_vision(self, bundle: Bundle, variant: str) -> VisionEngine:
        """Checks and loads one variant for windows."""
        ...

    def load_frame(self, bundle: Bundle, variant: str) -> FrameEngine:
        """Checks and loads one variant for frames of streams."""
        ...

    def load_language(self, bundle: Bundle) -> LanguageEngine:
        """Checks and loads the language model, with an empty cache."""
        ...


def check_choice(given: NDArray[np.bool_] | None, budget: TokenBudget) -> None:
    """Raises `EngineError` unless `given` is what the variant takes: None, or for a control its groups, (T, G)."""
    if budget.scope != "given":
        if given is not None:
            raise EngineError(f"{budget.name} chooses by itself what to keep; only controls can be told")
        return
    if given is None:
        raise EngineError(f"{budget.name} is a control: it needs to be told which groups to keep")
    if given.shape != (budget.frames, budget.groups) or given.sum() != budget.kept:
        raise EngineError(
            f"{budget.name} keeps {budget.kept} of {budget.frames} x {budget.groups} groups, and was given "
            f"{given.sum()} of {' x '.join(map(str, given.shape))}"
        )


def check_room(engine: LanguageEngine, tokens: Tokens) -> None:
    """Raises `EngineError` if the cache has fewer free slots than there are tokens."""
    if engine.length + len(tokens) > engine.context:
        raise EngineError(f"{engine.length} + {len(tokens)} tokens do not fit a context of {engine.context}")
