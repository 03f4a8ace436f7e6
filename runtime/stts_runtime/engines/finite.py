"""Whether what an engine chose by are numbers.

Weights that are damaged, or products that overflow, give NaN or infinity, and a choice among those is one all the same:
the same groups for every picture, and token 0 again and again, which reads "!!!!".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stts_runtime.engines.interfaces import LanguageEngine
from stts_runtime.errors import EngineError

_WHAT_TO_DO = (
    "are no numbers (NaN or infinite): weights are damaged, or too large for the engine's precision; "
    "`stts-runtime check BUNDLE` says which part is wrong, and building the bundle again, with --precision bf16 for a "
    "GPU, may help"
)


def check_logits(engine: LanguageEngine) -> None:
    """Raises `EngineError` unless the token that was chosen last was chosen among numbers. Some are -inf on purpose."""
    checked_logits(engine)


def checked_logits(engine: LanguageEngine) -> NDArray[np.float32]:
    """(vocabulary,): the engine's logits. Raises `EngineError` as `check_logits` does."""
    logits = engine.logits()
    # The largest of an array is NaN if one of it is. NaN in a cache makes it of all that comes later.
    if not np.isfinite(logits.max()):
        raise EngineError(f"the language model's logits {_WHAT_TO_DO}")
    return logits


def check_scores(scores: NDArray[np.float32] | None) -> None:
    """Raises `EngineError` unless groups were chosen by numbers; None where nothing was scored."""
    if scores is not None and not np.isfinite(scores).all():
        raise EngineError(f"the token scorer's scores {_WHAT_TO_DO}")
