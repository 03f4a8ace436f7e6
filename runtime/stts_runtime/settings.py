"""Records that people or other programs write: strict bases, and their mistakes in few words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

_MOST = 1e300
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
    # Without a bound on whole numbers `isfinite` raises for those that no float holds.
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST and math.isfinite(value):
        return float(value)
    found = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2] not in units:
        raise ValueError(allowed)
    return float(found[1]) * units[found[2]]


Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(ge=0)]
Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(gt=0)]


def first_problem(error: ValidationError) -> str:
    """The first problem as `field.subfield: what is wrong`."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"


class _Versioned(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    schema_version: int


def declared_version(content: bytes) -> int | None:
    """The `schema_version` that a JSON object claims to have; None if it is no such object."""
    try:
        return _Versioned.model_validate_json(content).schema_version
    except ValidationError:
        return None


_NOT_A_NUMBER = object()


class Settings(BaseModel):
    """Frozen and hashable; a key that it does not know is refused with the list of those that it does."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        unknown = [str(key) for key in given if key not in known] if isinstance(given, dict) else []
        if unknown:
            raise ValueError(f"no such setting: {', '.join(unknown)}; there are {', '.join(known)}")
        return given

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, given: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, no, on and off as true and false, which pydantic would take for 1 and 0."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        return _NOT_A_NUMBER if isinstance(given, bool) and annotation not in (bool, Any) else given
