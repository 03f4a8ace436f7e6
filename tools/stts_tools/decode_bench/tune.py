"""Times plans over all layers of a model, and looks for the fastest: one choice after the other, each in its place."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from stts_runtime.cuda_decode.variants import ProductName
from stts_runtime.errors import SttsError
from stts_tools.decode_bench.candidates import ATTENTIONS
from stts_tools.decode_bench.gpu import Gpu
from stts_tools.decode_bench.model import Model, cache_bytes, layer_bytes
from stts_tools.decode_bench.plan import PACKAGED, Kernels, Plan

_BETTER = 0.997
"""Less of a difference is noise."""
_LARGEST_FIRST: tuple[ProductName, ...] = ("gated", "down", "qkv", "output")
_SPLITS = (2, 4, 8, 16)

Change = Callable[[Plan], Plan]


def _changed(name: str, value: Any) -> Change:
    return lambda plan: replace(plan, **{name: value})


class Tuner:
    """Tunes one model at a given context length."""

    def __init__(self, gpu: Gpu, kernels: Kernels, model: Model, length: int, until: float) -> None:
        self._gpu, self._kernels, self._model, self._until = gpu, kernels, model, until
        self.length = length
        self.tried: list[dict[str, Any]] = []

    def layer_us(self, plan: Plan, batch: int = 1, rounds: int = 5, times: int = 4) -> float:
        """The median over rounds, of one layer. Raises `SttsError` if it does not run, or gives no numbers."""
        kernels = self._kernels.of(plan, self._model.shape)
        self._model.start(self.length, batch)
        graph = self._gpu.graph(lambda: self._model.enqueue(kernels, batch))
        self._gpu.milliseconds(graph.launch, 1, 2)
        taken = self._gpu.milliseconds(graph.launch, rounds, times)
        graph.close()
        x = self._gpu.download(self._model.room.work.x, (batch, self._model.shape.width), np.float32)
        if not np.isfinite(x).all():
            raise SttsError("the residual stream is not finite")
        return statistics.median(taken) * 1000 / self._model.shape.layers

    def best(self, plan: Plan) -> tuple[Plan, float]:
        """From `plan` on, twice around, or until the time is over."""
        fastest = self._try("start", plan)
        for _ in range(2):
            for what, choices in self._turns():
                for choice in choices:
                    if time.monotonic() > self._until:
                        return plan, fastest
                    candidate = choice(plan)
                    if candidate == plan:
                        continue
                    taken = self._try(what, candidate)
                    if taken < fastest * _BETTER:
                        plan, fastest = candidate, taken
        return plan, fastest

    def _turns(self) -> Iterator[tuple[str, list[Change]]]:
        """What can be chosen, the most that it may be worth first."""
        candidates = self._kernels.candidates(self._model.kind)
        yield "dependent", [_changed("dependent", one) for one in (True, False)]
        for name in _LARGEST_FIRST:
            yield name, [partial(Plan.with_product, name=name, number=one) for one in (PACKAGED, *candidates)]
        yield "splits", [_changed("splits", one) for one in _SPLITS]
        if candidates:
            yield "attention", [_changed("attention", one) for one in ATTENTIONS]

    def _try(self, what: str, plan: Plan) -> float:
        try:
            taken = self.layer_us(plan, rounds=3, times=3)
        except SttsError as error:
            self.tried.append({"what": what, "plan": plan.described(), "error": str(error)})
            return float("inf")
        self.tried.append({"what": what, "plan": plan.described(), "layer_us": round(taken, 3)})
        return taken


def beside_bound(model: Model, length: int, batch: int, layer_us: float, bytes_a_second: float) -> dict[str, Any]:
    """A layer's time compared with that of copying what it reads."""
    size = layer_bytes(model.kind, model.shape) + batch * cache_bytes(model.shape, length + 1)
    bound = size / bytes_a_second * 1e6
    return {
        "behind": length,
        "batch": batch,
        "layer_us": round(layer_us, 3),
        "layer_bytes": size,
        "bound_us": round(bound, 3),
        "of_bound": round(bound / layer_us, 4),
        "terabytes_a_second": round(size / layer_us / 1e6, 3),
    }
