"""A conversation about one clip: every question is asked behind the questions and answers before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stts_runtime.answering import Turn
from stts_runtime.records import Answer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from stts_runtime.forms import FormArguments
    from stts_runtime.model import Viewing


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
