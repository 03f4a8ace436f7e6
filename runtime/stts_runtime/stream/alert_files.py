"""What a configuration says about pictures and clips of alarms: where they lie, for how long, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stts_runtime.settings import Bytes, Seconds, Settings, parse_seconds

LONGEST_CLIP = 120.0
"""Seconds before and after together, which is what packets are held for."""
LATE = 10.0
"""Seconds by which an answer may come after its frame, and the clip still has all that was asked for."""


class ClipRule(Settings):
    """A clip with the seconds before and after an alarm; as text one time for both: `5s`."""

    before: Seconds = 5.0
    after: Seconds = 5.0

    @model_validator(mode="before")
    @classmethod
    def _both(cls, given: object) -> object:
        if isinstance(given, str | int | float) and not isinstance(given, bool):
            seconds = parse_seconds(given)
            return {"before": seconds, "after": seconds}
        return given

    @model_validator(mode="after")
    def _fits(self) -> ClipRule:
        if not 0 < self.before + self.after <= LONGEST_CLIP:
            raise ValueError(
                f"before and after should be above 0 and at most {LONGEST_CLIP:g} s together, which is what is held of "
                f"a stream; got {self.before + self.after:g} s"
            )
        return self


def _folder(given: object) -> object:
    if given == "":
        raise ValueError("it should be a path, and it is empty")
    return given


def _address(given: str) -> str:
    try:
        parts = urlsplit(given)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it should be an address of a folder: https://HOST/PATH")
    return given.rstrip("/")


class AlertFiles(Settings):
    """The folder alone may be given in its place."""

    folder: Annotated[Path, BeforeValidator(_folder)]
    keep_for: Annotated[Seconds, Field(gt=0)] = 30 * 86_400.0
    """Older ones are deleted."""
    max_bytes: Bytes = 10_000_000_000
    """Of all together; above it the oldest are deleted."""
    buffer_bytes: Bytes = 32_000_000
    """Of the packets that are held of one stream whose alarms have a clip."""
    url: Annotated[str, AfterValidator(_address)] | None = None
    """Where others fetch the folder's files; by default from `serve`, where that runs."""

    @model_validator(mode="before")
    @classmethod
    def _folder_alone(cls, given: object) -> object:
        return {"folder": given} if isinstance(given, str | Path) else given
