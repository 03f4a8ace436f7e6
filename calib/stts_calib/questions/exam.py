"""What is asked of every setting: videos with their questions, and in which form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from stts_calib.accuracy.settings import Setting
from stts_calib.questions.question import LETTERS, LeftOut, OwnQuestion
from stts_runtime.answering import FREE, AnswerForm, check_askable
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import EngineName
from stts_runtime.errors import PromptError
from stts_runtime.prompt import PromptBuilder


class OptionsAsked(str, Enum):
    """How a question with options is put, and what counts as its answer."""

    letters = "letters"
    """Options are listed under the question with letters; the likeliest letter."""
    texts = "texts"
    """The question alone; the likeliest of the options' texts."""
    generated = "generated"
    """Listed as with letters; what the model writes, if it begins with a letter or is an option's text."""


@dataclass(frozen=True)
class AskedVideo:
    """A video, or a part of one, with all questions about it."""

    path: str
    part: tuple[float, float] | None
    questions: tuple[OwnQuestion, ...]


@dataclass(frozen=True)
class QuestionExam:
    """The same questions for every setting. Videos have numbers from 0 on."""

    settings: tuple[Setting, ...]
    engine: EngineName
    videos: tuple[AskedVideo, ...]
    options: OptionsAsked
    max_tokens: int
    """Length limit of a generated answer."""

    def text(self, question: OwnQuestion) -> str:
        """With the words around it that Video-MME's and others' own scripts use."""
        if not question.options or self.options is OptionsAsked.texts:
            return question.text
        listed = [f"{letter}. {option}" for letter, option in zip(LETTERS, question.options, strict=False)]
        wanted = "Answer with the option's letter from the given choices directly."
        return "\n".join([question.text, *listed, wanted])

    def form(self, question: OwnQuestion) -> AnswerForm:
        if not question.options or self.options is OptionsAsked.generated:
            return FREE
        texts = self.options is OptionsAsked.texts
        return AnswerForm(choices=question.options if texts else tuple(LETTERS[: len(question.options)]))


def videos_of(questions: Sequence[OwnQuestion]) -> tuple[AskedVideo, ...]:
    """In the order in which the videos come first."""
    grouped: dict[tuple[str, tuple[float, float] | None], list[OwnQuestion]] = {}
    for one in questions:
        grouped.setdefault((one.video, one.part), []).append(one)
    return tuple(AskedVideo(path, part, tuple(asked)) for (path, part), asked in grouped.items())


def askable(bundle: Bundle, exam: QuestionExam) -> tuple[list[OwnQuestion], list[LeftOut]]:
    """Those that the bundle can be asked, before any video is read, and why it cannot the others."""
    prompts = PromptBuilder.of(bundle)
    good: list[OwnQuestion] = []
    left_out: list[LeftOut] = []
    for one in (question for video in exam.videos for question in video.questions):
        if reason := _refusal(prompts, exam, one):
            left_out.append(LeftOut(one.place, reason))
        else:
            good.append(one)
    return good, left_out


def _refusal(prompts: PromptBuilder, exam: QuestionExam, question: OwnQuestion) -> str:
    try:
        check_askable(prompts, [exam.text(question)], exam.form(question), exam.max_tokens)
    except PromptError as error:
        return str(error)
    return ""
