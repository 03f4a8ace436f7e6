"""A subject's language model against the modules: prefill logits, and the text that comes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answering import fill, generate
from stts_runtime.engines.interfaces import LanguageEngine
from stts_runtime.prompt import Tokens
from stts_runtime.proof.finding import Finding
from stts_runtime.references.bars import Bar, relative_error


class Said(NamedTuple):
    """A greedy answer, with what each of its tokens was chosen from."""

    ids: list[int]
    logits: list[NDArray[np.float32]]


class Prompted(NamedTuple):
    """A window's visual tokens, as the engine takes them, and the prompt around them."""

    visual_tokens: Any
    prefix: Tokens
    asked: Tokens


def said(engine: LanguageEngine, prompted: Prompted, eos_ids: Collection[int], max_tokens: int) -> Said:
    """Answers greedily, from an empty cache; at least one token."""
    logits: list[NDArray[np.float32]] = []

    def keep_logits(_: Sequence[int]) -> bool:
        logits.append(engine.logits().copy())
        return True

    fill(engine, prompted.visual_tokens, prompted.prefix)
    made = generate(engine, len(prompted.prefix), prompted.asked, eos_ids, max_tokens, keep_logits)
    return Said(made.ids, logits)


def compare_logits(
    subject: str, variant: str, got: NDArray[np.float32], wanted: NDArray[np.float32], bar: Bar
) -> Finding:
    """Logits (vocabulary,) for the first token of the answer."""
    error = relative_error(got, wanted)
    return Finding(
        subject=subject,
        variant=variant,
        stage="prefill logits",
        status="ok" if error <= bar.logits else "missed",
        measured=f"error {error:.1e} from the same visual tokens",
        value=error if np.isfinite(error) else None,
        bar=f"<= {bar.logits:g}",
        detail=None if np.isfinite(got).all() else "logits are not finite: an overflow in the language model",
    )


def difference(got: Said, wanted: Said, text: Callable[[list[int]], str]) -> str | None:
    """The first token that differs and how likely the modules find both there; None where the texts are equal."""
    for place, (ours, theirs) in enumerate(zip(got.ids, wanted.ids, strict=False)):
        if ours != theirs:
            likely = _probabilities(wanted.logits[place])
            return (
                f"differs from token {place + 1} on: {text([ours])!r} ({likely[ours]:.3f}) "
                f"instead of {text([theirs])!r} ({likely[theirs]:.3f})"
            )
    return None


def compare_text(
    subject: str, variant: str, got: Said, wanted: Said, exact: bool, text: Callable[[list[int]], str]
) -> Finding:
    """The answers of the two, each from its own visual tokens; `exact` ones have to be equal."""
    differs = difference(got, wanted, text)
    return Finding(
        subject=subject,
        variant=variant,
        stage="text",
        status="ok" if differs is None else "missed" if exact else "note",
        measured=differs or f"the same {len(wanted.ids)} tokens",
        bar="the same" if exact else None,
    )


def _probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    probabilities: NDArray[np.float64] = shifted / shifted.sum()
    return probabilities
