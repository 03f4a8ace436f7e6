"""The language model by itself: every window's prefix, and a token after one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stts_runtime.budget import TokenBudget
from stts_runtime.engines.cuda_language import CudaLanguage
from stts_runtime.prompt import Tokens
from stts_tools.gpu_bench.context import COMPILED, EAGER, ENGINE, SETTLING_RUNS, Context, Works, call, forget
from stts_tools.gpu_bench.memory import MemoryWatch
from stts_tools.gpu_bench.report import Row
from stts_tools.gpu_bench.settings import COMPILED_FRAMES, prefix
from stts_tools.gpu_bench.timing import interleaved


def language_rows(context: Context) -> Iterator[Row]:
    context.tell("loading the language model")
    budgets = context.settings.budgets()
    longest = prefix(max(budgets, key=lambda budget: budget.kept), context.model.markers)
    forget()
    with MemoryWatch() as watch:
        language = context.load_language()
        for _ in range(SETTLING_RUNS):
            fill_prefix(language, longest)
            language.forward(one_token(len(longest)))
    visual = context.settings.visual_rows * context.model.text.width * context.dtype.itemsize
    live = context.settings.work[context.folder.prefill.stem].live_bytes
    context.remember("language", context.language, watch, _cache_bytes(context) + visual, live)
    for budget in budgets:
        yield _prefill_row(context, budget, language)
    yield _decode_row(context, next(budget for budget in budgets if budget.keep < 1), language)


def fill_prefix(language: CudaLanguage, tokens: Tokens) -> None:
    language.rewind(0)
    language.prefill(tokens)


def _cache_bytes(context: Context) -> int:
    text = context.model.text
    return 2 * text.layers * context.settings.context * text.kv_heads * text.head_dim * context.dtype.itemsize


def _prefill_row(context: Context, budget: TokenBudget, language: CudaLanguage) -> Row:
    context.tell(f"prefill {budget.name}")
    tokens = prefix(budget, context.model.markers)
    works: Works = {f"{budget.name} {ENGINE}": call(fill_prefix, language, tokens)}
    if context.beside_torch:
        works[f"{budget.name} {EAGER}"] = context.torch.prefill(tokens)
    if context.beside_torch and budget.frames == COMPILED_FRAMES and budget.keep in (1, 0.5):
        works[f"{budget.name} {COMPILED}"] = context.torch.prefill(tokens, compiled=True)
    times = interleaved(works, context.rounds, warm_ups=2)
    return context.row("prefill", budget, len(tokens), times, context.best_prefill_ms(len(tokens)))


def _decode_row(context: Context, budget: TokenBudget, language: CudaLanguage) -> Row:
    context.tell(f"decoding behind {budget.name}")
    tokens = prefix(budget, context.model.markers)
    length = len(tokens)
    fill_prefix(language, tokens)

    def decode() -> None:
        language.rewind(length)
        language.forward(one_token(length))

    for _ in range(SETTLING_RUNS):
        decode()
    works: Works = {f"{budget.name} {ENGINE}": decode}
    if context.beside_torch:
        works[f"{budget.name} {EAGER}"] = context.torch.step(length)
    times = interleaved(works, 3 * context.rounds)
    return context.row("decode", budget, length, times, context.best_step_ms(length))


def one_token(position: int) -> Tokens:
    """A single token after this many others."""
    return Tokens(np.array([1]), np.array([position]), position + 1)
