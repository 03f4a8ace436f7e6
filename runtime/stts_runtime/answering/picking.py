"""Which token is taken, and how likely it was: the likeliest, one that is drawn, or the likeliest that a schema allows.

The engine's own choice is the likeliest token. Logits are fetched from where the engine has them only for a token that
needs them: for free text none, besides the two looks at each answer's logits that tell whether they are numbers
(`Conversation.ask`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answering.choices import finite, log_softmax
from stts_runtime.answering.form import AnswerForm, Sampling, TokenLogprob
from stts_runtime.engines import LanguageEngine


class Picker:
    """Takes the tokens of one answer, in their order."""

    def __init__(self, form: AnswerForm, token_bytes: Callable[[int], bytes] = bytes) -> None:
        """`token_bytes` gives what a token adds to the text, for log probabilities."""
        self._form, self._token_bytes = form, token_bytes
        self.schema = None if form.schema is None else form.schema.start()
        self._draw = None if form.sampling.is_greedy else _Draw(form.sampling)
        self.logprobs: list[TokenLogprob] | None = None if form.top_logprobs is None else []

    @property
    def done(self) -> bool:
        """Whether nothing more may follow."""
        return self.schema is not None and self.schema.done

    @property
    def whole(self) -> bool:
        """Whether the answer is complete. Unknown for free text."""
        return self.schema is not None and self.schema.is_whole

    def take(self, engine: LanguageEngine, likeliest: int, room: int) -> list[int]:
        """The next token, and with a schema what has to follow it; `likeliest` is the engine's own choice.

        `room` is how many tokens may follow the next one. Raises `EngineError` if the schema's library gives up.
        """
        picked = [self._picked(engine, likeliest)]
        if self.schema is not None:
            # What has to follow is not computed, and has no log probability.
            picked = self.schema.take(picked[0], room, go_on=self.logprobs is None)
        if self.logprobs is not None and self._form.top_logprobs is not None:
            self.logprobs.append(self._logprob(engine.logits(), picked[0], self._form.top_logprobs))
            self._form.on_logprob(self.logprobs[-1])
        return picked

    def _picked(self, engine: LanguageEngine, likeliest: int) -> int:
        if self._draw is None and (self.schema is None or self.schema.allows(likeliest)):
            return likeliest
        logits = engine.logits()
        if self.schema is not None:
            logits = np.where(self.schema.allowed(len(logits)), logits, -np.inf)
        return int(np.argmax(logits)) if self._draw is None else self._draw(logits)

    def _logprob(self, logits: NDArray[np.float32], token: int, count: int) -> TokenLogprob:
        values = log_softmax(logits)
        first = np.argpartition(-values, count)[:count] if count < len(values) else np.arange(len(values))
        # Of equals the lower number is first, as with the engine's own choice.
        order = sorted(first.tolist(), key=lambda one: (-values[one], one))
        top = [(self._token_bytes(one), finite(values[one])) for one in order]
        return TokenLogprob(token, self._token_bytes(token), finite(values[token]), top)


class _Draw:
    """Draws tokens at a temperature from the likeliest that have `top_p` together."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        seed = sampling.seed
        # OpenAI's seeds may be negative.
        self._random = np.random.default_rng(None if seed is None else seed % (1 << 64))

    def __call__(self, logits: NDArray[np.floating]) -> int:
        # What is far below the largest may overflow to -inf, which is as unlikely as it should be.
        with np.errstate(over="ignore"):
            scaled = (logits.astype(np.float64) - logits.max()) / self._sampling.temperature
        probabilities = np.exp(log_softmax(scaled))
        order = np.argsort(-probabilities, kind="stable")
        sums = np.cumsum(probabilities[order])
        # At least one, and the one with which the share is reached.
        count = int(np.searchsorted(sums, self._sampling.top_p * sums[-1])) + 1
        place = np.searchsorted(sums[:count], self._random.random() * sums[:count][-1], side="right")
        return int(order[min(int(place), count - 1)])
