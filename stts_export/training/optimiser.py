"""Muon for the matrices inside blocks, AdamW for everything else, on one schedule."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from stts_export.training.muon import StackedMuon
from stts_export.training.recipe import Recipe

_INPUT_OR_OUTPUT = ("patch_embedding", "positional_embedding", "embed_tokens", "lm_head", "mlp.w3")
_ADAM_BETAS = (0.9, 0.98)


class Optimisers:
    """Both, stepped together."""

    def __init__(self, modules: Iterable[nn.Module], recipe: Recipe) -> None:
        matrices, others = _sorted_out(modules)
        decay = recipe.weight_decay
        self._all: list[tuple[Optimizer, float]] = [
            (StackedMuon(matrices, lr=0.0, weight_decay=decay), recipe.matrix_rate),
            (AdamW(others, betas=_ADAM_BETAS, weight_decay=decay, fused=True), recipe.other_rate),
        ]
        self._weights = [*matrices, *others]

    def step(self, factor: float) -> None:
        """Applies the gradients at `factor` of the recipe's rates, and clears them."""
        nn.utils.clip_grad_norm_(self._weights, 1.0, foreach=True)
        for optimiser, rate in self._all:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)


def _sorted_out(modules: Iterable[nn.Module]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    matrices: list[torch.Tensor] = []
    others: list[torch.Tensor] = []
    for module in modules:
        for name, weight in module.named_parameters():
            inside = weight.ndim == 2 and not any(part in name for part in _INPUT_OR_OUTPUT)
            (matrices if inside else others).append(weight)
    return matrices, others
