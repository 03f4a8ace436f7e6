"""What `stts-runtime doctor` found, as JSON has it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from stts_runtime.bundle.contract import EngineName


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fact(_Part):
    """Something that is so, or that could not be found out: exactly one of `value` and `because` is set."""

    name: str
    value: str | None
    because: str | None
    """Why there is no value: one clause."""

    @classmethod
    def of(cls, name: str, value: str | None, otherwise: str | None) -> Fact:
        """`otherwise` is why there would be no value."""
        return cls(name=name, value=value, because=otherwise if value is None else None)


class Target(_Part):
    """Whether engines of one target run here."""

    name: EngineName
    ready: bool
    """Engines of this target run here."""
    can_compile: bool
    """Engines of this target are compiled here; false too where a target needs no compiling."""
    because: str
    """One sentence."""
    command: str | None
    """The command that adds what is missing; None where nothing is, or no command is known to help."""


class Report(_Part):
    """Everything that was found."""

    schema_name: Literal["stts.doctor/1"] = "stts.doctor/1"
    targets: list[Target]
    facts: list[Fact]
