"""Modules whose large weights stay in the checkpoint's files: a weight is read when a layer asks for it, then dropped.

Exporting needs shapes only, and checking a graph needs one layer after the other, so neither ever holds the model. In
their usual state the modules hold placeholders, which take no memory; inside `real_weights` every access reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

SMALL = 1 << 13
"""Weights with fewer elements are held: together they are nothing, and the exporter merges equal small constants."""

_PARAMETERS = "_parameters"
"""Where torch keeps a module's parameters and looks every one of them up."""

Read = Callable[[str], Tensor]
"""A weight by its full name, in float32."""


def placeholder(shape: torch.Size | tuple[int, ...], dtype: torch.dtype = torch.float32) -> nn.Parameter:
    """A parameter of any size in the memory of one element."""
    return nn.Parameter(torch.zeros((), dtype=dtype).expand(shape), requires_grad=False)


def hold_small_weights(module: nn.Module, read: Read) -> None:
    """Gives a module made on the meta device its small weights, and placeholders for the others."""
    for owner, name, full_name, parameter in _places(module):
        small = parameter.numel() < SMALL
        held = nn.Parameter(read(full_name), requires_grad=False) if small else placeholder(parameter.shape)
        setattr(owner, name, held)


def cast(module: nn.Module, dtypes: Mapping[str, torch.dtype]) -> None:
    """`module.to(dtype)`, which would fill placeholders with zeros; dtypes by prefix of names, the last one wins."""
    for owner, name, full_name, parameter in _places(module):
        (*_, dtype) = (dtype for prefix, dtype in dtypes.items() if f"{full_name}.".startswith(prefix and f"{prefix}."))
        is_placeholder = parameter.numel() > 1 and not any(parameter.stride())
        kept = placeholder(parameter.shape, dtype) if is_placeholder else parameter.to(dtype)
        setattr(owner, name, nn.Parameter(kept, requires_grad=False))


@contextmanager
def real_weights(module: nn.Module, read: Read) -> Iterator[None]:
    """Inside the block the module runs with its real weights, in float32."""
    held: list[tuple[nn.Module, dict[str, Any]]] = []
    try:
        for prefix, owner in module.named_modules():
            parameters = owner.__dict__[_PARAMETERS]
            held.append((owner, parameters))
            owner.__dict__[_PARAMETERS] = _ReadOnAccess(parameters, prefix, read)
        yield
    finally:
        for owner, parameters in held:
            owner.__dict__[_PARAMETERS] = parameters


class _ReadOnAccess(dict[str, Any]):
    """A module's parameters, of which the large ones are read again on every access."""

    def __init__(self, parameters: dict[str, Any], prefix: str, read: Read) -> None:
        super().__init__(parameters)
        self._prefix, self._read = prefix, read

    def __getitem__(self, name: str) -> Any:
        held = super().__getitem__(name)
        if held is None or held.numel() < SMALL:
            return held
        return self._read(f"{self._prefix}.{name}" if self._prefix else name)


def _places(module: nn.Module) -> list[tuple[nn.Module, str, str, nn.Parameter]]:
    """Every parameter with where it lies: its owner, its name there, its full name."""
    return [
        (owner, name, f"{prefix}.{name}" if prefix else name, parameter)
        for prefix, owner in module.named_modules()
        for name, parameter in owner.named_parameters(recurse=False)
    ]
