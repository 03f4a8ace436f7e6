"""A clip that was looked at: questions about it, each by itself, or one after the other in a conversation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answering import FREE, AnswerForm, TextStream, Turn, go_on
from stts_runtime.arguments import as_count, as_history, as_questions, check_callable
from stts_runtime.forms import FormArguments, Forms
from stts_runtime.overlay import Pictured, in_words
from stts_runtime.point_records import PointRecord
from stts_runtime.records import Answer
from stts_runtime.session import Session, Watched
from stts_runtime.video import Window

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Viewing(Pictured):
    """A clip that was looked at. It can be asked about until the model looks at something else."""

    def __init__(self, session: Session, watched: Watched, forms: Forms) -> None:
        self._session, self._watched, self._forms = session, watched, forms
        self.window, self.kept = watched.window, watched.vision.kept
        """The frames, and which of their groups (T, G) were kept."""
        self.points: list[PointRecord] = []
        """What the answers so far point to; pictures show it."""

    def _pointed_at(self) -> Sequence[PointRecord]:
        return self.points

    def _looked_at(self) -> tuple[Window, NDArray[np.bool_], str]:
        scorer = self._session.scorer
        return self.window, self.kept, in_words(self._session.variant, trained=scorer is None or scorer.trained)

    def check(self, questions: Sequence[str], form: AnswerForm = FREE, max_tokens: int = 64) -> None:
        """Raises `PromptError` if a question cannot be asked about this clip, or not be answered in this form."""
        self._session.check_questions(questions, self._watched, form, max_tokens)

    def ask(
        self,
        question: str,
        *,
        max_tokens: int = 64,
        on_token: Callable[[str], None] | None = None,
        history: Sequence[tuple[str, str]] = (),
        **form: Unpack[FormArguments],
    ) -> Answer:
        """As `Model.ask`; `history` are questions with their answers that this one follows.

        Raises `UserError` if the model has looked at something else since.
        """
        (text,), longest, turns = as_questions([question]), as_count("max_tokens", max_tokens), as_history(history)
        check_callable("on_token", on_token)
        return self.answer(text, longest, on_token, self._forms.of(form), turns)

    def chat(self) -> Chat:
        """A conversation about this clip."""
        return Chat(self)

    def answer(
        self,
        question: str,
        max_tokens: int,
        on_token: Callable[[str], None] | None,
        form: AnswerForm,
        history: Sequence[Turn] = (),
    ) -> Answer:
        """As `ask`, with arguments that were checked before."""
        if on_token is None:
            answer = self._session.ask(self._watched, question, max_tokens, go_on, form, history)
        else:
            growing = TextStream(self._session.text, (), on_token)
            answer = self._session.ask(self._watched, question, max_tokens, growing, form, history)
            if rest := growing.rest(answer.answer):
                on_token(rest)
        self.points += answer.points
        return answer


class Chat:
    """Turns about a clip that was looked at, for as long as it can be asked about."""

    def __init__(self, viewing: Viewing) -> None:
        self._viewing = viewing
        self.turns: list[Turn] = []
        """Questions with their answers, the oldest first. What is taken out is forgotten."""

    def ask(
        self,
        question: str,
        *,
        max_tokens: int = 64,
        on_token: Callable[[str], None] | None = None,
        **form: Unpack[FormArguments],
    ) -> Answer:
        """As `Viewing.ask`. Raises `ContextError` once the conversation is longer than the context; its turns stay as
        they are.
        """
        answer = self._viewing.ask(question, max_tokens=max_tokens, on_token=on_token, history=self.turns, **form)
        self.turns.append(Turn(question, answer.answer))
        return answer
