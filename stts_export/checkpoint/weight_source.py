"""What every kind of weight file can do: names, shapes and types at once, a weight when it is asked for."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import isfinite, prod
from typing import NamedTuple

import torch
from torch import Tensor

from stts_export.errors import CheckpointError

PICKLE_ERRORS = (
    OSError, RuntimeError, EOFError, ValueError, TypeError, AttributeError, LookupError, AssertionError,
    pickle.UnpicklingError,
)  # fmt: skip
"""What reading a damaged pickle raises."""

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


class Entry(NamedTuple):
    """A weight as it is stored."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class WeightSource(ABC):
    """The weights of a checkpoint under the names that they are stored by."""

    entries: dict[str, Entry]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.entries))

    def shape(self, name: str) -> tuple[int, ...]:
        return self.entries[name].shape

    def dtype(self, name: str) -> torch.dtype:
        return self.entries[name].dtype

    def values(self) -> int:
        """Numbers in all weights together."""
        return sum(prod(entry.shape) for entry in self.entries.values())

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """The weight, or some rows of it, in float32. Raises `CheckpointError` if a value is not finite."""
        tensor = self._stored(name, rows).to(torch.float32)
        # The extremes show what is not finite without a copy as large as the weight.
        if tensor.numel() and not all(isfinite(extreme) for extreme in torch.aminmax(tensor)):
            raise CheckpointError(f"weight {name} holds values that are not finite in float32")
        return tensor

    @abstractmethod
    def _stored(self, name: str, rows: slice | None) -> Tensor:
        """The weight, or some rows of it, as stored. Raises `CheckpointError` if it cannot be read."""


class NoWeights(WeightSource):
    """Stands in for weights that are not downloaded yet."""

    entries: dict[str, Entry] = {}  # noqa: RUF012 (nothing is ever put in)

    def _stored(self, name: str, rows: slice | None) -> Tensor:  # noqa: ARG002 (as every source takes them)
        raise CheckpointError(f"weight {name} has not been downloaded")


def check_dtype(name: str, where: str, dtype: object) -> None:
    """Raises `CheckpointError` unless it is one that weights are trained in."""
    if dtype not in DTYPES:
        read = ", ".join(str(known).removeprefix("torch.") for known in DTYPES)
        raise CheckpointError(f"weight {name} in {where} is {str(dtype).removeprefix('torch.')}; only {read} are read")
