"""One part of an engine's vision against a reference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import IncrementalBudget, TokenBudget
from stts_runtime.bundle.contract import vision_part
from stts_runtime.engines.frames import FrameInput, IncrementalOutput
from stts_runtime.engines.interfaces import VisionEngine, VisionOutput
from stts_runtime.proof.engine_parts import EngineParts
from stts_runtime.proof.finding import Finding
from stts_runtime.proof.streamed import widen
from stts_runtime.proof.vision_stage import compare_choice, compare_scores, compare_tokens
from stts_runtime.references.bars import Bar, relative_error, rounding_of
from stts_runtime.references.example import example_features
from stts_runtime.references.geometry import Geometry
from stts_runtime.references.layout import budget_of
from stts_runtime.references.reference import Reference, VisionCase

_Bools = NDArray[np.bool_]


class VisionCheck:
    """One variant of one engine."""

    def __init__(self, engine: EngineParts, reference: Reference, variant: str) -> None:
        self._engine, self._reference, self.variant = engine, reference, variant
        self._geometry = Geometry.of(engine.bundle.manifest)
        self.bar: Bar = rounding_of(engine.bundle, engine.graph(vision_part(variant)))
        self.case = reference.vision(variant)
        self.output: VisionOutput | None = None
        """What the engine gave; on the device until it runs again."""
        self._loaded: VisionEngine | None = None

    def findings(self) -> Iterator[Finding]:
        budget = budget_of(self.variant, self._reference.about, self._geometry)
        if budget is None:
            yield from self._frame(self._geometry.live[self.variant])
        else:
            yield from self._window(budget)

    def _window(self, budget: TokenBudget) -> Iterator[Finding]:
        case, chooses = self.case, budget.keep < 1 and budget.scope != "given"
        # Kept for as long as this: what it gave is in its memory.
        self._loaded = engine = self._engine.vision(self.variant)
        for _ in range(self._engine.runs):
            self.output = engine.run(case.frames, case.kept if budget.scope == "given" else None)
        assert self.output is not None
        got = self.output
        if case.scores is not None and got.scores is not None:
            yield compare_scores(self._engine.name, self.variant, got.scores, case.scores, self.bar)
        if chooses:
            wanted = VisionOutput(None, case.kept, case.scores)
            yield compare_choice(self._engine.name, self.variant, budget, got, wanted, self.bar)
        yield self._tokens(engine.downloaded(got), got.kept)

    def _frame(self, budget: IncrementalBudget) -> Iterator[Finding]:
        case, name = self.case, self._engine.name
        engine = self._engine.frame(self.variant)
        previous = example_features(self._geometry.groups, self._geometry.pooled_width)
        for _ in range(self._engine.runs):
            (got,) = engine.run([FrameInput(case.frames[0], previous)])
        assert case.scores is not None
        yield compare_scores(name, self.variant, got.scores[None], case.scores, self.bar)
        if not budget.is_key:
            wanted = _after_key_frame(case.scores[0], case.kept[0])
            yield compare_choice(
                name, self.variant, budget.pair, _after_key_frame(got.scores, got.kept), wanted, self.bar
            )
        yield self._tokens(widen(got.visual_tokens), got.kept[None])
        yield self._handed_on(got, case)

    def _tokens(self, tokens: NDArray[np.float32], kept: _Bools) -> Finding:
        """Compares the frames in which both keep the same groups: after the cut a frame sees nothing but itself."""
        same = (kept == self.case.kept).all(axis=1)
        ours, theirs = (_rows_of(side, same) for side in (kept, self.case.kept))
        got, wanted = self._reference.shrink(tokens)[ours], self.case.tokens[theirs]
        where = f"in {same.sum()} of {len(same)} frames with the same groups"
        if not same.any():
            # A single frame that differs at the cut: nothing is left to compare.
            return self._finding("visual tokens", 0.0, "not comparable: other groups are kept")
        return compare_tokens(self._engine.name, self.variant, got, wanted, self.bar, where)

    def _handed_on(self, got: IncrementalOutput, case: VisionCase) -> Finding:
        assert case.pooled is not None
        assert case.change is not None
        pooled = relative_error(self._reference.shrink(got.pooled), case.pooled)
        change = relative_error(got.change, case.change)
        measured = f"features error {pooled:.1e}, change error {change:.1e}"
        return self._finding("for the next frame", float(np.maximum(pooled, change)), measured)

    def _finding(self, stage: str, error: float, measured: str) -> Finding:
        return Finding(
            subject=self._engine.name,
            variant=self.variant,
            stage=stage,
            status="ok" if error <= self.bar.features else "missed",
            measured=measured,
            value=error if np.isfinite(error) else None,
            bar=f"<= {self.bar.features:g}",
        )


def _rows_of(kept: _Bools, frames: _Bools) -> _Bools:
    """Which visual tokens (K,) are of these frames (T,)."""
    return np.repeat(frames, kept.sum(axis=1))


def _after_key_frame(scores: NDArray[np.float32], kept: _Bools) -> VisionOutput:
    """One frame (G,) as the second of a window whose first is whole."""
    whole = np.ones_like(kept)
    return VisionOutput(None, np.stack([whole, kept]), np.stack([np.ones_like(scores), scores]))
