"""What the pipeline asks of an engine, whatever runs it. A fake with these methods is all that a test needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
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
