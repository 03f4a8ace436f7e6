"""Muon for the matrices inside blocks, AdamW for everything else, on one schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
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
            (StackedMuon(matrices.values(), lr=0.0, weight_decay=decay), recipe.matrix_rate),
            (AdamW(others.values(), betas=_ADAM_BETAS, weight_decay=decay, fused=True), recipe.other_rate),
        ]
        self._named = {**matrices, **others}
        self._weights = list(self._named.values())

    def step(self, factor: float) -> None:
        """Applies the gradients at `factor` of the recipe's rates, and clears them."""
        nn.utils.clip_grad_norm_(self._weights, 1.0, foreach=True)
        for optimiser, rate in self._all:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """What the optimisers remember of each weight: `momentum name`, bfloat16 but for counts of steps."""
        found = {}
        for name, weight in self._named.items():
            for kind, value in self._memory(weight).items():
                found[f"{kind} {name}"] = value if value.ndim == 0 else value.bfloat16()
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The opposite, before the first step. Raises `KeyError` for a weight that it does not have."""
        for named, value in state.items():
            kind, name = named.split(" ", 1)
            weight = self._named[name]
            # AdamW wants its count of steps where the weight is, and in float32.
            self._memory(weight)[kind] = value.to(weight.device, torch.float32)

    def _memory(self, weight: nn.Parameter) -> dict[str, Tensor]:
        for optimiser, _ in self._all:
            if any(weight is one for one in optimiser.param_groups[0]["params"]):
                memory: dict[str, Tensor] = optimiser.state[weight]
                return memory
        raise AssertionError("every weight has an optimiser")


def _sorted_out(modules: Iterable[nn.Module]) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Matrices inside blocks, and everything else, by name."""
    matrices: dict[str, nn.Parameter] = {}
    others: dict[str, nn.Parameter] = {}
    for module in modules:
        for name, weight in module.named_parameters():
            inside = weight.ndim == 2 and not any(part in name for part in _INPUT_OR_OUTPUT)
            (matrices if inside else others)[name] = weight
    return matrices, others
