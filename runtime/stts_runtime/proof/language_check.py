"""An engine's language model against a reference: logits and choices along the reference's answer, and its own text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answering import fill
from stts_runtime.bundle.contract import LANGUAGE
from stts_runtime.engines.interfaces import LanguageEngine, VisionOutput
from stts_runtime.prompt import PromptBuilder, Tokens
from stts_runtime.proof.engine_parts import EngineParts
from stts_runtime.proof.finding import Finding
from stts_runtime.proof.language_stage import Prompted, Said, compare_text, said
from stts_runtime.proof.vision_check import VisionCheck
from stts_runtime.references.about import Whole
from stts_runtime.references.bars import Bar, relative_error, rounding_of, swaps_within
from stts_runtime.references.reference import LanguageCase, Reference
from stts_runtime.references.signs import MOST_DIRECTIONS, project

_EXACT = 1e-4
"""The bar of what rounds nothing but float32."""


class LanguageCheck:
    """The language model of one engine, loaded once for all prompts."""

    def __init__(self, engine: EngineParts, reference: Reference) -> None:
        self._name, self._reference = engine.name, reference
        self._language: LanguageEngine = engine.language()
        self.bar: Bar = rounding_of(engine.bundle, engine.graph(LANGUAGE))
        self._eos_ids, self._prompts = engine.bundle.manifest.prompt.eos_ids, PromptBuilder.of(engine.bundle)

    def findings(self, prompt: str, variant: str | None = None) -> Iterator[Finding]:
        """From the reference's visual tokens, and along its answer whatever the engine would have chosen."""
        case = self._reference.language(prompt)
        recited = self._recite(case)
        logits = np.stack(recited.logits)
        got = logits if self._reference.whole else project(logits, MOST_DIRECTIONS)
        yield self._logits(got, case, variant)
        yield self._choices(recited.ids, case, variant)

    def text(self, vision: VisionCheck) -> Finding:
        """The greedy answer about the visual tokens that the engine's own vision just gave."""
        whole, output = self._reference.whole, vision.output
        assert whole is not None
        assert output is not None
        case = self._reference.language(vision.variant)
        wanted = Said(case.answer_ids.tolist(), list(case.logits))
        prompted = self._prompted(whole, vision.variant, output)
        got = said(self._language, prompted, self._eos_ids, len(wanted.ids))
        exact = vision.bar.features <= _EXACT and self.bar.logits <= _EXACT
        same_groups = np.array_equal(output.kept, vision.case.kept)
        return compare_text(self._name, vision.variant, got, wanted, exact and same_groups, self._prompts.text)

    def _prompted(self, whole: Whole, variant: str, output: VisionOutput) -> Prompted:
        prefix = self._prompts.video(whole.times_seconds[variant], output.kept)
        return Prompted(output.visual_tokens, prefix, self._prompts.question(whole.question, prefix))

    def _recite(self, case: LanguageCase) -> Said:
        """What the engine would have chosen at every token of the reference's answer."""
        language = self._language
        fill(language, case.visual, case.prefix)
        ids, logits = [language.forward(case.asked)], [language.logits().copy()]
        for place, token in enumerate(case.answer_ids[:-1], start=case.asked.next_position):
            ids.append(language.forward(Tokens(token[None], np.array([place]), place + 1)))
            logits.append(language.logits().copy())
        return Said(ids, logits)

    def _logits(self, got: NDArray[np.float32], case: LanguageCase, variant: str | None) -> Finding:
        errors = [relative_error(ours, theirs) for ours, theirs in zip(got, case.logits, strict=True)]
        worst = float(np.max(errors))
        return Finding(
            subject=self._name,
            variant=variant,
            stage="logits",
            status="ok" if worst <= self.bar.logits else "missed",
            measured=f"error {worst:.1e} at most, after {len(errors)} tokens",
            value=worst if np.isfinite(worst) else None,
            bar=f"<= {self.bar.logits:g}",
            detail=None if np.isfinite(worst) else "logits are not finite: an overflow in the language model",
        )

    def _choices(self, ids: list[int], case: LanguageCase, variant: str | None) -> Finding:
        """Two choices that lie as near to each other as rounding moves logits may be swapped."""
        near = case.gaps <= swaps_within(self.bar.logits, case.logits)
        wrong = np.flatnonzero(np.array(ids) != case.answer_ids)
        details = [
            f"token {place + 1}: {self._prompts.text([ids[place]])!r} instead of "
            f"{self._prompts.text([int(case.answer_ids[place])])!r}, {case.gaps[place]:.1e} apart"
            + (" (within rounding)" if near[place] else "")
            for place in wrong
        ]
        return Finding(
            subject=self._name,
            variant=variant,
            stage="choices",
            status="ok" if near[wrong].all() else "missed",
            measured=f"{len(ids) - len(wrong)} of {len(ids)} the same",
            value=(len(ids) - len(wrong)) / len(ids),
            bar="the same, but for swaps within rounding",
            detail="; ".join(details) or None,
        )
