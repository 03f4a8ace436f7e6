"""Options of `build` and `verify` as callers from Python pass them, checked: every mistake is a `UserError` that says
what was got and what there is. Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar

from stts_runtime.arguments import as_path
from stts_runtime.budget import check_keep
from stts_runtime.errors import UserError
from stts_runtime.video import check_source

Target = Literal["cpu", "cpu-16bit", "cuda", "tensorrt", "tensorrt-rtx"]
"""What graphs are made for; `stts_export.lowering.TARGETS` has the lowerings of each."""
Half = Literal["fp16", "bf16"]
"""What targets with 16-bit weights compute in."""

Value = TypeVar("Value")


def as_list(name: str, given: object) -> list[Any]:
    """One value, or several of them; at least one."""
    values = list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else [given]
    if not values:
        raise UserError(f"{name} is empty; leave it out for the default")
    return values


def as_known(name: str, given: object, known: Sequence[Value]) -> Value:
    """One of `known`."""
    for one in known:
        if given == one:
            return one
    raise UserError(f"{name} should be one of {', '.join(map(str, known))}, got {given!r}")


def as_keep_ratio(given: object) -> float:
    """A number above 0 and at most 1, of Python or numpy."""
    if isinstance(given, bool) or not isinstance(given, Real) or not math.isfinite(given):
        raise UserError(f"keep should be a number above 0 and at most 1, got {given!r}")
    check_keep(float(given))
    return float(given)


def as_layer(name: str, given: object) -> int:
    """The number of a layer, counted from 0, of Python or numpy."""
    if isinstance(given, bool) or not isinstance(given, Integral) or given < 0:
        raise UserError(f"{name} should be a layer's number, counted from 0, got {given!r}")
    return int(given)


def as_video(given: object) -> Path | None:
    """A recording that can be read. Raises `SourceError` for anything else."""
    return None if given is None else Path(check_source(as_path("frames_from", given)))


def check_of_use(targets: Sequence[Target], half: Half, frames_from: object) -> None:
    """Raises `UserError` for an option that would do nothing for these targets."""
    if set(targets) <= {"cpu"} and half != "fp16":
        raise UserError("--precision is for targets with 16-bit weights, and the target cpu is in float32")
    if set(targets) <= {"cpu", "cpu-16bit"} and frames_from is not None:
        raise UserError("--frames-from looks for what 16 bits cannot hold, and these targets compute in float32")
