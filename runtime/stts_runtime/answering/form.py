"""What an answer should be like: free text, one of several choices, or JSON of a schema; and what is told of it.

It knows neither questions nor engines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stts_runtime.errors import UserError

if TYPE_CHECKING:
    from stts_runtime.answering.schema import Schema

MOST_CHOICES = 64
MOST_TOP_LOGPROBS = 20
_HOTTEST = 2.0
_MOST_CHARACTERS = 400


@dataclass(frozen=True)
class Sampling:
    """How a token is taken from the model's probabilities, with the names and ranges that OpenAI's API has."""

    temperature: float = 0.0
    """0 takes the likeliest."""
    top_p: float = 1.0
    """Only the likeliest tokens that have so much probability together are drawn from."""
    seed: int | None = None
    """The same seed draws the same text from the same window; None draws another each time."""

    def __post_init__(self) -> None:
        """Raises `UserError` for what is out of range."""
        for name, most in (("temperature", _HOTTEST), ("top_p", 1.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= most):
                raise UserError(f"{name} should be a number from 0 to {most:g}, got {value:g}")

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0 or self.top_p == 0


@dataclass(frozen=True)
class TokenLogprob:
    """A token that was taken, and how likely the model held it and others, whatever was allowed or drawn."""

    token: int
    content: bytes
    """What it adds to the text; of a character of several tokens, its part."""
    logprob: float
    """Natural logarithm of its probability."""
    top: Sequence[tuple[bytes, float]]
    """The likeliest tokens, what they would add and theirs, from the likeliest on."""


def _unheard(_: TokenLogprob) -> None:
    """For those who read them at the end."""


@dataclass(frozen=True)
class AnswerForm:
    """The default is free text of the likeliest tokens."""

    sampling: Sampling = Sampling()
    choices: tuple[str, ...] = ()
    """The answer is one of these; see `checked_choices`."""
    schema: Schema | None = None
    """The answer is JSON that it allows."""
    top_logprobs: int | None = None
    """Log probabilities of the answer's tokens, and of this many alternatives to each; None: none."""
    on_logprob: Callable[[TokenLogprob], None] = _unheard
    """Hears of every token before `OnToken` does, if `top_logprobs` is given."""

    def __post_init__(self) -> None:
        """Raises `UserError` for what does not go together."""
        if self.top_logprobs is not None and not 0 <= self.top_logprobs <= MOST_TOP_LOGPROBS:
            raise UserError(f"top_logprobs should be a number from 0 to {MOST_TOP_LOGPROBS}, got {self.top_logprobs}")
        if not self.choices:
            return
        if self.schema is not None:
            raise UserError("choices and a schema exclude each other: leave out one of the two")
        if self.top_logprobs is not None:
            raise UserError("choices come with a probability each: leave out logprobs")
        if not self.sampling.is_greedy:
            raise UserError("an answer among choices is the likeliest of them: leave out temperature")


FREE = AnswerForm()


def checked_choices(given: object, place: str = "choices") -> tuple[str, ...]:
    """From 2 to 64 texts that differ, or one text with commas between them: `yes,no`. Blanks around each are left out.

    Raises `UserError` that says at which `place` what is wrong.
    """
    listed = given.split(",") if isinstance(given, str) else given
    if not isinstance(listed, list | tuple):
        raise UserError(f"{place} should be a list of texts, or a text such as yes,no")
    choices = [_choice(one, f"{place}[{number}]") for number, one in enumerate(listed)]
    if not 2 <= len(choices) <= MOST_CHOICES:
        raise UserError(f"{place} should have from 2 to {MOST_CHOICES} of them, as yes,no has; got {len(choices)}")
    seen: dict[str, int] = {}
    for number, choice in enumerate(choices):
        if (first := seen.setdefault(choice, number)) != number:
            raise UserError(f"{place}[{number}] is {choice!r}, which {place}[{first}] is already; name each once")
    return tuple(choices)


def _choice(given: object, place: str) -> str:
    if isinstance(given, bool):
        raise UserError(f'{place} should be text in quotes, for YAML reads yes and no as true and false: ["yes", "no"]')
    if not isinstance(given, str):
        raise UserError(f"{place} should be text, got {type(given).__name__}")
    choice = given.strip()
    if not choice:
        raise UserError(f"{place} is empty; a choice has at least one character")
    if len(choice) > _MOST_CHARACTERS:
        raise UserError(f"{place} has {len(choice)} characters, and a choice may have {_MOST_CHARACTERS}")
    return choice
