"""Muon over stacks of matrices: torch.optim.Muon's update, without a Python loop over them.

torch's own takes one matrix after the other, some 25 small kernels each; for this model's hundred matrices that is as
long as a forward and backward pass (under the profiler 85 of 230 ms a step on an H200). Here all matrices of one shape
go through the iteration as one batch. `tests/export/training/test_loop.py` holds it to the same numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_SMALLEST_NORM = 1e-7
_MATCH_ADAMW = 0.2
"""Scales updates to the size that AdamW's usually have, so that the same learning rates do."""


class StackedMuon(Optimizer):
    """Orthogonalised momentum for matrices, with decoupled weight decay."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Updates every matrix that has a gradient."""
        for group in self.param_groups:
            matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
            if matrices:
                self._update(matrices, **{name: group[name] for name in ("lr", "weight_decay", "momentum")})

    def _update(self, matrices: list[Tensor], lr: float, weight_decay: float, momentum: float) -> None:
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        averages = [self._average(matrix) for matrix in matrices]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        directions = torch._foreach_lerp(gradients, averages, momentum)
        torch._foreach_mul_(matrices, 1 - lr * weight_decay)
        by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for number, matrix in enumerate(matrices):
            by_shape[matrix.shape].append(number)
        for shape, numbers in by_shape.items():
            updates = _orthogonal(torch.stack([directions[number] for number in numbers]))
            scale = lr * _MATCH_ADAMW * max(shape) ** 0.5
            torch._foreach_add_([matrices[n] for n in numbers], list(updates.float().unbind()), alpha=-scale)

    def _average(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if "average" not in state:
            state["average"] = torch.zeros_like(matrix)
        average: Tensor = state["average"]
        return average


def _orthogonal(stack: Tensor) -> Tensor:
    """Newton-Schulz iteration towards the nearest orthogonal matrices of (n, rows, columns), in bfloat16."""
    a, b, c = _COEFFICIENTS
    tall = stack.shape[1] > stack.shape[2]
    x = stack.bfloat16().mT if tall else stack.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_SMALLEST_NORM)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
