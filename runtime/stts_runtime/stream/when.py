"""When an answer is due: `novelty>0.3`."""

from __future__ import annotations

import re

from pydantic import Field, model_validator

from stts_runtime.settings import Settings

_RULE = re.compile(r"\s*novelty\s*>\s*(\d+(?:\.\d+)?|\.\d+)\s*")


class When(Settings):
    """An answer is due when the novelty of a frame is above `novelty`, in 0..1."""

    novelty: float = Field(ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, given: object) -> object:
        if isinstance(given, When):
            return given
        found = _RULE.fullmatch(given) if isinstance(given, str) else None
        if found is None:
            raise ValueError("it should be novelty>NUMBER, with a number from 0 to 1: novelty>0.3")
        return {"novelty": float(found[1])}
