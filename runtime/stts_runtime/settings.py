"""The base of what people write in configuration files: strict, frozen, and clear about mistakes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

_MOST_MISTAKES = 3


class Settings(BaseModel):
    """Frozen and hashable; a key that it does not know is refused with the list of those that it does."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        unknown = [str(key) for key in given if key not in cls.model_fields] if isinstance(given, dict) else []
        if unknown:
            raise ValueError(f"no such setting: {', '.join(unknown)}; there are {', '.join(cls.model_fields)}")
        return given


def mistakes(error: ValidationError) -> str:
    """The first few mistakes as `key: what is wrong`, in one line, without what was written there."""
    found = error.errors(include_input=False, include_url=False)
    said = [_mistake(".".join(map(str, one["loc"])), one["msg"]) for one in found[:_MOST_MISTAKES]]
    more = [f"and {len(found) - _MOST_MISTAKES} more"] if len(found) > _MOST_MISTAKES else []
    return "; ".join(said + more)


def _mistake(place: str, message: str) -> str:
    text = message.removeprefix("Value error, ")
    return f"{place}: {text}" if place else text
