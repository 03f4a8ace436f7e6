"""The weights of a checkpoint with an adapter merged into them, as they are read: nothing is held.

Weights of the two find each other by our names, so a checkpoint may be of another layout than the model that was
trained, with other matrices stored as one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from stts_export.checkpoint.adapter import Adapter, Change
from stts_export.checkpoint.weight_source import WeightSource
from stts_export.errors import CheckpointError
from stts_export.modules.config import TextConfig
from stts_export.molmo2.names import BASE_EMBEDDING, EXTRA_EMBEDDING, HEAD, fused_parts, own_name


class Part(NamedTuple):
    """Rows of a weight, of which the rest may be other weights of ours."""

    name: str
    first: int
    rows: int


@dataclass(frozen=True)
class _Placed:
    """A change of some rows of a stored weight."""

    stored: Part
    change: Change
    first: int
    """Where they begin in what is changed."""


class AdaptedFiles(WeightSource):
    """`read` merges in float32; types are those of the checkpoint."""

    def __init__(self, base: WeightSource, adapter: Adapter, text: TextConfig) -> None:
        """Raises `CheckpointError`, with the name, unless every change fits a weight of the checkpoint."""
        self.entries, self._base = base.entries, base
        self._placed: dict[str, list[_Placed]] = {}
        stored = {part.name: (name, part) for name in base for part in _parts(name, base.shape(name), text)}
        for name, change in adapter.changes.items():
            for part in _parts(name, change.shape, text):
                _check_fits(part, change, stored, base, adapter)
                _check_alone(part, text, adapter)
                place, rows = stored[part.name]
                self._placed.setdefault(place, []).append(_Placed(rows, change, part.first))

    @property
    def changed(self) -> int:
        """How many stored weights are not as they were."""
        return len(self._placed)

    def _stored(self, name: str, rows: slice | None) -> Tensor:
        weight = self._base.read(name, rows)
        if name not in self._placed:
            return weight
        weight = weight.clone()
        start, stop, _ = (rows or slice(None)).indices(self.shape(name)[0])
        for placed in self._placed[name]:
            first = placed.stored.first
            begin, end = max(start, first), min(stop, first + placed.stored.rows)
            if begin < end:
                own = slice(begin - start, end - start)
                of_change = slice(begin - first + placed.first, end - first + placed.first)
                weight[own] = placed.change.applied(weight[own], of_change)
        return weight


def _parts(name: str, shape: tuple[int, ...], text: TextConfig) -> Iterator[Part]:
    """Which of our weights are stored, or changed, under `name`; one whose rows do not add up is taken as it is."""
    own, rows = own_name(name), shape[0] if shape else 1
    fused = fused_parts(own, text)
    if fused is None or sum(size for _, size in fused) != rows:
        yield Part(own, 0, rows)
        return
    starts = itertools.accumulate((size for _, size in fused), initial=0)
    yield from (Part(part, start, size) for (part, size), start in zip(fused, starts, strict=False))


def _check_fits(
    part: Part, change: Change, stored: Mapping[str, tuple[str, Part]], base: WeightSource, adapter: Adapter
) -> None:
    other = f"{adapter.folder} is for another base: it changes {part.name}"
    if part.name not in stored:
        raise CheckpointError(f"{other}, which this checkpoint does not have")
    name, there = stored[part.name]
    got, wanted = (part.rows, *change.shape[1:]), (there.rows, *base.shape(name)[1:])
    if got != wanted:
        raise CheckpointError(f"{other} of shape {list(got)}, and this checkpoint's is {list(wanted)}")


def _check_alone(part: Part, text: TextConfig, adapter: Adapter) -> None:
    """In training a tied weight was changed in one of its places, and merging would change it in both."""
    if text.tied and part.name in (HEAD, BASE_EMBEDDING, EXTRA_EMBEDDING):
        raise CheckpointError(
            f"{adapter.folder} changes {part.name}, which cannot be merged: this checkpoint's head is its embedding "
            "(tie_word_embeddings), and both would change"
        )
