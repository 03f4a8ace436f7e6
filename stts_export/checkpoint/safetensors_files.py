"""The safetensors files of a Hugging Face folder, read lazily: one file, or shards with an index."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stts_export.checkpoint.weight_source import Entry, WeightSource, check_dtype
from stts_export.errors import CheckpointError
from stts_export.json_files import Section, read_json
from stts_runtime.handed_over import check_is_content, other_weights
from stts_runtime.places import check_file, is_there

SINGLE = "model.safetensors"
INDEX = f"{SINGLE}.index.json"

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


class WeightIndex(Section):
    """`model.safetensors.index.json`, and the like of adapters: which shard holds which weight."""

    weight_map: dict[str, str]


class SafetensorsFiles(WeightSource):
    """A file is opened again for every weight: what was mapped of it would count as this process's memory for ever."""

    def __init__(self, folder: Path, single: str = SINGLE) -> None:
        """`single` is what the file is called where there is one; shards have an index of that name."""
        self._index = f"{single}.index.json"
        self.entries: dict[str, Entry] = {}
        self._homes: dict[str, Path] = {}
        if not is_there(folder / self._index, CheckpointError):
            if not is_there(folder / single, CheckpointError):
                what = other_weights(folder)
                raise CheckpointError(
                    f"{folder} holds no weights: neither {single} nor {self._index} is there"
                    f"{'; ' if what else ''}{what}"
                )
            self._list(folder / single)
            return
        listed = read_json(folder / self._index, WeightIndex).weight_map
        for shard in _shards(listed, self._index):
            self._list(folder / shard)
        self._check_index(listed)

    def _list(self, path: Path) -> None:
        if is_there(path, CheckpointError):
            check_file(path, CheckpointError)
            check_is_content(path, CheckpointError)
        try:
            with safe_open(path, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (it is no mapping)
                    stored = opened.get_slice(name)
                    dtype = _DTYPES.get(stored.get_dtype(), stored.get_dtype())
                    check_dtype(name, path.name, dtype)
                    if name in self._homes:
                        raise CheckpointError(
                            f"weight {name} is stored twice, in {self._homes[name].name} and in {path.name}"
                        )
                    self._homes[name] = path
                    self.entries[name] = Entry(tuple(stored.get_shape()), dtype)
        except FileNotFoundError:
            raise CheckpointError(
                f"{path} is missing, though {self._index} names it; download or copy it again"
            ) from None
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged or incomplete: {error}") from None

    def _check_index(self, listed: dict[str, str]) -> None:
        for name in sorted(listed.keys() | self._homes.keys()):
            stored = self._homes[name].name if name in self._homes else "no file"
            said = listed.get(name, "no file")
            if stored != said:
                raise CheckpointError(f"weight {name} is stored in {stored}, and {self._index} says {said}")

    def _stored(self, name: str, rows: slice | None) -> Tensor:
        try:
            with safe_open(self._homes[name], framework="pt") as opened:
                tensor: Tensor = opened.get_tensor(name) if rows is None else opened.get_slice(name)[rows]
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"weight {name} cannot be read: {error}") from None
        return tensor


def shards_of(folder: Path) -> list[str]:
    """The files that the index in `folder` names. Raises `CheckpointError` if it is none."""
    return _shards(read_json(folder / INDEX, WeightIndex).weight_map, INDEX)


def _shards(listed: dict[str, str], index: str) -> list[str]:
    """Shards are next to the index; an index that leads elsewhere is not followed."""
    shards = sorted(set(listed.values()))
    for shard in shards:
        if Path(shard).name != shard:
            raise CheckpointError(f"{index} names the shard {shard!r}, which is not next to it")
    return shards
