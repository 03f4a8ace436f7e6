"""The safetensors files of a checkpoint folder, opened lazily: one file, or shards with an index."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stts_export.checkpoint.json_files import Section, read_json
from stts_export.errors import CheckpointError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
DTYPES = ("F16", "BF16", "F32")


class WeightIndex(Section):
    """`model.safetensors.index.json`: which shard holds which weight."""

    weight_map: dict[str, str]


class WeightFiles:
    """Stored names, shapes and dtypes of all weights; a weight is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._homes: dict[str, str] = {}
        if not (folder / INDEX).exists():
            if not (folder / SINGLE).exists():
                raise CheckpointError(f"{folder} holds no weights: neither {SINGLE} nor {INDEX} is there")
            self._open(folder / SINGLE)
            return
        listed = read_json(folder / INDEX, WeightIndex).weight_map
        for shard in sorted(set(listed.values())):
            self._open(folder / _plain(shard))
        self._check_index(listed)

    def _open(self, path: Path) -> None:
        try:
            opened = safe_open(path, framework="pt")
            for name in opened.keys():  # noqa: SIM118 (it is no mapping)
                stored = opened.get_slice(name)
                if stored.get_dtype() not in DTYPES:
                    raise CheckpointError(
                        f"weight {name} in {path.name} is {stored.get_dtype()}; only {', '.join(DTYPES)} are read"
                    )
                if name in self._homes:
                    raise CheckpointError(f"weight {name} is stored twice, in {self._homes[name]} and in {path.name}")
                self._homes[name] = path.name
                self._shapes[name] = tuple(stored.get_shape())
                self._files[name] = opened
        except FileNotFoundError:
            raise CheckpointError(f"{path} is missing, though {INDEX} names it") from None
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged or incomplete: {error}") from None

    def _check_index(self, listed: dict[str, str]) -> None:
        for name in sorted(listed.keys() | self._homes.keys()):
            stored, said = self._homes.get(name, "no file"), listed.get(name, "no file")
            if stored != said:
                raise CheckpointError(f"weight {name} is stored in {stored}, and {INDEX} says {said}")

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._shapes))

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def values(self) -> int:
        """Numbers in all weights together."""
        return sum(prod(shape) for shape in self._shapes.values())

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """The weight, or some rows of it, in float32. Raises `CheckpointError` if a value is not finite."""
        try:
            file = self._files[name]
            stored = file.get_tensor(name) if rows is None else file.get_slice(name)[rows]
            tensor: Tensor = stored.to(torch.float32)
        except SafetensorError as error:
            raise CheckpointError(f"weight {name} cannot be read: {error}") from None
        if not tensor.isfinite().all():
            raise CheckpointError(f"weight {name} holds values that are not finite in float32")
        return tensor


def _plain(shard: str) -> str:
    """Shards lie beside the index; an index that leads elsewhere is not followed."""
    if Path(shard).name != shard:
        raise CheckpointError(f"{INDEX} names the shard {shard!r}, which does not lie beside it")
    return shard
