"""From frames in host memory to an answer there: all stages in turn, compared with transformers' Molmo2."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from stts_runtime.answering import fill, generate
from stts_runtime.budget import TokenBudget
from stts_runtime.engines.cuda import CudaVision
from stts_runtime.engines.cuda_language import CudaLanguage
from stts_runtime.prompt import Tokens
from stts_tools.gpu_bench.context import EAGER, ENGINE, MOLMO2, SETTLING_RUNS, Context, Works, call, forget
from stts_tools.gpu_bench.molmo2_side import Molmo2Side
from stts_tools.gpu_bench.report import Row
from stts_tools.gpu_bench.settings import ANSWER_TOKENS, prefix, question
from stts_tools.gpu_bench.timing import interleaved

STAGES = {"first token": 1, "answer": ANSWER_TOKENS}
"""Tokens generated, by stage."""


def answer_rows(context: Context, molmo2: Molmo2Side) -> Iterator[Row]:
    """The model of transformers, which cannot prune, runs the unpruned windows."""
    language = context.load_language()
    for budget in context.settings.budgets():
        context.tell(f"answer {budget.name}")
        forget()
        yield from _rows(context, budget, language, molmo2)


def _rows(context: Context, budget: TokenBudget, language: CudaLanguage, molmo2: Molmo2Side) -> Iterator[Row]:
    frames, tokens = context.frames(budget), prefix(budget, context.model.markers)
    vision = context.load_vision(budget)
    for _ in range(SETTLING_RUNS):
        _answer(vision, language, frames, tokens, 2)
    for stage, count in STAGES.items():
        works: Works = {
            f"{budget.name} {ENGINE}": call(_answer, vision, language, frames, tokens, count),
            f"{budget.name} {EAGER}": context.torch.answer(frames, budget, tokens, count),
        }
        if budget.keep == 1 and _fits(context, budget, molmo2_answer := molmo2.answer(frames, tokens, count)):
            works[f"{budget.name} {MOLMO2}"] = molmo2_answer
        best = context.best_vision_ms(budget) + context.best_prefill_ms(len(tokens))
        best += count * context.best_step_ms(len(tokens))
        times = interleaved(works, max(context.rounds // 3, 3), warm_ups=1)
        yield context.row(stage, budget, len(tokens), times, best)


def _answer(
    vision: CudaVision, language: CudaLanguage, frames: NDArray[np.uint8], tokens: Tokens, count: int
) -> list[int]:
    fill(language, vision.run(frames).visual_tokens, tokens)
    return generate(language, len(tokens), question(len(tokens)), (), count).ids


def _fits(context: Context, budget: TokenBudget, work: Callable[[], object]) -> bool:
    try:
        work()
    except torch.cuda.OutOfMemoryError:
        context.notes.append(f"{MOLMO2} does not fit beside the engines at {budget.frames} frames")
        return False
    finally:
        forget()
    return True
