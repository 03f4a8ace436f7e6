"""How likely each of several answers is, of all that the model could say.

All choices of a question are one tree of tokens. What the model gives for the token after a node serves all branches
there, so a call is made for each place where more than a choice's last token is still to come: none besides the
question's own for choices of one token each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answering.calls import Calls
from stts_runtime.engines import LanguageEngine
from stts_runtime.engines.finite import checked_logits
from stts_runtime.errors import PromptError
from stts_runtime.prompt import Tokens

MOST_CALLS = 256
"""Most language engine calls for one answer: as many as the longest text that a server gives by default."""
_IMPOSSIBLE = -9999.0


@dataclass(frozen=True)
class ScoredChoices:
    """Scores of choices, in the order in which they were given."""

    choices: tuple[str, ...]
    logprobs: tuple[float, ...]
    """Natural logarithms of the probability that the model's answer begins with the choice. One that others begin with
    also has to end there, so that no answer counts twice. As with `finite`."""
    calls: int
    """Language engine calls, including that of the question."""

    @property
    def probabilities(self) -> list[float]:
        """Probability of each choice, given that the answer is one of them; they sum to 1."""
        values = np.exp(np.array(self.logprobs) - max(self.logprobs))
        shares: list[float] = (values / values.sum()).tolist()
        return shares

    @property
    def covered(self) -> float:
        """The probability that it is one of them. Where it is low, the model would rather say something else."""
        return min(1.0, math.fsum(math.exp(one) for one in self.logprobs))

    @property
    def likeliest(self) -> int:
        """Index of the likeliest choice; the first of equals."""
        return int(np.argmax(self.logprobs))


@dataclass(eq=False)
class _Node:
    """A beginning that one or more choices share."""

    branches: dict[int, _Node] = field(default_factory=dict)
    ends: int | None = None
    """The choice that is over here."""


def finite(logprob: float) -> float:
    """JSON has no infinity; OpenAI's -9999 stands for what cannot be."""
    return float(logprob) if math.isfinite(logprob) else _IMPOSSIBLE


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(vocabulary,) -> natural logarithms of probabilities."""
    values = logits.astype(np.float64)
    values -= values.max()
    values -= math.log(np.exp(values).sum())
    return values


def check_choices(choices: Mapping[str, Sequence[int]]) -> None:
    """`choices` with their tokens. Raises `PromptError` if two have the same, or all together need too many calls."""
    first: dict[tuple[int, ...], str] = {}
    for choice, ids in choices.items():
        if (other := first.setdefault(tuple(ids), choice)) != choice:
            raise PromptError(f"the choices {other!r} and {choice!r} are the same tokens to the model; leave out one")
    if (calls := _calls(_tree(list(choices.values())))) > MOST_CALLS:
        raise PromptError(
            f"these choices take {calls:,} calls of the language model for every answer, and at most {MOST_CALLS} are "
            "made; give fewer or shorter ones, or ones that begin alike"
        )


def score_choices(
    engine: LanguageEngine,
    next_position: int,
    choices: Sequence[Sequence[int]],
    eos_ids: Collection[int],
    going_on: Callable[[], bool],
) -> Calls[tuple[list[float], int] | None]:
    """Log probabilities of choices of at least one token each, and how many calls they took, after what was asked
    last; the answer's first token has `next_position`. None if `going_on` said False between two calls.

    Raises `EngineError` for NaN.
    """
    asked, calls = engine.length, 0
    totals = [0.0] * len(choices)
    waiting: list[tuple[_Node, tuple[int, ...], float]] = [(_tree(choices), (), 0.0)]
    while waiting:
        node, path, before = waiting.pop()
        if path:
            if not going_on():
                return None
            # What the cache holds up to here was put there by the node before this on the path.
            engine.rewind(asked + len(path) - 1)
            position = next_position + len(path) - 1
            yield Tokens(np.array(path[-1:]), np.array([position]), position + 1)
            calls += 1
        after = log_softmax(checked_logits(engine))
        if node.ends is not None:
            totals[node.ends] = before + float(np.logaddexp.reduce(after[list(eos_ids)]))
        for token, branch in node.branches.items():
            total = before + float(after[token])
            if branch.branches:
                waiting.append((branch, (*path, token), total))
            else:
                assert branch.ends is not None
                totals[branch.ends] = total
    return [finite(total) for total in totals], calls


def _tree(choices: Sequence[Sequence[int]]) -> _Node:
    root = _Node()
    for number, ids in enumerate(choices):
        node = root
        for token in ids:
            node = node.branches.setdefault(token, _Node())
        assert node.ends is None, "two choices of the same tokens"
        node.ends = number
    return root


def _calls(root: _Node) -> int:
    """One for every beginning that goes on, the empty one included."""
    calls, waiting = 0, [root]
    while waiting:
        node = waiting.pop()
        calls += bool(node.branches)
        waiting.extend(node.branches.values())
    return calls
