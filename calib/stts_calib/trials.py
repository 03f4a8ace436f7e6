"""Which formats a bundle gets: what was asked for, or whatever is faster on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stts_calib.calibration import CalibrationFrames
from stts_calib.calibration.gather import pruned_variant
from stts_calib.calibration.prompts import seen_prompts
from stts_calib.comparison import Tried, compare
from stts_calib.comparison.compare import Comparison
from stts_calib.quantize.ranges import Method, check_ranges, measure_ranges
from stts_calib.quantize.recipe import Recipe, Tower, TowerFormat
from stts_calib.quantize.search import Found, search_blocks
from stts_calib.quantize.write import scratch_bundle
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, VISION
from stts_runtime.bundle.manifest import Format
from stts_runtime.errors import UserError
from stts_runtime.tell import TellStep

Wanted = Literal["auto", "none"] | Format
Scales = Literal["rtn", "awq"]
"""Scales of 4-bit weights: rounded to nearest, or searched on the calibration frames."""
_CLIPS, _QUESTIONS = 8, 2
_TOKENS = 16
"""Tokens of an answer when the language model's times are weighted."""
_TRIED: dict[str, tuple[Format, ...]] = {VISION: ("int8",), LANGUAGE: ("int4", "int8")}


@dataclass
class Trials:
    """Finds a recipe, and remembers how."""

    bundle: Bundle
    calibration: CalibrationFrames
    method: Method
    least_iou: float
    scales: Scales
    tell: TellStep
    tried: list[Tried] = field(default_factory=list)
    found: Found | None = None
    """Search over the vision tower's blocks, if it was quantized."""

    def recipe(self, vision: Wanted, language: Wanted) -> Recipe:
        """Raises `UserError` if nothing is left to quantize."""
        tower, model = self._part(VISION, vision), self._part(LANGUAGE, language)
        recipe = replace(model, vision=tower.vision)
        if recipe.vision is None:
            self.found = None
        if recipe == Recipe():
            tried = ", ".join(f"{one.part} in {one.format} {one.times_faster:.2f}x" for one in self.tried)
            raise UserError(f"nothing that was tried is faster on this machine: {tried or 'nothing was asked for'}")
        return recipe

    def _part(self, part: str, wanted: Wanted) -> Recipe:
        """One part alone."""
        if wanted == "none":
            return Recipe()
        _check_is_wide(self.bundle, part)
        if wanted != "auto":
            return self._single(part, wanted)
        trials = {form: self._single(part, form) for form in _TRIED[part]}
        faster = {form: self._times_faster(part, form, recipe) for form, recipe in trials.items()}
        best = max(faster, key=lambda form: faster[form])
        return trials[best] if faster[best] > 1 else Recipe()

    def _single(self, part: str, form: Format) -> Recipe:
        if part == VISION:
            if form == "int4":
                raise UserError("the vision tower is quantized to int8 or fp8, not to int4")
            return Recipe(vision=self._tower(form))
        if form != "int4" or self.scales == "rtn":
            return Recipe(language=form)
        return Recipe(language=form, prompts=seen_prompts(self.bundle, self.calibration))

    def _tower(self, form: TowerFormat) -> Tower:
        graph, (own, others) = self._graph(), _halves(self.calibration.frames)
        ranges = measure_ranges(graph, self._told("measuring the ranges of activations, windows", own), self.method)
        check_ranges(graph, self._told("checking these ranges, windows", others), ranges)
        self.found = search_blocks(graph, list(others), ranges, form, self.least_iou, self.tell)
        return Tower(form, ranges, self.found.quantized)

    def _times_faster(self, part: str, form: Format, recipe: Recipe) -> float:
        step = f"trying {part} in {form}, clips"
        self.tell(step, 0, _CLIPS)
        with scratch_bundle(self.bundle, recipe) as quantized:
            found = compare(self.bundle, quantized, _CLIPS, _QUESTIONS, lambda done: self.tell(step, done, _CLIPS))
        name = self.bundle.choose(None, None, None)
        ratio = _cost(found, "before", part, name) / _cost(found, "after", part, name)
        self.tried.append(Tried(part=part, format=form, times_faster=round(ratio, 3)))
        return ratio

    def _told(self, step: str, windows: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """The same windows; each is counted when the next is asked for."""
        for done, window in enumerate(windows):
            self.tell(step, done, len(windows))
            yield window

    def _graph(self) -> Path:
        graph = self.bundle.manifest.variants[pruned_variant(self.bundle)].graphs["cpu"]
        self.bundle.file(graph.weights)
        return self.bundle.file(graph.graph)


def _check_is_wide(bundle: Bundle, part: str) -> None:
    """What is quantized has no products that could be quantized again: it would get another format's name and stay."""
    if form := bundle.quantized.get(part):
        raise UserError(
            f"{bundle.folder} has {part} in {form} already: calibrate the bundle that it was made of, or pass "
            f"--{part} none"
        )


def _halves(windows: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Those that give ranges, and those that say whether these hold."""
    return windows[::2], windows[1::2]


def _cost(found: Comparison, which: Literal["before", "after"], part: str, variant: str) -> float:
    """Milliseconds of one part."""
    side = getattr(found, which)[variant]
    if part == VISION:
        return float(np.median(side.vision_ms))
    return float(np.median(side.prefill_ms)) + _TOKENS * float(np.median(side.decode_ms))
