"""The steps of a build, counted before it starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from stts_export.building.plan import Plan
from stts_export.lowering import Lowering
from stts_runtime.bundle.contract import LANGUAGE, VISION
from stts_runtime.progress import Progress
from stts_runtime.tell import Tell

Work = Literal["running", "exporting", "writing"]
"""A model is run to know what its graphs must give, and each graph to see that it does: about as long."""
_KINDS = (VISION, LANGUAGE)


class BuildSteps:
    """Tells each step with its number and with how long the others take at the pace of those that were alike: what is
    done with a vision graph tells nothing of the language model's.
    """

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self._tell, self._progress = tell, Progress(_counted(plan))

    def begin(self, work: Work, kind: str, step: str) -> None:
        """`kind` of graphs: `vision` or `language`."""
        self._tell(f"{step} (step {self._progress.begin(f'{work} {kind}')})")


def _counted(plan: Plan) -> dict[str, int]:
    of_frames = len(plan.live.budgets) if plan.live else 0
    graphs, count = {VISION: len(plan.budgets) + of_frames, LANGUAGE: 1}, len(plan.lowerings)
    batched = sum(bool(plan.frames_at_once(budget)) for budget in plan.live.budgets) if plan.live else 0
    batches = sum(len(plan.batches_of(lowering)) for lowering in plan.lowerings)
    of_batches = {VISION: batched * batches, LANGUAGE: batches}
    expected = {VISION: graphs[VISION] + batched, LANGUAGE: 1}
    files = _weight_files(plan.lowerings)
    return {
        **{f"running {kind}": expected[kind] + graphs[kind] * count + of_batches[kind] for kind in _KINDS},
        **{f"exporting {kind}": graphs[kind] * count + of_batches[kind] for kind in _KINDS},
        **{f"writing {kind}": files for kind in _KINDS},
    }


def _weight_files(lowerings: Iterable[Lowering]) -> int:
    """Number of weight files per kind: one in float32, one in 16 bits, or both."""
    return len({lowering.shares_16_bit_weights for lowering in lowerings})
