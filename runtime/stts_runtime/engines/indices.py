"""What depends on the number of tokens of a call, for language graphs that take it as inputs.

TensorRT 8.6 refuses comparisons of shapes, and its running sums are loops of as many steps as there are tokens; on the
host both cost microseconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INDICES = ("slots", "start", "last", "visual_rows")
"""Names of these inputs."""


def indices_of(token_ids: NDArray[np.int64], start: int, image_patch_id: int) -> dict[str, NDArray[np.int64]]:
    """By name, for tokens (L,), of which the first goes to slot `start`.

    `slots` (L,) are the slots of all tokens, `start` and `last` (1,) the first and the last of them, and `visual_rows`
    (L,) the rows of the visual tokens that are added: the n-th image patch takes the n-th, other tokens name row 0.
    """
    slots = np.arange(start, start + len(token_ids), dtype=np.int64)
    is_patch = token_ids == image_patch_id
    rows = np.where(is_patch, np.cumsum(is_patch) - 1, 0)
    return {"slots": slots, "start": slots[:1], "last": slots[-1:], "visual_rows": rows}
