"""What of a bundle can be held against its checkpoint on this machine."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from stts_export.verifying.graphs import GraphLanguage, GraphVision
from stts_runtime.bench.measure import variants_with
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import CUDA, FLAVOURS, HALF_WEIGHTS, LANGUAGE, WHOLE_WEIGHTS
from stts_runtime.bundle.manifest import compilable
from stts_runtime.engines import BACKENDS, EngineName, check_engine
from stts_runtime.engines.interfaces import LanguageEngine, VisionEngine
from stts_runtime.errors import SttsError
from stts_runtime.passports import EngineStore
from stts_runtime.proof.engine_parts import EngineParts
from stts_runtime.proof.streamed import live_windows
from stts_runtime.references.bars import BARS, Bar, precision_of


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
        subjects.append(EngineSubject(bundle, BACKENDS["cpu"]))
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
            subjects.append(EngineSubject(bundle, BACKENDS[engine]))
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


class EngineSubject(EngineParts):
    """What `stts-runtime run` uses."""

    def variants(self) -> list[str]:
        streamed = [name for name in live_windows(self.bundle) if self.has_stream(name)]
        return [*variants_with(self.bundle, self.engine), *streamed]

    def bar(self, part: str) -> Bar:
        return BARS[precision_of(self.bundle, self.graph(part))]


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
