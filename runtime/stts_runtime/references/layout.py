"""Which arrays a reference holds, with type and shape: a table that writing, reading and the size come from.

Shape suffixes: T frames, G groups, K kept groups, D directions or the whole width, L tokens, N answered tokens.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stts_runtime.budget import TokenBudget
from stts_runtime.references.about import About, Small, Spoken
from stts_runtime.references.arrays import Spec
from stts_runtime.references.geometry import Geometry
from stts_runtime.references.signs import MOST_DIRECTIONS

ABOUT: Final = "about"
COLOURS: Final = "colours"
EXAMPLE: Final = "example"
"""Name of the one prompt of a proof."""

_Specs = dict[str, Spec]


def frames_name(frames: int) -> str:
    return f"frames.{frames}"


def specs_of(about: About, geometry: Geometry) -> _Specs:
    """Everything but `about`. Raises KeyError for a variant that the geometry does not have."""
    specs: _Specs = {}
    if isinstance(about.values, Small):
        specs[COLOURS] = _spec(np.uint8, about.values.frames, geometry.grid, geometry.grid, 3)
    for name in about.vision:
        specs |= _vision(name, about, geometry)
    for name, spoken in about.language.items():
        specs |= _language(name, spoken, about, geometry)
    return specs


def size_of(specs: _Specs) -> int:
    """Bytes, before anything is compressed."""
    return sum(spec.size_bytes for spec in specs.values())


def budget_of(name: str, about: About, geometry: Geometry) -> TokenBudget | None:
    """The budget of a variant for windows, or for streams in a reference; None for a stream's frame in a proof."""
    if isinstance(about.values, Small):
        return None if name in geometry.live else geometry.windows[name]
    return geometry.streamed[name] if name in geometry.streamed else geometry.windows[name]


def _vision(name: str, about: About, geometry: Geometry) -> _Specs:
    directions = about.values.directions if isinstance(about.values, Small) else geometry.visual_width
    budget = budget_of(name, about, geometry)
    if budget is None:
        return _live(name, directions, geometry)
    frames, groups = budget.frames, budget.groups
    specs = {f"{name}.tokens": _spec(np.float32, budget.kept, directions)}
    if not isinstance(about.values, Small):
        specs[frames_name(frames)] = _spec(np.uint8, frames, geometry.image_size, geometry.image_size, 3)
    if budget.keep < 1:
        specs |= {f"{name}.scores": _spec(np.float32, frames, groups), f"{name}.kept": _bits(frames * groups)}
    return specs


def _live(name: str, directions: int, geometry: Geometry) -> _Specs:
    groups, budget = geometry.groups, geometry.live[name]
    return {
        f"{name}.tokens": _spec(np.float32, budget.kept, directions),
        f"{name}.scores": _spec(np.float32, 1, groups),
        f"{name}.kept": _bits(groups),
        f"{name}.pooled": _spec(np.float32, groups, directions),
        f"{name}.change": _spec(np.float32, groups),
    }


def _language(name: str, spoken: Spoken, about: About, geometry: Geometry) -> _Specs:
    start, specs = f"language.{name}", {}
    for part, length in (("prefix", spoken.prefix), ("asked", spoken.asked)):
        specs[f"{start}.{part}_ids"] = specs[f"{start}.{part}_positions"] = _spec(np.int64, length)
    # Where the text continues after either.
    specs[f"{start}.next_positions"] = _spec(np.int64, 2)
    specs[f"{start}.answer_ids"] = _spec(np.int64, spoken.answer)
    specs[f"{start}.gaps"] = _spec(np.float32, spoken.answer)
    small = about.values if isinstance(about.values, Small) else None
    specs[f"{start}.logits"] = _spec(np.float32, spoken.answer, MOST_DIRECTIONS if small else geometry.vocabulary)
    if small:
        specs[f"{start}.visual"] = _spec(np.float32, small.visual_rows, geometry.visual_width)
    return specs


def _spec(dtype: Any, *shape: int) -> Spec:
    return Spec(np.dtype(dtype), shape)


def _bits(count: int) -> Spec:
    return _spec(np.uint8, -(-count // 8))


def packed_bits(kept: Any) -> Any:
    """Booleans of any shape as bits."""
    return np.packbits(np.asarray(kept, dtype=np.bool_).reshape(-1))
