"""`model_and_optim/` of the original training layout: tensors in torch.distributed.checkpoint's shards."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path, PosixPath
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import metadata as dcp_metadata
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from stts_export.checkpoint.weight_source import PICKLE_ERRORS, Entry, WeightSource, check_dtype
from stts_export.errors import CheckpointError

METADATA = ".metadata"
_PREFIX = "model."
"""Prefix of the model's weights; the others belong to the optimizer."""

_PLAIN = (
    "BytesStorageMetadata", "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta", "TensorProperties",
    "TensorStorageMetadata", "_MEM_FORMAT_ENCODING",
)  # fmt: skip
_TORCH = ("Size", "bfloat16", "bool", "float16", "float32", "float64", "int32", "int64", "uint8")


class DistributedFiles(WeightSource):
    """Reads the shards of one weight at a time; of the pickle that describes them only plain records are read."""

    def __init__(self, folder: Path) -> None:
        self._reader = _Reader(folder)
        self._folder = folder
        self.entries: dict[str, Entry] = {}
        for name, stored in self._reader.read_metadata().state_dict_metadata.items():
            if not name.startswith(_PREFIX):
                continue
            if not isinstance(stored, TensorStorageMetadata):
                raise CheckpointError(f"{name} in {folder} is no tensor")
            check_dtype(name, folder.name, stored.properties.dtype)
            self.entries[name.removeprefix(_PREFIX)] = Entry(tuple(stored.size), stored.properties.dtype)
        if not self.entries:
            raise CheckpointError(f"{folder} holds no weights under {_PREFIX}")

    def _stored(self, name: str, rows: slice | None) -> Tensor:
        shape, dtype = self.entries[name]
        # What no shard fills stays no number, which `read` refuses.
        tensor = torch.full(shape, float("nan"), dtype=dtype)
        try:
            with warnings.catch_warnings():
                # That there is but one process is what is meant.
                warnings.simplefilter("ignore")
                load({f"{_PREFIX}{name}": tensor}, storage_reader=self._reader, no_dist=True)
        except (*PICKLE_ERRORS, CheckpointException) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise CheckpointError(f"weight {name} cannot be read from {self._folder}: {reason}") from None
        return tensor if rows is None else tensor[rows]


def files_with_weights(folder: Path) -> list[str]:
    """Names of the files next to `METADATA` that hold weights; it alone need be there. The others are the optimizer's.

    Raises `CheckpointError` if that does not describe shards.
    """
    stored = _read_metadata(folder / METADATA).storage_data or {}
    return sorted({info.relative_path for index, info in stored.items() if index.fqn.startswith(_PREFIX)})


class _Reader(FileSystemReader):
    """torch's reader, but for the pickle: it would run whatever the file says, and read it again for every weight."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._metadata = _read_metadata(folder / METADATA)

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        return self._metadata


def _read_metadata(path: Path) -> Metadata:
    try:
        with path.open("rb") as stream:
            found = _PlainUnpickler(stream).load()
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} is not a sharded checkpoint: it holds no {METADATA}") from None
    except PICKLE_ERRORS as error:
        raise CheckpointError(f"{path} is damaged, or no description of shards: {error}") from None
    if not isinstance(found, Metadata):
        raise CheckpointError(f"{path} does not describe shards")
    if getattr(found, "storage_meta", None) is None:
        found.storage_meta = dcp_metadata.StorageMeta()
    return found


class _PlainUnpickler(pickle.Unpickler):
    """Makes records, sizes, types and paths, and refuses everything else by name."""

    def find_class(self, module: str, name: str) -> Any:
        if name in _PLAIN and module == dcp_metadata.__name__:
            return getattr(dcp_metadata, name)
        if name == "_StorageInfo":
            # Training code brought its own writers, with a record of the same name and fields.
            return _StorageInfo
        if module == "torch" and name in _TORCH:
            return getattr(torch, name)
        if (module, name) == ("torch.serialization", "_get_layout"):
            return torch.serialization._get_layout  # noqa: SLF001 (how torch pickles a layout)
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module.startswith("pathlib") and name == "PosixPath":
            return PosixPath
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not read")
