"""An engine of a bundle, part by part, through the classes that `stts-runtime run` uses."""

from __future__ import annotations

from stts_runtime.budget import KEY_FRAMES
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import VISION, Graph
from stts_runtime.engines import EngineName, IncrementalVisionEngine, LanguageEngine, VisionEngine, flavour_of
from stts_runtime.engines.load import load_frame, load_incremental, load_language, load_vision
from stts_runtime.engines.onnxruntime_cpu import HALF_WEIGHTS, WHOLE_WEIGHTS, cpu_lowering
from stts_runtime.engines.onnxruntime_cuda import LOWERING as CUDA
from stts_runtime.passports import EngineStore
from stts_runtime.proof.geometry import Geometry
from stts_runtime.proof.streamed import StreamedWindow

_RUNS_ON_A_GPU = 5
"""What is compared is the last: by then a window's work was captured and is launched whole."""


class EngineParts:
    """Parts that a bundle has for one engine; `store` holds compiled ones in place of the bundle's own."""

    def __init__(self, bundle: Bundle, engine: EngineName, store: EngineStore | None = None) -> None:
        self.bundle, self.engine, self.name = bundle, engine, f"{engine} engine"
        self._store, self._flavour = store or EngineStore(bundle.folder), flavour_of(engine)
        self.runs = 1 if engine == "cpu" else _RUNS_ON_A_GPU
        """How often a window is looked at before it is compared."""

    def has(self, part: str) -> bool:
        """Whether the part has a graph for this engine, or was compiled for it."""
        if self._flavour is not None:
            return self._store.has(part, self._flavour)
        graphs = self.bundle.manifest.parts()[part]
        return CUDA in graphs if self.engine == "cuda" else bool({WHOLE_WEIGHTS, HALF_WEIGHTS} & graphs.keys())

    def has_stream(self, variant: str) -> bool:
        """Whether windows can be made of its frames and of key frames."""
        return self.has(f"{VISION}.{variant}") and self.has(f"{VISION}.{KEY_FRAMES}")

    def vision(self, variant: str) -> VisionEngine:
        """A variant for windows; one for streams looks at the frames of a window one after the other."""
        streamed = Geometry.of(self.bundle.manifest).streamed
        if variant not in streamed:
            return load_vision(self.bundle, variant, self.engine, self._store)
        return StreamedWindow(load_incremental(self.bundle, streamed[variant].keep, self.engine), self.name)

    def frame(self, variant: str) -> IncrementalVisionEngine:
        """A variant for streams by itself, run with `key=False`."""
        return load_frame(self.bundle, variant, self.engine, self._store)

    def language(self) -> LanguageEngine:
        return load_language(self.bundle, self.engine, self._store)

    def graph(self, part: str) -> Graph:
        """The graph that runs, or that the engine was compiled from."""
        graphs = self.bundle.manifest.parts()[part]
        if self._flavour is not None:
            return graphs[self._store.read(part, self._flavour).lowering]
        return graphs[cpu_lowering(self.bundle, graphs) if self.engine == "cpu" else CUDA]
