"""Two ways of running single tokens, tried with one prompt: whether they agree, and how far apart they are if not.

The prompt is that of the bundle's proof; a bundle of before there were proofs gets made-up tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.prompt import Tokens
from stts_runtime.references.bars import relative_error, swaps_within
from stts_runtime.references.layout import EXAMPLE
from stts_runtime.references.reference import PROOF, Reference

_MADE_UP = 8
"""Tokens, ahead of one that is run both ways."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A prompt, and the tokens behind it that are run one at a time."""

    asked: Tokens
    answer: Tokens
    window: tuple[NDArray[np.float32], Tokens] | None = None
    """Visual tokens (V, width), and the prefix that refers to them."""

    @classmethod
    def of(cls, bundle: Bundle) -> Trial:
        """Raises `BundleError` for a damaged proof."""
        if PROOF not in bundle.manifest.files:
            return cls.made_up()
        reference = Reference.open(bundle.file(PROOF), bundle.manifest)
        if EXAMPLE not in reference.about.language:
            return cls.made_up()
        case = reference.language(EXAMPLE)
        start, count = case.asked.next_position, len(case.answer_ids)
        answer = Tokens(case.answer_ids, np.arange(start, start + count), start + count)
        return cls(case.asked, answer, (case.visual, case.prefix))

    @classmethod
    def made_up(cls) -> Trial:
        numbers = np.arange(_MADE_UP + 1, dtype=np.int64)
        asked, answer = (Tokens(part, part, _MADE_UP + 1) for part in (numbers[:-1], numbers[-1:]))
        return cls(asked, answer)


def disagreement(wanted: Sequence[NDArray[np.float32]], got: Sequence[NDArray[np.float32]], bar: float) -> str | None:
    """A clause on logits (vocabulary,) behind each token, of ONNX Runtime and of kernels; None if rounding explains it.

    `bar` is of the norm of a difference over the norm of what is wanted.
    """
    for number, (theirs, ours) in enumerate(zip(wanted, got, strict=True), 1):
        error = relative_error(ours, theirs)
        if not error <= bar:
            return f"its logits are {error:.1e} from ONNX Runtime's behind token {number}, and {bar:g} is allowed"
        second, first = np.partition(theirs, -2)[-2:]
        if np.argmax(ours) != np.argmax(theirs) and first - second > swaps_within(bar, theirs):
            return (
                f"it chooses token {np.argmax(ours)} and ONNX Runtime {np.argmax(theirs)} behind token {number}, which "
                f"is {first - second:.1e} ahead"
            )
    return None
