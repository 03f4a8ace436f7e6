"""`stts-runtime check`: the engines that can run here, on what they were proven with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, EngineName, variant_of
from stts_runtime.engines import BACKENDS, Backend, check_engine
from stts_runtime.errors import BundleError, EngineError, SttsError, UserError
from stts_runtime.proof.engine_parts import EngineParts
from stts_runtime.proof.finding import CheckReport, Finding
from stts_runtime.proof.language_check import LanguageCheck
from stts_runtime.proof.vision_check import VisionCheck
from stts_runtime.references.layout import EXAMPLE
from stts_runtime.references.reference import PROOF, Reference
from stts_runtime.tell import Tell, tell_nobody


@dataclass(frozen=True)
class CheckRequest:
    """The names are those of the command line."""

    bundle: Path
    engine: EngineName | None = None
    """None: every one that runs here."""
    variants: Sequence[str] = ()
    """None: all."""
    reference: Path | None = None
    """None: the bundle's own proof."""


def check_bundle(request: CheckRequest, tell: Tell = tell_nobody) -> CheckReport:
    """Runs the engines and compares.

    Raises `UserError` if files are damaged, if there is nothing to compare with, or if nothing was compared.
    """
    bundle = Bundle.open(request.bundle)
    bundle.verify_all()
    reference = open_proof(bundle) if request.reference is None else Reference.open(request.reference, bundle.manifest)
    _check_variants(request.variants, reference)
    engines = _engines(bundle, request.engine)
    findings: list[Finding] = []
    for backend, because in engines.items():
        if because is not None:
            findings.append(_not_run(f"{backend.name} engine", None, because))
            continue
        tell(f"running the {backend.name} engine")
        findings += _Check(EngineParts(bundle, backend), reference, request.variants, tell).findings()
    if all(finding.status == "not run" for finding in findings):
        reasons = dict.fromkeys(finding.detail or finding.measured for finding in findings)
        raise UserError(f"nothing of {bundle.folder} was compared: {'; '.join(reasons)}")
    return CheckReport(
        bundle=str(request.bundle),
        against=str(reference.path),
        producer=reference.about.producer,
        findings=findings,
    )


def open_proof(bundle: Bundle) -> Reference:
    """Raises `BundleError` if the bundle carries no proof."""
    if PROOF not in bundle.manifest.files:
        raise BundleError(
            f"{bundle.folder} carries no proof of what its engines must give; build it again with: "
            f"{bundle.manifest.build_command} --force (with your paths), or take --reference FILE"
        )
    return Reference.open(bundle.file(PROOF), bundle.manifest)


def check_part(engine: EngineParts, reference: Reference, part: str) -> list[Finding]:
    """One part by itself against a proof; nothing if the proof does not have it."""
    # What overflowed is infinite, which is a finding and no accident.
    with np.errstate(invalid="ignore", over="ignore"):
        if part == LANGUAGE:
            spoken = EXAMPLE in reference.about.language
            return list(LanguageCheck(engine, reference).findings(EXAMPLE)) if spoken else []
        variant = variant_of(part)
        known = variant in reference.about.vision
        return list(VisionCheck(engine, reference, variant).findings()) if known else []


class _Check:
    """One engine."""

    def __init__(self, engine: EngineParts, reference: Reference, variants: Sequence[str], tell: Tell) -> None:
        self._engine, self._reference, self._tell = engine, reference, tell
        self._variants = [name for name in reference.about.vision if not variants or name in variants]

    def findings(self) -> Iterator[Finding]:
        with np.errstate(invalid="ignore", over="ignore"):
            try:
                language = LanguageCheck(self._engine, self._reference)
            except SttsError as error:
                yield _stopped(self._engine.name, None, error)
                return
            for variant in self._variants:
                yield from self._variant(variant, language)
            if EXAMPLE in self._reference.about.language:
                yield from self._example(language)
            for variant in getattr(self._reference.about.values, "left_out", []):
                yield _not_run(self._engine.name, variant, "the proof has no room for it")

    def _example(self, language: LanguageCheck) -> Iterator[Finding]:
        try:
            yield from language.findings(EXAMPLE)
        except SttsError as error:
            yield _stopped(self._engine.name, None, error)

    def _variant(self, variant: str, language: LanguageCheck) -> Iterator[Finding]:
        self._tell(f"running the {self._engine.name}, {variant}")
        try:
            check = VisionCheck(self._engine, self._reference, variant)
            yield from check.findings()
            if self._reference.whole is not None:
                yield language.text(check)
                yield from language.findings(variant, variant)
        except SttsError as error:
            yield _stopped(self._engine.name, variant, error)


def _check_variants(wanted: Sequence[str], reference: Reference) -> None:
    known = reference.about.vision
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UserError(f"{reference.path} has nothing about a variant {unknown[0]}; it has {', '.join(known)}")


def _engines(bundle: Bundle, wanted: EngineName | None) -> dict[Backend, str | None]:
    """Engines that the bundle is for, each with the reason why it does not run here; None where it does."""
    if wanted is not None:
        check_engine(bundle, wanted)
        return {BACKENDS[wanted]: None}
    there = [backend for backend in reversed(list(BACKENDS.values())) if backend.has(bundle, LANGUAGE)]
    engines = {backend: _why_not(bundle, backend) for backend in there}
    if not there or None not in engines.values():
        reasons = "; ".join(filter(None, engines.values()))
        raise UserError(f"no engine of {bundle.folder} runs here: {reasons or 'it was not compiled'}")
    return engines


def _why_not(bundle: Bundle, backend: Backend) -> str | None:
    try:
        backend.check(bundle)
    except SttsError as error:
        return str(error)
    return None


def _not_run(subject: str, variant: str | None, reason: str) -> Finding:
    return Finding(subject=subject, variant=variant, stage="all", status="not run", measured="not run", detail=reason)


def _stopped(subject: str, variant: str | None, error: SttsError) -> Finding:
    """An engine that fails misses; what the user can put right is why it was not run."""
    if not isinstance(error, EngineError):
        return _not_run(subject, variant, str(error))
    return Finding(subject=subject, variant=variant, stage="all", status="missed", measured="failed", detail=str(error))
