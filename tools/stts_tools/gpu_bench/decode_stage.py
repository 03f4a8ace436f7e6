"""Single tokens by the decode kernels and by ONNX Runtime, in each format: time, memory, logits, a long run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle.manifest import Format
from stts_runtime.engines import cuda_slots
from stts_runtime.engines.cuda_language import CudaLanguage
from stts_runtime.engines.cuda_weights import Weights
from stts_runtime.errors import EngineError
from stts_tools.decode_bench.engine import decode_kernels, logits_along
from stts_tools.gpu_bench.context import ENGINE, SETTLING_RUNS, Context, Works, call
from stts_tools.gpu_bench.language_stage import fill_prefix, one_token
from stts_tools.gpu_bench.memory import MemoryWatch
from stts_tools.gpu_bench.report import DecodeCheck, Row
from stts_tools.gpu_bench.settings import prefix, question
from stts_tools.gpu_bench.timing import interleaved
from stts_tools.gpu_bench.weights import array, packed

KERNELS = "kernels"
FORMS: dict[str, Format | None] = {"16 bits": None, "fp8": "fp8", "int4": "int4"}
_COMPARED, _LONG = 150, 3000
"""Tokens whose logits are compared, and of the long run."""


@dataclass(frozen=True)
class _Ways:
    """A form's two, over the same weights and caches of their own."""

    theirs: CudaLanguage
    ours: CudaLanguage
    megabytes: dict[str, float]
    """Device memory that loading each and its first tokens took."""
    held: Any
    """Weights without another owner."""


def decode_rows(context: Context) -> Iterator[Row]:
    """After every pruned window's prefix; what is no time goes to `context.decode`.

    Raises `EngineError` where the kernels do not run.
    """
    budgets = [budget for budget in context.settings.budgets() if budget.keep < 1]
    ways = {name: _loaded(context, name, form) for name, form in FORMS.items()}
    for budget in sorted(budgets, key=lambda one: one.kept):
        context.tell(f"tokens behind {budget.name}")
        yield _row(context, budget, ways)
    for name, both in ways.items():
        context.tell(f"{name}: {_LONG} tokens, and the logits of {_COMPARED}")
        context.decode[name] = _checked(context, both)


def _loaded(context: Context, name: str, form: Format | None) -> _Ways:
    context.tell(f"loading {name}")
    tensors = {} if form is None else packed(context.language, form)
    weights = Weights({**dict(context.language_weights), **{key: array(value) for key, value in tensors.items()}})
    engines, megabytes = [], {}
    for asked_for in (False, True):
        # What they disagree in is measured below, at length.
        agreeing = mock.patch.object(cuda_slots, "disagreement", return_value=None)
        with decode_kernels(asked_for), agreeing, MemoryWatch() as watch:
            engine = context.load_language(form, weights)
            for _ in range(SETTLING_RUNS):
                engine.rewind(0)
                engine.forward(question(0))
                engine.forward(one_token(engine.length))
        engines.append(engine)
        megabytes[KERNELS if asked_for else ENGINE] = round(watch.taken() / 1e6, 1)
    if engines[1].step_choice.kernels is None:
        raise EngineError(f"{name}: {engines[1].step_choice.because}")
    theirs, ours = engines
    return _Ways(theirs, ours, megabytes, tensors)


def _row(context: Context, budget: TokenBudget, ways: dict[str, _Ways]) -> Row:
    tokens = prefix(budget, context.model.markers)
    works: Works = {}
    for name, both in ways.items():
        for way, engine in ((ENGINE, both.theirs), (KERNELS, both.ours)):
            fill_prefix(engine, tokens)
            works[f"{budget.name} {name}, {way}"] = call(_one, engine, len(tokens))
    times = interleaved(works, 5 * context.rounds, warm_ups=SETTLING_RUNS)
    return context.row("decode", budget, len(tokens), times, context.best_step_ms(len(tokens)))


def _one(language: CudaLanguage, length: int) -> None:
    language.rewind(length)
    language.forward(one_token(length))


def _checked(context: Context, both: _Ways) -> DecodeCheck:
    """After the shortest prefix that the times have, of visual tokens that are no zeros."""
    budget = min((one for one in context.settings.budgets() if one.keep < 1), key=lambda one: one.kept)
    tokens = prefix(budget, context.model.markers)
    rows = np.random.default_rng(0).standard_normal((budget.kept, context.model.text.width), dtype=np.float32)
    first = []
    for engine in (both.theirs, both.ours):
        engine.show(rows * np.float32(0.1))
        fill_prefix(engine, tokens)
        first.append(engine.forward(question(len(tokens))))
    kernels = both.ours.step_choice.kernels
    assert kernels is not None
    along = logits_along(both.theirs, both.ours, first[0], both.theirs.length, _COMPARED)
    with MemoryWatch() as watch:
        milliseconds = _long_run(both.ours)
    return DecodeCheck(
        **along.described(kernels.apart),
        megabytes=both.megabytes,
        long_run_tokens=_LONG,
        long_run_ms_a_token=milliseconds,
        long_run_grown_bytes=watch.taken(),
    )


def _long_run(language: CudaLanguage) -> float:
    """Milliseconds a token by the host's clock, as an answer has them."""
    token, begin = 1, time.perf_counter()
    for _ in range(_LONG):
        if language.length >= language.context:
            language.rewind(language.context // 2)
        tokens = one_token(language.length)
        tokens.ids[0] = token
        token = language.forward(tokens)
    return round((time.perf_counter() - begin) * 1000 / _LONG, 4)
