"""An engine of a bundle, part by part, through the classes that `stts-runtime run` uses."""

from __future__ import annotations

from functools import partial

from stts_runtime.budget import KEY_FRAMES
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import vision_part
from stts_runtime.bundle.manifest import Graph
from stts_runtime.engines import Backend, FrameEngine, LanguageEngine, VisionEngine
from stts_runtime.engines.frames import IncrementalVision
from stts_runtime.proof.streamed import StreamedWindow
from stts_runtime.references.geometry import Geometry

_RUNS_ON_A_GPU = 5
"""What is compared is the last: by then a window's work was captured and is launched whole."""


class EngineParts:
    """Parts that a bundle has for one backend."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self.bundle, self.backend, self.engine = bundle, backend, backend.name
        self.name = f"{self.engine} engine"
        self.runs = _RUNS_ON_A_GPU if backend.needs_gpu else 1
        """How often a window is looked at before it is compared."""

    def has_stream(self, variant: str) -> bool:
        """Whether windows can be made of its frames and of key frames."""
        return all(self.backend.has(self.bundle, vision_part(one)) for one in (variant, KEY_FRAMES))

    def vision(self, variant: str) -> VisionEngine:
        """A variant for windows; one for streams looks at the frames of a window one after the other."""
        if variant not in Geometry.of(self.bundle.manifest).streamed:
            return self.backend.load_vision(self.bundle, variant)
        names = {True: KEY_FRAMES, False: variant}
        return StreamedWindow(IncrementalVision(names, partial(self.backend.load_frames, self.bundle)), self.name)

    def frame(self, variant: str) -> FrameEngine:
        """A variant for streams by itself."""
        (engine,) = self.backend.load_frames(self.bundle, variant)
        return engine

    def language(self) -> LanguageEngine:
        return self.backend.load_language(self.bundle)

    def graph(self, part: str) -> Graph:
        """The graph that runs, or that the engine was compiled from."""
        return self.backend.graph(self.bundle, part)
