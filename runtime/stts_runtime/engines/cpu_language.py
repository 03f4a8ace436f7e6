"""The language model of the `cpu` target: caches are written in place through I/O binding, one row of them a slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import cache_names
from stts_runtime.bundle.manifest import LanguageModel
from stts_runtime.engines.interfaces import check_room
from stts_runtime.engines.onnxruntime_session import Signature, cpu_runtime, cpu_session, foreign_errors_as
from stts_runtime.engines.slots import LanguageSlots, Rows
from stts_runtime.errors import EngineError
from stts_runtime.prompt import Tokens

Caches = dict[str, NDArray[np.float32]]


def cpu_slots(bundle: Bundle, lowering: str, count: int) -> LanguageSlots:
    """At most `count` slots, and as many as the bundle has graphs for at once."""
    model = bundle.manifest.language
    batches = [one for one in model.batches if lowering in one.graphs and one.size <= count]
    largest = max((one.size for one in batches), default=1)
    # Zeros that nobody wrote to take no memory.
    caches: Caches = {
        name: np.zeros((largest, model.context, model.kv_channels), dtype=np.float32)
        for name in cache_names(model.layers)
    }
    inputs: Signature = {
        "token_ids": (np.int64, (None,)),
        "positions": (np.int64, (None,)),
        "start": (np.int64, (1,)),
        "visual_tokens": (np.float32, (model.visual_rows, model.visual_width)),
        **_cache_signature(model, 1),
    }
    session = cpu_session(bundle, model.graphs, lowering, inputs, _outputs(model, 1))
    visual = np.zeros((model.visual_rows, model.visual_width), dtype=np.float32)
    engines = [
        CpuLanguage(lowering, session, {name: cache[row : row + 1] for name, cache in caches.items()}, visual)
        for row in range(largest)
    ]
    steps = []
    for batch in batches:
        numbers: Signature = dict.fromkeys(("token_ids", "positions", "start"), (np.int64, (batch.size,)))
        takes = {**numbers, **_cache_signature(model, batch.size)}
        of_rows = cpu_session(bundle, batch.graphs, lowering, takes, _outputs(model, batch.size))
        steps.append(CpuRows(of_rows, {name: cache[: batch.size] for name, cache in caches.items()}))
    return LanguageSlots(engines, steps)


def _cache_signature(model: LanguageModel, rows: int) -> Signature:
    return dict.fromkeys(cache_names(model.layers), (np.float32, (rows, model.context, model.kv_channels)))


def _outputs(model: LanguageModel, rows: int) -> Signature:
    return {
        **{f"new_{name}": signature for name, signature in _cache_signature(model, rows).items()},
        "logits": (np.float32, (rows, model.vocabulary)),
        "next_token": (np.int64, (rows,)),
    }


class _Bound:
    """A session whose caches are bound: past and present share one buffer, so that TensorScatter writes into it."""

    def __init__(self, session: Any, caches: Mapping[str, NDArray[np.float32]]) -> None:
        self._session, self._binding = session, session.io_binding()
        # Kept here for as long as it lives: the binding of some versions holds no reference of its own.
        self._kept = [caches, *(self._bound(name, array) for name, array in caches.items())]

    def _bound(self, name: str, array: NDArray[np.float32]) -> Any:
        # An OrtValue on the CPU is a view of the array that it is made from.
        cache = cpu_runtime().OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_input(name, cache)
        self._binding.bind_ortvalue_output(f"new_{name}", cache)
        return cache

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> tuple[Any, NDArray[np.int64]]:
        """Logits, which stay with ONNX Runtime until they are asked for, and the next token, of every row."""
        with foreign_errors_as(EngineError, "language model"):
            for name, values in inputs.items():
                self._binding.bind_cpu_input(name, values)
            self._binding.bind_output("logits")
            self._binding.bind_output("next_token")
            self._session.run_with_iobinding(self._binding)
            *_, logits, next_token = self._binding.get_outputs()
        return logits, next_token.numpy()


class CpuLanguage:
    """One slot of the language model on the CPU."""

    def __init__(self, lowering: str, session: Any, caches: Caches, visual: NDArray[np.float32]) -> None:
        """`visual` is shared by all slots: who shows is who fills next."""
        self.lowering, self._visual = lowering, visual
        self.context, self.length = next(iter(caches.values())).shape[1], 0
        self._bound = _Bound(session, caches)
        self._logits: Callable[[], NDArray[np.float32]] = lambda: np.zeros(0, dtype=np.float32)

    def show(self, visual_tokens: NDArray[np.float32]) -> None:
        self._visual[: len(visual_tokens)] = visual_tokens

    def prefill(self, tokens: Tokens) -> None:
        self.forward(tokens)

    def forward(self, tokens: Tokens) -> int:
        check_room(self, tokens)
        start = np.array([self.length], dtype=np.int64)
        logits, next_token = self._bound.run(
            {"token_ids": tokens.ids, "positions": tokens.positions, "start": start, "visual_tokens": self._visual}
        )
        self._logits = lambda: logits.numpy()[0]
        self.length += len(tokens)
        return int(next_token[0])

    def stepped(self, logits: Callable[[], NDArray[np.float32]]) -> None:
        self._logits = logits
        self.length += 1

    def logits(self) -> NDArray[np.float32]:
        return self._logits()

    def rewind(self, length: int) -> None:
        self.length = length


class CpuRows:
    """A `RowStep` on the CPU."""

    def __init__(self, session: Any, caches: Caches) -> None:
        self.size = len(next(iter(caches.values())))
        self._bound = _Bound(session, caches)
        self._logits: Any = None

    def __call__(self, rows: Rows) -> NDArray[np.int64]:
        self._logits, chosen = self._bound.run(
            {"token_ids": rows.token_ids, "positions": rows.positions, "start": rows.slots}
        )
        return chosen

    def logits(self, row: int) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._logits.numpy()[row]
        return logits
