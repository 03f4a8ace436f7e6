"""Values that fp16 cannot hold, where the bundle computes in fp16: found in float32, where they show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from stts_export.checkpoint import Modules
from stts_export.precision.half import LANGUAGE_MODEL, SCORER
from stts_export.precision.scan import FP16_LARGEST, Peak, part_of, scan
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE
from stts_runtime.proof.finding import Finding

_SHOWN = 3


def scan_for_overflow(bundle: Bundle, modules: Modules, run: Callable[[], object]) -> Iterator[Finding]:
    """One finding for each lowering that computes in fp16; `run` calls the modules."""
    if not computes_in_fp16(bundle):
        return
    halves = {name: _fp16_parts(bundle, name) for name in bundle.manifest.language.graphs}
    peaks = scan([modules.vision, modules.language], run)
    for lowering, (vision, language, wide) in halves.items():
        inside = [peak for peak in peaks if _in_fp16(peak, vision=vision, language=language, wide=wide)]
        if inside:
            yield _finding(lowering, inside)


def computes_in_fp16(bundle: Bundle) -> bool:
    """Whether any of its lowerings does, in any part."""
    found = [_fp16_parts(bundle, name) for name in bundle.manifest.language.graphs]
    return any(vision or language for vision, language, _ in found)


def _fp16_parts(bundle: Bundle, lowering: str) -> tuple[bool, bool, list[str]]:
    """Whether vision and language model compute in fp16, and which parts of the vision do not."""
    parts = bundle.manifest.parts()
    vision = [graphs[lowering] for part, graphs in parts.items() if part != LANGUAGE]
    wide = sorted({name for graph in vision for name in graph.wide})
    return any(graph.precision == "fp16" for graph in vision), parts[LANGUAGE][lowering].precision == "fp16", wide


def _in_fp16(peak: Peak, vision: bool, language: bool, wide: Sequence[str]) -> bool:
    if peak.module.startswith(SCORER):
        return False
    if not peak.module:
        # Between the parts: patches going in, logits coming out.
        return vision or language
    part = part_of(peak.module)
    return language if part == LANGUAGE_MODEL else vision and part not in wide


def _finding(lowering: str, peaks: Sequence[Peak]) -> Finding:
    """Peaks come with the largest first."""
    over = [peak for peak in peaks if peak.largest > FP16_LARGEST]
    near = [peak for peak in peaks if not peak.fits_fp16]
    named = ", ".join(
        f"{peak.largest:.4g} in {peak.module or 'the model'} ({peak.operator})" for peak in (over or near)[:_SHOWN]
    )
    advice = "rebuild with --frames-from this video, which puts bf16 there"
    return Finding(
        subject=f"{lowering} graph",
        variant=None,
        stage="overflow",
        status="missed" if over else "note" if near else "ok",
        measured=f"largest value {peaks[0].largest:.4g} of {FP16_LARGEST:.0f}",
        value=peaks[0].largest,
        bar=f"<= {FP16_LARGEST:.0f}",
        detail=f"an fp16 overflow: {named}; {advice}" if over else f"near to it: {named}; {advice}" if near else None,
    )
