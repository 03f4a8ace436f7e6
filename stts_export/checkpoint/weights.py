"""Stored weights -> the weights of our modules, whole and exact: missing, extra and mis-shaped ones are named."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from stts_export.checkpoint.weight_source import WeightSource
from stts_export.errors import CheckpointError
from stts_export.modules.config import ModelConfig, ScorerConfig
from stts_export.molmo2.names import BASE_EMBEDDING, EXTRA_EMBEDDING, HEAD, SCORER, fused_parts, own_name

_ROWS_AT_ONCE = 1 << 13
_NAMES_SHOWN = 4
_VIT_LAYER = re.compile(r"^vision_tower\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Stored:
    """One of our weights, as it can be had from the files."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[slice | None], Tensor]
    """All of it, or some rows, in float32."""


def stored_weights(files: WeightSource, config: ModelConfig) -> dict[str, Stored]:
    """All weights of the files under our names, with fused ones split."""
    found: dict[str, Stored] = {}
    for stored in files:
        for name, weight in _unfused(own_name(stored), stored, files, config):
            if name in found:
                raise CheckpointError(f"weight {name} is stored twice, the second time as {stored}")
            found[name] = weight
    return found | _embedding_split_as_used(found, config)


def _embedding_split_as_used(found: Mapping[str, Stored], config: ModelConfig) -> dict[str, Stored]:
    """The older generation as transformers saves it has two embeddings that are halves of one, whatever their sizes."""
    if not {BASE_EMBEDDING, EXTRA_EMBEDDING} <= found.keys():
        return {}
    first, second = found[BASE_EMBEDDING], found[EXTRA_EMBEDDING]
    vocab, extra = config.text.vocab, config.text.extra_vocab
    if first.shape[0] == vocab or first.shape[0] + second.shape[0] != vocab + extra:
        return {}

    def read(offset: int, size: int, rows: slice | None) -> Tensor:
        start, stop, _ = (rows or slice(None)).indices(size)
        start, stop, border = start + offset, stop + offset, first.shape[0]
        of_first = first.read(slice(min(start, border), min(stop, border)))
        return torch.cat([of_first, second.read(slice(max(start - border, 0), max(stop - border, 0)))])

    return {
        BASE_EMBEDDING: Stored((vocab, *first.shape[1:]), first.dtype, partial(read, 0, vocab)),
        EXTRA_EMBEDDING: Stored((extra, *first.shape[1:]), first.dtype, partial(read, vocab, extra)),
    }


def _unfused(name: str, stored: str, files: WeightSource, config: ModelConfig) -> list[tuple[str, Stored]]:
    """What is stored under `stored`, as one of our weights or as several."""
    shape, dtype, parts = files.shape(stored), files.dtype(stored), fused_parts(name, config.text)
    if parts is None:
        return [(name, Stored(shape, dtype, partial(files.read, stored)))]
    if not shape or sum(size for _, size in parts) != shape[0]:
        sizes = " + ".join(str(size) for _, size in parts)
        raise CheckpointError(f"weight {stored} has shape {list(shape)}, expected {sizes} rows")
    starts = itertools.accumulate((size for _, size in parts), initial=0)
    return [
        (part, Stored((size, *shape[1:]), dtype, partial(_read_part, files, stored, start, size)))
        for (part, size), start in zip(parts, starts, strict=False)
    ]


def _read_part(files: WeightSource, stored: str, start: int, size: int, rows: slice | None) -> Tensor:
    """Some of the rows `start` to `start + size` of a fused weight."""
    first, last, _ = (rows or slice(None)).indices(size)
    return files.read(stored, slice(start + first, start + last))


def checked(found: dict[str, Stored], wanted: Mapping[str, Tensor], config: ModelConfig) -> list[str]:
    """Notes on weights that are ignored. Raises `CheckpointError` unless all others are wanted, and fit exactly."""
    ignored, notes = _ignorable(found, config)
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys() - ignored)
    misshaped = [
        f"{name} is {list(found[name].shape)}, expected {list(wanted[name].shape)}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name].shape != tuple(wanted[name].shape)
    ]
    complaints = [
        f"{len(names)} {what}: {', '.join(names[:_NAMES_SHOWN])}{', ...' if len(names) > _NAMES_SHOWN else ''}"
        for what, names in (("missing", missing), ("unknown", extra), ("of the wrong shape", misshaped))
        if names
    ]
    if complaints:
        raise CheckpointError(f"the checkpoint's weights do not fit its config.json: {'; '.join(complaints)}")
    return notes


def _ignorable(found: Mapping[str, Stored], config: ModelConfig) -> tuple[set[str], list[str]]:
    """Weights that a whole checkpoint may hold and this model does not need."""
    deeper = {
        name for name in found if (match := _VIT_LAYER.match(name)) and int(match.group(1)) >= config.vision.layers
    }
    is_scored = isinstance(config.scorer, ScorerConfig)
    scorer = {name for name in found if not is_scored and name.startswith(SCORER)}
    notes = []
    if deeper:
        notes.append(f"ignored {len(deeper)} weights of vision layers deeper than {config.vision.layers - 1}")
    if scorer and config.scorer is None:
        notes.append("ignored the scorer's weights, since nothing asks for them")
    tied = {HEAD} & found.keys() if config.text.tied else set()
    if tied and not head_is_embedding(found):
        raise CheckpointError(f"the configuration ties the output head to the embedding, but the stored {HEAD} differs")
    return deeper | scorer | tied, notes


def head_is_embedding(found: Mapping[str, Stored]) -> bool:
    """Whether the stored head is the base embedding once more, as where it was tied in training."""
    if not {HEAD, BASE_EMBEDDING} <= found.keys() or found[HEAD].shape != found[BASE_EMBEDDING].shape:
        return False
    starts = range(0, found[HEAD].shape[0], _ROWS_AT_ONCE)
    parts = (slice(start, start + _ROWS_AT_ONCE) for start in starts)
    return all(torch.equal(found[HEAD].read(part), found[BASE_EMBEDDING].read(part)) for part in parts)
