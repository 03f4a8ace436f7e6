"""The safetensors files of a checkpoint folder, opened lazily: one file, or shards with an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from stts_export.errors import CheckpointError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class WeightFiles:
    """Stored names and shapes of all weights; a weight is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for path, wanted in _listed(folder):
            self._open(path, wanted)

    def _open(self, path: Path, wanted: set[str] | None) -> None:
        try:
            opened = safe_open(path, framework="pt")
            for name in opened.keys() if wanted is None else sorted(wanted):
                self._shapes[name] = tuple(opened.get_slice(name).get_shape())
                self._files[name] = opened
        except FileNotFoundError:
            raise CheckpointError(f"{path} is missing, though {INDEX} names it") from None
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged or incomplete: {error}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._shapes))

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def values(self) -> int:
        """Numbers in all weights together."""
        return sum(prod(shape) for shape in self._shapes.values())

    def read(self, name: str) -> Tensor:
        """The weight as stored."""
        try:
            tensor: Tensor = self._files[name].get_tensor(name)
        except SafetensorError as error:
            raise CheckpointError(f"weight {name} cannot be read: {error}") from None
        return tensor


def _listed(folder: Path) -> list[tuple[Path, set[str] | None]]:
    index = folder / INDEX
    if not index.exists():
        if not (folder / SINGLE).exists():
            raise CheckpointError(f"{folder} holds no weights: neither {SINGLE} nor {INDEX} is there")
        return [(folder / SINGLE, None)]
    try:
        weight_map: dict[str, str] = json.loads(index.read_bytes())["weight_map"]
        shards: dict[str, set[str]] = {}
        for name, shard in weight_map.items():
            shards.setdefault(shard, set()).add(name)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index} is not a weight index: {error}") from None
    return [(folder / shard, names) for shard, names in sorted(shards.items())]
