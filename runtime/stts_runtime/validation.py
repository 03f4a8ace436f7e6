"""What pydantic found wrong, in the few words that an error line has room for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


def first_problem(error: ValidationError) -> str:
    """The first problem as `field.subfield: what is wrong`."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    return f"{place}: {first['msg']}"


class _Versioned(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    schema_version: int


def declared_version(content: bytes) -> int | None:
    """The `schema_version` that a JSON object claims to have; None if it is no such object."""
    try:
        return _Versioned.model_validate_json(content).schema_version
    except ValidationError:
        return None
