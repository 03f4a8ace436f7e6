"""`model.pt` of the original training layout: one pickled file of tensors, mapped and not loaded."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from stts_export.checkpoint.weight_source import Entry, WeightSource, check_dtype
from stts_export.errors import CheckpointError


class TorchFile(WeightSource):
    """Nothing but tensors is unpickled from the file."""

    def __init__(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise CheckpointError(f"{path} is damaged, or holds more than tensors: {reason}") from None
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise CheckpointError(f"{path} holds something other than tensors by name")
        for name, tensor in state.items():
            check_dtype(name, path.name, tensor.dtype)
        self._tensors: dict[str, Tensor] = state
        self.entries = {name: Entry(tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}

    def _stored(self, name: str, rows: slice | None) -> Tensor:
        tensor = self._tensors[name]
        return tensor if rows is None else tensor[rows]
