"""The base of what people write in configuration files: strict, frozen, and clear about mistakes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator

_NOT_A_NUMBER = object()


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

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, given: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, no, on and off as true and false, which pydantic would take for 1 and 0."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        return _NOT_A_NUMBER if isinstance(given, bool) and annotation not in (bool, Any) else given
