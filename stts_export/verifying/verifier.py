"""One comparison of a bundle with its checkpoint, stage by stage. Read from `Verifier.findings` down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stts_export.building.frames import Frames, frames_from
from stts_export.checkpoint import Checkpoint, LazyModules
from stts_export.checkpoint.layouts import HUGGING_FACE
from stts_export.checkpoint.lazy_weights import real_weights
from stts_export.modules.config import ScorerConfig
from stts_export.molmo2 import compare as molmo2
from stts_export.verifying.deviations import half_finding, other_positions, positions_finding, refill_finding
from stts_export.verifying.overflow import computes_in_fp16, scan_for_overflow
from stts_export.verifying.reference import ReferenceLanguage, reference_vision
from stts_export.verifying.request import VerifyRequest
from stts_export.verifying.subjects import Subject, subjects_of
from stts_export.verifying.weights import compare_weights
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, VISION
from stts_runtime.engines.interfaces import LanguageEngine, VisionOutput
from stts_runtime.errors import SttsError, UserError
from stts_runtime.progress import Progress
from stts_runtime.prompt import PromptBuilder
from stts_runtime.proof.finding import Finding
from stts_runtime.proof.language_stage import Prompted, Said, compare_logits, compare_text, difference, said
from stts_runtime.proof.streamed import live_windows
from stts_runtime.proof.vision_stage import compare_choice, compare_scores, compare_tokens
from stts_runtime.tell import Tell


@dataclass(frozen=True)
class Expected:
    """What the modules make of one variant's window."""

    budget: TokenBudget
    frames: Frames
    seen: VisionOutput
    prompted: Prompted
    said: Said


class Verifier:
    """One run. The modules hold placeholders, so `findings` runs inside `real_weights`."""

    def __init__(
        self,
        request: VerifyRequest,
        bundle: Bundle,
        checkpoint: Checkpoint,
        modules: LazyModules,
        tell: Tell,
    ) -> None:
        self.request, self.bundle, self.checkpoint, self.modules = request, bundle, checkpoint, modules
        self.tell = tell
        self.progress = Progress({})
        self.expected: dict[str, Expected] = {}
        """By variant, once `findings` has come to its end."""
        self.prompt = bundle.manifest.prompt
        self.prompts = PromptBuilder.of(bundle)
        self.prompts.check_question(request.question)

    def findings(self) -> Iterator[Finding]:
        with (
            real_weights(self.modules.vision, self.modules.read),
            real_weights(self.modules.language, self.modules.read),
        ):
            frames = {name: self._frames(name) for name in self._variants()}
            yield from compare_weights(self.bundle, self.modules, self.tell)
            subjects, not_run = subjects_of(self.bundle)
            self.progress = Progress(self._planned(list(frames), subjects))
            for name, reason in not_run:
                yield _not_run(name, None, reason)
            self.expected = {name: self._expected(name, window) for name, window in frames.items()}
            # What overflowed in a graph is infinite here, which is a finding and no accident.
            with np.errstate(invalid="ignore", over="ignore"):
                for subject in subjects:
                    yield from self._subject(subject, self.expected)
            yield from self._overflow(self.expected)
            for name, one in self.expected.items():
                # What deviates in a stream, deviates in its window.
                if name in self.bundle.manifest.variants:
                    yield from self._deviations(one)
            yield from self._molmo2(self.expected)

    def _variants(self) -> list[str]:
        """Raises `UserError` for a variant that the bundle does not have."""
        answering = [name for name, variant in self.bundle.manifest.variants.items() if not variant.is_control]
        answering += live_windows(self.bundle)
        for name in self.request.variants:
            if name not in answering:
                raise UserError(f"{self.bundle.folder} has no variant {name}; it has {', '.join(answering)}")
        return [name for name in answering if not self.request.variants or name in self.request.variants]

    def _planned(self, variants: Sequence[str], subjects: Sequence[Subject]) -> dict[str, int]:
        """Steps after the comparison of weights, by kind."""
        budgets = [self._budget(name) for name in variants]
        whole = any(budget.keep == 1 for budget in budgets)
        return {
            "computing": len(variants),
            **{f"running {one.name}": len(set(variants) & set(one.variants())) for one in subjects},
            "scanning": len(variants) if computes_in_fp16(self.bundle) else 0,
            "deviating": sum(
                budget.keep < 1 and name in self.bundle.manifest.variants
                for name, budget in zip(variants, budgets, strict=True)
            ),
            "molmo2": int(whole and self._why_not_molmo2() is None),
        }

    def _begin(self, kind: str, step: str) -> None:
        self.tell(f"{step} (step {self.progress.begin(kind)})")

    def _why_not_molmo2(self) -> str | None:
        has_config = (self.checkpoint.path / HUGGING_FACE).is_file()
        return molmo2.why_not(self.checkpoint.files.values(), has_config)

    def _budget(self, variant: str) -> TokenBudget:
        manifest, live = self.bundle.manifest, live_windows(self.bundle)
        return live[variant] if variant in live else manifest.budget(manifest.variants[variant])

    def _frames(self, variant: str) -> Frames:
        video, max_fps = self.request.frames_from, self.bundle.manifest.max_fps
        try:
            return frames_from(video, self.modules.vision, self._budget(variant), max_fps)
        except SttsError as error:
            raise UserError(f"{error} (for {variant}; --variant chooses others)") from None

    def _expected(self, variant: str, frames: Frames) -> Expected:
        self._begin("computing", f"computing what {variant} must give")
        budget = self._budget(variant)
        seen = reference_vision(self.modules.vision, frames.pixels, budget)
        return Expected(budget, frames, seen, self._prompted(frames, seen), self._said(frames, seen))

    def _said(
        self, frames: Frames, seen: VisionOutput, prompts: PromptBuilder | None = None, max_tokens: int | None = None
    ) -> Said:
        """What the modules answer about visual tokens."""
        prompted = self._prompted(frames, seen, prompts)
        longest = max_tokens or self._room(prompted)
        context = len(prompted.prefix) + len(prompted.asked) + longest
        return said(ReferenceLanguage(self.modules.language, context), prompted, self.prompt.eos_ids, longest)

    def _prompted(self, frames: Frames, seen: VisionOutput, prompts: PromptBuilder | None = None) -> Prompted:
        builder = prompts or self.prompts
        prefix = builder.video(frames.times_seconds, seen.kept)
        return Prompted(seen.visual_tokens, prefix, builder.question(self.request.question, prefix))

    def _room(self, prompted: Prompted) -> int:
        """Tokens that an engine's answer may have: as many as were asked for and fit its context."""
        room = self.bundle.manifest.language.context - len(prompted.prefix) - len(prompted.asked)
        if room < 1:
            raise UserError("the question does not fit the bundle's context together with the video; shorten it")
        return min(room, self.request.max_tokens)

    def _text(self, ids: list[int]) -> str:
        return self.prompts.text(ids)

    def _subject(self, subject: Subject, expected: dict[str, Expected]) -> Iterator[Finding]:
        try:
            language = subject.language()
        except SttsError as error:
            yield _not_run(subject.name, None, str(error))
            return
        for variant in (name for name in expected if name in subject.variants()):
            self._begin(f"running {subject.name}", f"running the {subject.name}, {variant}")
            try:
                yield from self._variant(subject, variant, language, expected[variant])
            except SttsError as error:
                yield _not_run(subject.name, variant, str(error))

    def _variant(self, subject: Subject, variant: str, language: LanguageEngine, one: Expected) -> Iterator[Finding]:
        bar, engine = subject.bar(f"{VISION}.{variant}"), subject.vision(variant)
        got = engine.run(one.frames.pixels)
        tokens = engine.downloaded(got)
        if one.seen.scores is not None and got.scores is not None:
            yield compare_scores(subject.name, variant, got.scores, one.seen.scores, bar)
            yield compare_choice(subject.name, variant, one.budget, got, one.seen, bar)
        # The same choice on both sides, so that one group more or less does not hide what the layers do.
        seen = one.seen
        if not np.array_equal(got.kept, seen.kept):
            seen = reference_vision(self.modules.vision, one.frames.pixels, one.budget, given=got.kept)
        features = compare_tokens(subject.name, variant, tokens, seen.visual_tokens, bar)
        yield features

        prompted = self._prompted(one.frames, got)
        answer = said(language, prompted, self.prompt.eos_ids, self._room(prompted))
        wanted = self._said(one.frames, VisionOutput(tokens, got.kept, got.scores), max_tokens=1)
        language_bar = subject.bar(LANGUAGE)
        yield compare_logits(subject.name, variant, answer.logits[0], wanted.logits[0], language_bar)
        exact = bar.exact and language_bar.exact
        yield compare_text(subject.name, variant, answer, one.said, exact, self._text)
        if not exact:
            differs = difference(answer, one.said, self._text)
            yield half_finding(subject.name, variant, got, one.seen, features.value, differs)

    def _overflow(self, expected: dict[str, Expected]) -> Iterator[Finding]:
        """Over the windows of all variants: each samples other frames."""

        def run() -> None:
            for one in expected.values():
                self._begin("scanning", f"looking for values that fp16 cannot hold, {one.budget.name}")
                seen = reference_vision(self.modules.vision, one.frames.pixels, one.budget)
                self._said(one.frames, seen, max_tokens=1)

        yield from scan_for_overflow(self.bundle, self.modules, run)

    def _deviations(self, one: Expected) -> Iterator[Finding]:
        """Nothing deviates at keep 1, and nobody was trained with refill where no scorer was trained."""
        budget, vision = one.budget, self.modules.vision
        if budget.keep == 1:
            return
        self._begin("deviating", f"measuring what refill and positions change, {budget.name}")
        if budget.scope == "clip" and isinstance(self.checkpoint.config.scorer, ScorerConfig):
            refilled = reference_vision(vision, one.frames.pixels, budget, refill=True)
            answer = self._said(one.frames, refilled)
            yield refill_finding(budget, one.seen, refilled, one.said, answer, self._text)
        other = other_positions(self.prompt.positions)
        builder = PromptBuilder(
            self.bundle.file(self.prompt.tokenizer).read_bytes(), self.prompt.model_copy(update={"positions": other})
        )
        answer = self._said(one.frames, one.seen, builder)
        yield positions_finding(budget.name, self.prompt.positions, one.said, answer, self._text)

    def _molmo2(self, expected: dict[str, Expected]) -> Iterator[Finding]:
        """With the unpruned variant of the fewest frames."""
        unpruned = [one for one in expected.values() if one.budget.keep == 1]
        if not unpruned:
            yield molmo2.not_run(None, "only an unpruned variant can be compared, and none was looked at")
            return
        one = min(unpruned, key=lambda one: one.budget.frames)
        reason = self._why_not_molmo2()
        if reason is not None:
            yield molmo2.not_run(one.budget.name, reason)
            return
        self._begin("molmo2", "running transformers' Molmo2")
        prompted = self._prompted(one.frames, one.seen)
        prompt = np.concatenate([prompted.prefix.ids, prompted.asked.ids])
        answer = molmo2.without_end(one.said, self.prompt.eos_ids)
        folder, model, frames = self.checkpoint.path, self.checkpoint.config, one.frames.pixels
        try:
            yield molmo2.compare_with_molmo2(folder, model, one.budget.name, frames, prompt, answer)
        except molmo2.NotComparableError as error:
            yield molmo2.not_run(one.budget.name, str(error))


def _not_run(subject: str, variant: str | None, reason: str) -> Finding:
    return Finding(subject=subject, variant=variant, stage="all", status="not run", measured="not run", detail=reason)
