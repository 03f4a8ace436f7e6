"""Times of work on the GPU: interleaved, in random order, by events on the stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict


class Times(BaseModel):
    """Milliseconds over the repeats."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    median: float
    lowest: float
    highest: float


def interleaved(works: Mapping[str, Callable[[], object]], rounds: int, warm_ups: int = 2) -> dict[str, Times]:
    """Runs each once a round, in a new random order, so that none always follows the same other."""
    order, generator = list(works), np.random.default_rng(0)
    samples: dict[str, list[float]] = {name: [] for name in order}
    for number in range(-warm_ups, rounds):
        for name in generator.permutation(order).tolist():
            milliseconds = _timed(works[name])
            if number >= 0:
                samples[name].append(milliseconds)
    return {name: _summary(values) for name, values in samples.items()}


def _timed(work: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _summary(values: list[float]) -> Times:
    median, lowest, highest = np.median(values), min(values), max(values)
    return Times(median=round(float(median), 3), lowest=round(lowest, 3), highest=round(highest, 3))
