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
    """Times before and after an alarm, 120 s together at most; as text one for both: `5s`."""

    before: Seconds = 5.0
    """Time before the frame that raised the alarm."""
    after: Seconds = 5.0
    """Time after it."""

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
    """A text stands for `{folder: TEXT}`."""

    folder: Annotated[Path, BeforeValidator(_folder)]
    """Created if needed; one process at a time."""
    keep_for: Annotated[Seconds, Field(gt=0)] = 30 * 86_400.0
    """Age at which files are deleted."""
    max_bytes: Bytes = 10_000_000_000
    """Size of all files together above which the oldest are deleted."""
    buffer_bytes: Bytes = 32_000_000
    """Packets held for each live stream with clips. What does not fit makes a clip start later."""
    url: Annotated[str, AfterValidator(_address)] | None = None
    """Address where your web server shows the folder. None: that of `serve`, where that runs."""

    @model_validator(mode="before")
    @classmethod
    def _folder_alone(cls, given: object) -> object:
        return {"folder": given} if isinstance(given, str | Path) else given
