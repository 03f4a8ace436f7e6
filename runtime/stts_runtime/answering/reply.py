"""What a question gets: an answer in text, and its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stts_runtime.answering.choices import ScoredChoices
from stts_runtime.answering.form import TokenLogprob
from stts_runtime.answering.generation import Generation
from stts_runtime.answering.schema import SchemaState

Finish = Literal["end", "length"]
"""`end`: the model ended its text; `length`: the token budget or the context was used up."""


@dataclass(frozen=True)
class Reply:
    """An answer in text, and its cost."""

    question: str
    text: str
    generation: Generation
    prompt_tokens: int
    """Tokens of the window, earlier turns and the question together."""
    cached_tokens: int
    """Those of them that were in the cache already."""
    milliseconds: dict[str, float]
    """`prefill_video`, which the first question about a window pays, `prefill_question` and `decode`."""
    reused_prefix: bool
    """Whether an earlier question paid for the window."""
    choices: ScoredChoices | None = None
    logprobs: Sequence[TokenLogprob] | None = None
    """Log probabilities of the tokens of `generation` except its end, if requested."""
    schema: SchemaState | None = None
    """That the answer was kept to, as it is at its end."""
    turns: int = 0
    """Questions with their answers that went before."""

    @property
    def finish(self) -> Finish:
        return "end" if self.generation.ended else "length"

    @property
    def only_shares_the_window(self) -> bool:
        """Whether it found the window in the cache, and is no part of a conversation."""
        return self.reused_prefix and not self.turns
