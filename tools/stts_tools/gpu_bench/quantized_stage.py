"""The language model in each format compared with itself in 16 bits: every window's prefix, and a token after one."""

from __future__ import annotations

from collections.abc import Iterator

from stts_runtime.bundle.manifest import FORMATS
from stts_runtime.engines.cuda_language import CudaLanguage
from stts_runtime.engines.cuda_weights import Weights
from stts_runtime.prompt import Tokens
from stts_tools.gpu_bench.context import ENGINE, SETTLING_RUNS, Context, Works, call
from stts_tools.gpu_bench.language_stage import fill_prefix, one_token
from stts_tools.gpu_bench.report import Row
from stts_tools.gpu_bench.settings import prefix
from stts_tools.gpu_bench.timing import interleaved
from stts_tools.gpu_bench.weights import array, packed


def quantized_rows(context: Context) -> Iterator[Row]:
    """All forms take turns, over caches of their own."""
    engines, held = {ENGINE: context.load_language()}, []
    for form in FORMATS:
        context.tell(f"loading the language model in {form}")
        tensors = packed(context.language, form)
        held.append(tensors)
        context.notes.append(f"{form}: projections of {sum(one.nbytes for one in tensors.values()) / 1e9:.2f} GB")
        arrays = {name: array(tensor) for name, tensor in tensors.items()}
        weights = Weights({**dict(context.language_weights), **arrays})
        engines[f"{ENGINE} {form}"] = context.load_language(form, weights)
    budgets = context.settings.budgets()
    longest = prefix(max(budgets, key=lambda budget: budget.kept), context.model.markers)
    for engine in engines.values():
        for _ in range(SETTLING_RUNS):
            fill_prefix(engine, longest)
            engine.forward(one_token(len(longest)))
    for budget in budgets:
        context.tell(f"prefill and decoding, {budget.name}")
        tokens = prefix(budget, context.model.markers)
        fills: Works = {f"{budget.name} {name}": call(fill_prefix, engine, tokens) for name, engine in engines.items()}
        times = interleaved(fills, context.rounds)
        yield context.row("prefill", budget, len(tokens), times, context.best_prefill_ms(len(tokens)))
        steps: Works = {f"{budget.name} {name}": call(_step, engine, tokens) for name, engine in engines.items()}
        times = interleaved(steps, 3 * context.rounds)
        yield context.row("decode", budget, len(tokens), times, context.best_step_ms(len(tokens)))


def _step(language: CudaLanguage, tokens: Tokens) -> None:
    """A token after the prefix that was filled last."""
    language.rewind(len(tokens))
    language.forward(one_token(len(tokens)))
