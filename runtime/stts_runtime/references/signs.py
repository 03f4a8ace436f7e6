"""Signs that are the same for ever, on every machine and with every version of numpy, and projections onto them."""

from __future__ import annotations

import hashlib
from math import prod, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_DIRECTIONS: Final = 64


def signs(word: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """+1 and -1 in equal parts, drawn from SHAKE-256 of a word; longer draws begin as shorter ones do."""
    count = prod(shape)
    drawn = hashlib.shake_256(word.encode()).digest(-(-count // 8))
    bits = np.unpackbits(np.frombuffer(drawn, dtype=np.uint8), count=count)
    return (2.0 * bits - 1).astype(np.float32).reshape(shape)


def project(rows_NW: NDArray[Any], directions: int) -> NDArray[np.float32]:
    """(N, width) -> (N, directions): what is left to compare of rows that are too large to store.

    A random projection keeps the ratio of two norms on average (Johnson and Lindenstrauss), so the error of a
    projection over its norm estimates that of the rows.
    """
    width = rows_NW.shape[1]
    axes = signs("directions", (width, MOST_DIRECTIONS))[:, :directions]
    projected: NDArray[np.float32] = rows_NW.astype(np.float32, copy=False) @ axes / np.float32(sqrt(width))
    return projected
