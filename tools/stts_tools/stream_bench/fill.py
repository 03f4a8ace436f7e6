"""Weights for a bundle that was exported without: random, made where they are needed, and their hashes in its manifest.

numpy alone. A block of random numbers is repeated: what is computed is noise either way.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import MANIFEST
from stts_runtime.bundle.files import record_of
from stts_runtime.bundle.weight_layout import Placed, read_layout
from stts_runtime.errors import UserError
from stts_runtime.tell import Tell

HEAD_SUFFIX = ".head"
"""After the name of a weight file: its beginning, without the weights."""
NO_HASH = "0" * 64
_BLOCK = 1 << 24
_NORM, _OTHER = 0.1, 0.1
"""Standard deviations around 1, and around 0 of what is no matrix."""
_TYPES = {"F16": np.float16, "F32": np.float32}


class _Noise:
    """Blocks of random numbers by their spread, mean and type."""

    def __init__(self, seed: int) -> None:
        self._normal = np.random.default_rng(seed).standard_normal(_BLOCK, dtype=np.float32)
        self._blocks: dict[tuple[float, float, str], NDArray[np.generic]] = {}

    def of(self, spread: float, mean: float, dtype: str) -> NDArray[np.generic]:
        key = spread, mean, dtype
        if key not in self._blocks:
            self._blocks[key] = (self._normal * spread + mean).astype(_TYPES[dtype])
        return self._blocks[key]


def fill_bundle(folder: Path, tell: Tell, seed: int = 0) -> None:
    """Writes the weight files and completes the manifest. Raises `UserError` if the folder has nothing to fill."""
    heads = sorted(folder.glob(f"*{HEAD_SUFFIX}"))
    if not heads:
        raise UserError(
            f"{folder} has no weights to make: it was not exported by `bench_streams.py graphs`, or is full"
        )
    noise = _Noise(seed)
    for head in heads:
        path = head.with_name(head.name.removesuffix(HEAD_SUFFIX))
        tell(f"making {path.name}")
        _fill(head, path, noise)
        head.unlink()
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {name: record_of(folder / name).model_dump() for name in manifest["files"]}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _fill(head: Path, path: Path, noise: _Noise) -> None:
    beginning = head.read_bytes()
    with path.open("wb") as file:
        file.write(beginning)
        # Sparse, so that the layout can be read as that of a whole file.
        size = max(int(end) for end in _ends(beginning))
        file.truncate(len(beginning) + size)
    layout, data = read_layout(path)
    with path.open("r+b") as file:
        for name, placed in layout.items():
            file.seek(data + placed.begin)
            block = noise.of(*_kind(name, placed))
            left = math.prod(placed.stored.shape)
            # Where in the block it begins hangs on the name, so that equal shapes hold different numbers.
            begin = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") % (_BLOCK // 2)
            while left:
                part = block[begin : begin + left]
                file.write(part.data)
                left -= len(part)
                begin = 0


def _ends(beginning: bytes) -> list[int]:
    header = json.loads(beginning[8:])
    return [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]


def _kind(name: str, placed: Placed) -> tuple[float, float, str]:
    """Spread, mean and type, as the random checkpoints have them."""
    shape, dtype = placed.stored.shape, placed.stored.dtype
    if name.endswith("norm.weight") or ".layer_norm" in name or "layernorm" in name:
        return _NORM, 0.0 if name.endswith("bias") else 1.0, dtype
    if len(shape) == 2 and "embed" not in name:  # a matrix
        return 1 / math.sqrt(shape[1]), 0.0, dtype
    return _OTHER, 0.0, dtype
