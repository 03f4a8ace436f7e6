"""Questions about many sources, one source after the other: a source that cannot be used does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stts_runtime.answering import FREE, AnswerForm, check_askable
from stts_runtime.bundle import MANIFEST
from stts_runtime.bundle.files import record_of
from stts_runtime.errors import SttsError
from stts_runtime.inputs import Input
from stts_runtime.model import Model
from stts_runtime.prompt import PromptBuilder
from stts_runtime.records import Answer
from stts_runtime.results import AnswerSettings, Results
from stts_runtime.session import Clip, Wanted
from stts_runtime.sources import redacted
from stts_runtime.tell import tell_nobody


@dataclass(frozen=True)
class Failure:
    """Why a source has no answer, or not all of them."""

    source: str
    """Without credentials."""
    error: SttsError

    @property
    def message(self) -> str:
        """Names the source."""
        text = str(self.error)
        return text if self.source in text else f"{self.source}: {text}"


class Batch:
    """The same questions about every source; engines are loaded when the first source needs them."""

    def __init__(
        self,
        model: Model,
        questions: Sequence[str],
        wanted: Wanted,
        max_tokens: int = 64,
        nvdec: bool = False,
        form: AnswerForm = FREE,
    ) -> None:
        """`nvdec` decodes on the GPU what it can. Raises `BundleError` if no clip could be answered about as wanted,
        `PromptError` for a question that cannot be asked about any clip, or not be answered in this form.
        """
        self._form = form
        self._model, self._wanted, self._max_tokens, self._nvdec = model, wanted, max_tokens, nvdec
        self.questions, bundle = list(dict.fromkeys(questions)), model.bundle
        bundle.choose(wanted.keep, wanted.budget, wanted.frames)
        check_askable(PromptBuilder.of(bundle), self.questions, form, max_tokens)

    @property
    def settings(self) -> AnswerSettings:
        """What the answers depend on."""
        wanted, bundle = self._wanted, self._model.bundle
        return AnswerSettings(
            bundle_sha256=record_of(bundle.folder / MANIFEST).sha256,
            engine=self._model.engine,
            keep=bundle.manifest.default_keep if wanted.keep is None else wanted.keep,
            budget=wanted.budget,
            frames=wanted.frames,
            max_tokens=self._max_tokens,
            choices=self._form.choices or None,
            schema_sha256=None if self._form.schema is None else self._form.schema.sha256,
            top_logprobs=self._form.top_logprobs,
        )

    def run(
        self,
        inputs: Sequence[Input],
        results: Results | None = None,
        overlay: Path | None = None,
        begin: Callable[[str], None] = tell_nobody,
    ) -> Iterator[Answer | Failure]:
        """Yields each answer when it is in `results`, which is not asked for again what it holds already.

        `begin` hears of every source that there is something to do about. `overlay` is a picture of one source. Raises
        `SttsError` where going on makes no sense: an engine does not load, or `results` cannot be written.
        """
        for one in inputs:
            questions = self.questions if results is None else results.missing(one.name, self.questions)
            if not questions and overlay is None:
                continue
            begin(redacted(one.name))
            for outcome in self._about(one, questions, overlay):
                if results is not None and isinstance(outcome, Answer):
                    results.add(outcome)
                yield outcome
            if results is not None:
                results.sync()

    def _about(self, one: Input, questions: Sequence[str], overlay: Path | None) -> Iterator[Answer | Failure]:
        source = redacted(one.name)
        try:
            clip = self._clip(one)
        except SttsError as error:
            yield Failure(source, error)
            return
        # An engine that does not load is no fault of the source.
        self._model.session(clip.variant)
        try:
            yield from self._answers(clip, questions, overlay)
        except SttsError as error:
            yield Failure(source, error)

    def _clip(self, one: Input) -> Clip:
        if one.problem is not None:
            raise one.problem
        return Clip.open(self._model.bundle, one.name, self._wanted, self._nvdec)

    def _answers(self, clip: Clip, questions: Sequence[str], overlay: Path | None) -> Iterator[Answer]:
        """The overlay is written as soon as all questions are known to fit, and again once answers point."""
        viewing = self._model.watch(clip)
        viewing.check(questions, self._form, self._max_tokens)
        if overlay is not None:
            viewing.write_picture(overlay)
        for question in questions:
            yield viewing.answer(question, self._max_tokens, None, self._form)
        if overlay is not None and viewing.points:
            viewing.write_picture(overlay)
