"""What the scan runs: one window through the vision modules, and its prompt through the language model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stts_export.building.frames import frames_from
from stts_export.building.plan import Plan
from stts_export.checkpoint import Modules
from stts_export.graphs import vision_graph
from stts_export.precision.half import PrecisionPlan
from stts_export.precision.scan import FP16_LARGEST, HEADROOM, Peak, part_of
from stts_runtime.prompt import PromptBuilder


class ScanRun:
    """Calls the modules as an answer does, with the smallest variant of the plan."""

    def __init__(self, modules: Modules, plan: Plan, tokenizer: bytes, video: Path | None, max_fps: float) -> None:
        self.modules = modules
        self.budget = min(plan.budgets, key=lambda budget: (budget.frames, -budget.keep))
        self._prompts = PromptBuilder(tokenizer, plan.prompt)
        self._frames = frames_from(video, modules.vision, self.budget, max_fps)

    def __call__(self) -> None:
        given = vision_graph.example_call(self.modules.vision, self.budget)[1:]
        output = self.modules.vision(torch.from_numpy(self._frames.pixels), self.budget, *given)
        kept = np.zeros((self.budget.frames, self.budget.groups), dtype=np.bool_)
        kept.reshape(-1)[... if output.kept_K is None else output.kept_K.numpy()] = True
        prompt = self._prompts.video(self._frames.times_seconds, kept)
        language = self.modules.language
        token_ids, positions = torch.from_numpy(prompt.ids), torch.from_numpy(prompt.positions)
        caches = language.empty_caches(len(prompt))
        language(token_ids, positions, torch.zeros(1, dtype=torch.int64), output.visual_tokens_KW, caches)


def scan_lines(peaks: Sequence[Peak], plan: PrecisionPlan, video: Path | None) -> list[str]:
    """What the scan found, as lines for people; peaks come with the largest first."""
    source = video.name if video else "made-up frames (--frames-from VIDEO looks at yours)"
    too_large = [peak for peak in peaks if not peak.fits_fp16]
    if not too_large:
        return [f"scanned {source}: all fits fp16; the largest value is {_described(peaks[0])}"]
    by_part: dict[str, list[Peak]] = {}
    for peak in too_large:
        by_part.setdefault(part_of(peak.module) or "between the parts", []).append(peak)
    lines = [f"note: {part}: {', '.join(map(_described, found))}" for part, found in sorted(by_part.items())]
    limit = f"{FP16_LARGEST:.0f}, of which a factor of {HEADROOM:g} is kept free"
    return [
        f"scanned {source}: {len(too_large)} tensors are too near to the end of fp16 ({limit})",
        *lines,
        f"note: bf16 in {', '.join(plan.wide) or 'no part'}",
    ]


def _described(peak: Peak) -> str:
    return f"{peak.largest:.4g} in {peak.module or 'the model'} ({peak.operator})"
