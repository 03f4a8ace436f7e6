"""`model.pt` of the original training layout: one pickled file of tensors, mapped again for every weight."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from stts_export.checkpoint.weight_source import PICKLE_ERRORS, Entry, WeightSource, check_dtype
from stts_export.errors import CheckpointError


class TorchFile(WeightSource):
    """Nothing but tensors is unpickled from the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        state = self._mapped()
        for name, tensor in state.items():
            check_dtype(name, path.name, tensor.dtype)
        self.entries = {name: Entry(tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}

    def _mapped(self) -> dict[str, Tensor]:
        try:
            state = torch.load(self._path, map_location="cpu", mmap=True, weights_only=True)
        except PICKLE_ERRORS as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise CheckpointError(f"{self._path} is damaged, or holds more than tensors: {reason}") from None
        if not isinstance(state, dict) or not all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
        ):
            raise CheckpointError(f"{self._path} holds something other than tensors by name")
        return state

    def _stored(self, name: str, rows: slice | None) -> Tensor:
        # What was mapped counts as this process's memory until it is let go.
        tensor = self._mapped()[name]
        return tensor if rows is None else tensor[rows]
