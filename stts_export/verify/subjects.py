"""What of a bundle can be held against its checkpoint on this machine."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from stts_export.verify.bars import BARS, Bar, precision_of
from stts_export.verify.graphs import GraphLanguage, GraphVision
from stts_export.verify.streamed import StreamedWindow, live_windows
from stts_runtime.bench.measure import variants_with
from stts_runtime.budget import KEY_FRAMES, TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import LANGUAGE, VISION, Graphs, compilable
from stts_runtime.engines import EngineName, check_engine, flavour_of, load_language, load_live, load_vision
from stts_runtime.engines.onnxruntime_cpu import HALF_WEIGHTS, WHOLE_WEIGHTS, cpu_lowering
from stts_runtime.engines.onnxruntime_cuda import LOWERING as CUDA
from stts_runtime.engines.seam import LanguageEngine, VisionEngine
from stts_runtime.errors import SttsError
from stts_runtime.passports import EngineStore
from stts_runtime.tensorrt import FLAVOURS


class Subject(Protocol):
    """An engine or a graph of a bundle."""

    name: str

    def variants(self) -> list[str]:
        """Vision variants that can be run."""
        ...

    def vision(self, variant: str) -> VisionEngine: ...

    def language(self) -> LanguageEngine: ...

    def bar(self, part: str) -> Bar:
        """What its numbers have to keep to; `part` as in the manifest."""
        ...


class NotRun(NamedTuple):
    """Something of the bundle that cannot run here."""

    name: str
    reason: str


def subjects_of(bundle: Bundle) -> tuple[list[Subject], list[NotRun]]:
    """Engines that load here and graphs of the other lowerings; and the engines that do not load, with the reason."""
    subjects: list[Subject] = []
    lowerings = bundle.manifest.language.graphs
    if {WHOLE_WEIGHTS, HALF_WEIGHTS} & lowerings.keys():
        subjects.append(EngineSubject(bundle, "cpu"))
    # Where both are there, the engine takes the other.
    others = [HALF_WEIGHTS] if {WHOLE_WEIGHTS, HALF_WEIGHTS} <= lowerings.keys() else []
    for_gpu = [CUDA] if CUDA in lowerings else []
    subjects += [GraphSubject(bundle, name) for name in (*others, *for_gpu, *compilable(lowerings))]
    to_try: list[EngineName] = [name for name in FLAVOURS if EngineStore(bundle.folder).has(LANGUAGE, name)]
    not_run = []
    if for_gpu:
        to_try.append("cuda")
    for engine in to_try:
        because = _does_not_load(bundle, engine)
        if because is None:
            subjects.append(EngineSubject(bundle, engine))
        else:
            not_run.append(NotRun(f"{engine} engine", because))
    return subjects, not_run


def _does_not_load(bundle: Bundle, engine: EngineName) -> str | None:
    """The reason; None if the engine loads."""
    try:
        check_engine(bundle, engine)
    except SttsError as error:
        return str(error)
    return None


def _answering(bundle: Bundle) -> list[str]:
    return [name for name, variant in bundle.manifest.variants.items() if not variant.is_control]


class EngineSubject:
    """What `stts-runtime run` uses."""

    def __init__(self, bundle: Bundle, engine: EngineName) -> None:
        self._bundle, self._engine = bundle, engine
        self.name = f"{engine} engine"

    def variants(self) -> list[str]:
        return [*variants_with(self._bundle, self._engine), *self._live()]

    def vision(self, variant: str) -> VisionEngine:
        if variant not in self._live():
            return load_vision(self._bundle, variant, self._engine)
        live = load_live(self._bundle, self._live()[variant].keep, self._engine)
        return StreamedWindow(live, self.name)

    def _live(self) -> dict[str, TokenBudget]:
        """What of them this engine has."""
        flavour, windows = flavour_of(self._engine), live_windows(self._bundle)
        if flavour is None:
            return windows
        store = EngineStore(self._bundle.folder)
        has_keys = store.has(f"{VISION}.{KEY_FRAMES}", flavour)
        return {name: one for name, one in windows.items() if has_keys and store.has(f"{VISION}.{name}", flavour)}

    def language(self) -> LanguageEngine:
        return load_language(self._bundle, self._engine)

    def bar(self, part: str) -> Bar:
        graphs = self._bundle.manifest.parts()[part]
        return BARS[precision_of(self._bundle, graphs[self._lowering(part, graphs, self._engine)])]

    def _lowering(self, part: str, graphs: Graphs, engine: EngineName) -> str:
        flavour = flavour_of(engine)
        if flavour is not None:
            return EngineStore(self._bundle.folder).read(part, flavour).lowering
        return cpu_lowering(self._bundle, graphs) if engine == "cpu" else CUDA


class GraphSubject:
    """The graphs that an engine is compiled from."""

    def __init__(self, bundle: Bundle, lowering: str) -> None:
        self._bundle, self._lowering = bundle, lowering
        self.name = f"{lowering} graph"

    def variants(self) -> list[str]:
        return _answering(self._bundle)

    def vision(self, variant: str) -> VisionEngine:
        return GraphVision(self._bundle, variant, self._lowering)

    def language(self) -> LanguageEngine:
        return GraphLanguage(self._bundle, self._lowering)

    def bar(self, part: str) -> Bar:
        return BARS[precision_of(self._bundle, self._bundle.manifest.parts()[part][self._lowering])]
