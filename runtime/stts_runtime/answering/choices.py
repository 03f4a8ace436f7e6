"""How likely each of several answers is, of all that the model could say.

All choices of a question are one tree of tokens. What the model gives for the token after a node serves all branches
there, so a call is made for each place where more than a choice's last token is still to come: none beside the
question's own for choices of one token each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stts_runtime.engines import LanguageEngine
from stts_runtime.prompt import Tokens


@dataclass(frozen=True)
class ScoredChoices:
    """Of choices in the order in which they were given."""

    choices: tuple[str, ...]
    logprobs: tuple[float, ...]
    """Natural logarithms of the probability that the model's answer begins with the choice. One that others begin with
    also has to end there, so that no answer counts twice."""
    calls: int
    """Of the language engine, the question's own included."""

    @property
    def probabilities(self) -> list[float]:
        """Of each, provided that it is one of them; they sum to 1."""
        values = np.exp(np.array(self.logprobs) - max(self.logprobs))
        shares: list[float] = (values / values.sum()).tolist()
        return shares

    @property
    def covered(self) -> float:
        """The probability that it is one of them. Where it is low, the model would rather say something else."""
        return min(1.0, math.fsum(math.exp(one) for one in self.logprobs))

    @property
    def likeliest(self) -> int:
        """Of equals the first."""
        return int(np.argmax(self.logprobs))


@dataclass(eq=False)
class _Node:
    """A beginning that one or more choices share."""

    branches: dict[int, _Node] = field(default_factory=dict)
    ends: int | None = None
    """The choice that is over here."""


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """(vocabulary,) -> natural logarithms of probabilities."""
    values = logits.astype(np.float64)
    values -= values.max()
    values -= math.log(np.exp(values).sum())
    return values


def score_choices(
    engine: LanguageEngine,
    next_position: int,
    choices: Sequence[Sequence[int]],
    eos_ids: Collection[int],
    going_on: Callable[[], bool],
) -> tuple[list[float], int] | None:
    """Log probabilities of choices of at least one token each, and how many calls they took, behind what was asked
    last; the answer's first token has `next_position`. None if `going_on` said False between two calls.
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
            engine.forward(Tokens(np.array(path[-1:]), np.array([position]), position + 1))
            calls += 1
        after = log_softmax(engine.logits())
        if node.ends is not None:
            totals[node.ends] = before + float(np.logaddexp.reduce(after[list(eos_ids)]))
        for token, branch in node.branches.items():
            total = before + float(after[token])
            if branch.branches:
                waiting.append((branch, (*path, token), total))
            else:
                assert branch.ends is not None
                totals[branch.ends] = total
    return totals, calls


def _tree(choices: Sequence[Sequence[int]]) -> _Node:
    root = _Node()
    for number, ids in enumerate(choices):
        node = root
        for token in ids:
            node = node.branches.setdefault(token, _Node())
        node.ends = number
    return root
