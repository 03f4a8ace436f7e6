"""Frames to visual tokens, on the device: every window's engine compared with the same modules in torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch

from stts_runtime.budget import TokenBudget
from stts_tools.gpu_bench.context import COMPILED, EAGER, ENGINE, SETTLING_RUNS, Context, Works, call, forget
from stts_tools.gpu_bench.memory import MemoryWatch
from stts_tools.gpu_bench.report import Row
from stts_tools.gpu_bench.settings import COMPILED_FRAMES
from stts_tools.gpu_bench.timing import Times, interleaved

STAGE = "vision"


def vision_rows(context: Context) -> Iterator[Row]:
    """Windows of equal length are loaded together, so that pruned and unpruned take turns."""
    by_frames = groupby(sorted(context.settings.budgets(), key=lambda budget: budget.frames), lambda one: one.frames)
    for _, group in by_frames:
        yield from _rows(context, list(group))
        forget()


def _rows(context: Context, budgets: Sequence[TokenBudget]) -> list[Row]:
    works: Works = {}
    frames = context.frames(budgets[0])
    on_device = torch.from_numpy(frames).cuda()
    for budget in budgets:
        context.tell(f"vision {budget.name}")
        forget()
        with MemoryWatch() as watch:
            engine = context.load_vision(budget)
            for _ in range(SETTLING_RUNS):
                engine.run(frames)
        bound = frames.nbytes + budget.kept * context.model.connector.text_width * context.dtype.itemsize
        live = context.settings.work[budget.name].live_bytes
        context.remember(f"vision {budget.name}", context.vision, watch, bound, live)
        works[f"{budget.name} {ENGINE}"] = engine.enqueue
        works[f"{budget.name} {ENGINE} with transfers"] = call(engine.run, frames)
        if context.beside_torch:
            works[f"{budget.name} {EAGER}"] = call(context.torch.see, on_device, budget)
    times = interleaved(works, context.rounds)
    if context.beside_torch and budgets[0].frames == COMPILED_FRAMES:
        times |= _compiled(context, works)
    return [context.row(STAGE, one, one.kept, times, context.best_vision_ms(one)) for one in budgets]


def _compiled(context: Context, works: Works) -> dict[str, Times]:
    """The eager works again, with every block compiled, compared with the engines again."""
    context.tell("torch.compile")
    with context.torch.compiled_blocks():
        times = interleaved({name.replace(EAGER, COMPILED): work for name, work in works.items()}, context.rounds)
    return {name: value for name, value in times.items() if name.endswith(COMPILED)}
