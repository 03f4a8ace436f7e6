"""What a target is: the code in front of its engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import EngineName
from stts_runtime.bundle.manifest import Graph
from stts_runtime.engines.frames import FrameEngine
from stts_runtime.engines.interfaces import LanguageEngine, VisionEngine
from stts_runtime.engines.slots import LanguageSlots


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

    def load_frames(self, bundle: Bundle, variant: str, most: int = 1) -> Sequence[FrameEngine]:
        """Checks and loads one variant for frames of streams: one at a time, and as many at once as the bundle has
        graphs for, up to `most`.
        """
        ...

    def load_language(self, bundle: Bundle) -> LanguageEngine:
        """Checks and loads the language model, with an empty cache."""
        ...

    def load_slots(self, bundle: Bundle, most: int) -> LanguageSlots:
        """Checks and loads it for several answers at once, up to `most`; for one where the bundle has no graphs for
        more.
        """
        ...
