"""What a name, a number or a command in a bundle's JSON files may be: all of it is untrusted, and bounded here.

This module reads and writes no file.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Final

from pydantic import AfterValidator, Field

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def _plain_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain file name")
    return name


FileName = Annotated[str, AfterValidator(_plain_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1, le=1 << 20)]
MAX_FRAMES: Final = 1 << 12
Small = Annotated[int, Field(ge=1, le=MAX_FRAMES)]
TokenId = Annotated[int, Field(ge=0, le=1 << 31)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Layer = Annotated[int, Field(ge=0, lt=MAX_FRAMES)]
"""Its number, counted from 0."""
Share = Annotated[float, Field(ge=0, lt=1)]
Version = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=30)]


def _build_command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if words[:2] != ["stts-export", "build"] or shlex.join(words) != text:
        raise ValueError("it should be a command of `stts-export build` and nothing else")
    return text


Command = Annotated[str, AfterValidator(_build_command)]
"""As shown to the user, to be pasted into a shell for a rebuild."""
