"""A bundle with the engines that look at streams: loaded, and proven before others are replaced by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from stts_runtime.answering import AnswerPool
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, vision_part
from stts_runtime.engines import BACKENDS, EngineChoice, FrameEngine, LanguageEngine, load_slots
from stts_runtime.engines.frames import IncrementalVision
from stts_runtime.errors import EngineError, UserError
from stts_runtime.proof.check import check_part, open_proof
from stts_runtime.proof.engine_parts import EngineParts
from stts_runtime.stream.config import Cameras
from stts_runtime.stream.memory import answers_at_once, free_bytes, taken_bytes, weights_and_cache_bytes
from stts_runtime.stream.watcher import Engines
from stts_runtime.tell import Tell

_MARGIN = 1.1
"""Of what is needed: engines take memory with their first run too."""


@dataclass(frozen=True)
class Wanted:
    """Which engines a configuration asks for; equal where the same do."""

    identity: str
    engine: str
    variants: tuple[str, ...]

    @classmethod
    def of(cls, config: Cameras, bundle: Bundle, choice: EngineChoice) -> Wanted:
        """Raises `BundleError` if the bundle has no variants for single frames."""
        names = bundle.choose_incremental(config.keep)
        return cls(bundle.identity, choice.name, (names[True], names[False]))


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    wanted: Wanted
    engines: Engines
    choice: EngineChoice
    frames: Mapping[str, FrameEngine] = field(default_factory=dict)
    """By the variant: those of one frame."""
    language: LanguageEngine | None = None
    files_bytes: int = 0
    taken_bytes: int = 0
    """How much more memory was in use when they were loaded."""

    @property
    def bundle(self) -> Bundle:
        return self.engines.bundle

    @property
    def labels(self) -> dict[str, str]:
        """For those who watch from outside."""
        manifest = self.bundle.manifest
        return {"bundle": self.bundle.identity, "checkpoint": manifest.checkpoint, "engine": self.choice.name}

    def __str__(self) -> str:
        return f"{self.bundle.folder} ({self.bundle.identity}, engine {self.choice.name})"


def load_bundle(config: Cameras, bundle: Bundle, choice: EngineChoice) -> LoadedBundle:
    """Checks and loads what streams need. Raises `BundleError` if the bundle does not have it."""
    wanted, backend = Wanted.of(config, bundle, choice), BACKENDS[choice.name]
    before = taken_bytes(choice.name)
    frames: dict[str, FrameEngine] = {}

    def load(name: str) -> Sequence[FrameEngine]:
        engines = backend.load_frames(bundle, name, config.at_once)
        frames[name] = next(one for one in engines if one.size == 1)
        return engines

    slots = load_slots(bundle, config.at_once, choice.name)
    vision = IncrementalVision({True: wanted.variants[0], False: wanted.variants[1]}, load)
    files = weights_and_cache_bytes(bundle, choice.name, set(wanted.variants), len(slots.engines))
    taken = max(taken_bytes(choice.name) - before, 0)
    engines = Engines(bundle, vision, AnswerPool.over(bundle, slots))
    return LoadedBundle(wanted, engines, choice, frames, slots.engines[0], files, taken)


def load_beside(
    config: Cameras, bundle: Bundle, choice: EngineChoice, running: LoadedBundle, tell: Tell
) -> LoadedBundle:
    """What is to take over from what runs: it has to fit beside it, and to keep the bars of its own proof.

    Raises `SttsError` with the reason; nothing of it stays then.
    """
    proof = open_proof(bundle)
    needed = _check_fits(config, bundle, choice, running, tell)
    loaded = load_bundle(config, bundle, choice)
    # What an earlier one gave back is used again, and is not seen to be taken.
    loaded = replace(loaded, taken_bytes=max(loaded.taken_bytes, needed))
    parts = _LoadedParts(loaded)
    tell(f"checking {loaded} against its proof")
    findings = [
        finding
        for part in (*map(vision_part, loaded.wanted.variants), LANGUAGE)
        for finding in check_part(parts, proof, part)
    ]
    missed = [one for one in findings if one.status == "missed"]
    if missed:
        said = "; ".join(
            f"{one.variant or 'language model'}, {one.stage}: {one.measured} (bar {one.bar})" for one in missed
        )
        raise EngineError(f"{loaded} fails its check: {said}")
    if not findings:
        raise EngineError(f"{loaded} cannot be checked: its proof says nothing about what streams need")
    return loaded


def _check_fits(config: Cameras, bundle: Bundle, choice: EngineChoice, running: LoadedBundle, tell: Tell) -> int:
    """The bytes that it needs; what the running one took, over those of its files, says what another takes.

    Raises `UserError` if they are not there.
    """
    variants = set(Wanted.of(config, bundle, choice).variants)
    files = weights_and_cache_bytes(bundle, choice.name, variants, answers_at_once(bundle, choice.name, config.at_once))
    ratio = max(running.taken_bytes / running.files_bytes, 1.0) if running.files_bytes else 1.0
    needed, free = round(files * ratio), free_bytes(choice.name)
    held = max(running.taken_bytes, running.files_bytes)
    left = "nobody says how much is free" if free is None else f"{_megabytes(free)} are free"
    words = (
        f"{bundle.folder} ({bundle.identity}) needs about {_megabytes(needed)} beside the {_megabytes(held)} of the "
        f"one that runs, {_megabytes(needed + held)} together; {left}"
    )
    if free is not None and needed * _MARGIN > free:
        raise UserError(f"{words}, which is too little: free some, or restart with the new bundle")
    tell(words)
    return needed


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


class _LoadedParts(EngineParts):
    """Those that will answer, and no others of the same kind."""

    def __init__(self, loaded: LoadedBundle) -> None:
        super().__init__(loaded.bundle, BACKENDS[loaded.choice.name])
        self._loaded = loaded

    def frame(self, variant: str) -> FrameEngine:
        return self._loaded.frames[variant]

    def language(self) -> LanguageEngine:
        assert self._loaded.language is not None
        return self._loaded.language
