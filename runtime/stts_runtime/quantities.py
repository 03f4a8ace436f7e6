"""Times and sizes as people write them in files and options: `90s`, `5m`, `64MB`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1.0, "B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def parse_seconds(value: object) -> float:
    """Seconds of a number, or of a text such as `2`, `250ms`, `90s`, `5m`, `1.5h`, `2d`. Raises `ValueError`."""
    return _parse(value, _SECONDS, "a time is a number of seconds, or a text such as 250ms, 90s, 5m, 2h, 1d")


def parse_bytes(value: object) -> int:
    """Bytes of a whole number, or of a text such as `500kB`, `64MB`, `2GB`. Raises `ValueError`."""
    return round(_parse(value, _BYTES, "a size is a number of bytes, or a text such as 500kB, 64MB, 2GB"))


def _parse(value: object, units: Mapping[str, float], allowed: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    found = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2] not in units:
        raise ValueError(allowed)
    return float(found[1]) * units[found[2]]


Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(ge=0)]
Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(gt=0)]
