"""What a target is: a table from our operators to ONNX, and the opset that the table is written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    name: str
    opset_version: int
    table: Mapping[Callable[..., Any], Callable[..., Any]]
    """Lowerings, each called with the ONNX values and the attributes of the operator's schema."""
