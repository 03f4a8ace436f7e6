"""How many streams a box bears, measured by its engines' looks when they are loaded."""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np

from stts_runtime.stream.loaded import LoadedBundle

_SHARE = 0.5
"""Of the time that goes to looks; the rest is for answers. `scripts/bench_streams.py` measures both."""
_LOOKS = 5


def bears(loaded: LoadedBundle) -> int:
    """At least 1. By the median of a few looks at a blank frame, one at a time, behind one that warms up."""
    size = loaded.bundle.manifest.vision.image_size
    blank, seconds = np.zeros((size, size, 3), np.uint8), []
    previous = loaded.engines.vision.run(blank, None, key=True).pooled
    for _ in range(_LOOKS):
        began = perf_counter()
        loaded.engines.vision.run(blank, previous, key=False)
        seconds.append(perf_counter() - began)
    return streams_in(float(np.median(seconds)), loaded.bundle.manifest.max_fps)


def streams_in(look_seconds: float, looks_per_second: float) -> int:
    """How many streams of so many looks a second fit, if one look takes so long."""
    return max(1, math.floor(_SHARE / (look_seconds * looks_per_second)))
