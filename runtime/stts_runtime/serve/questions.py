"""What is asked over HTTP, whatever route it came by; nothing of it has been read yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stts_runtime.answering import FREE, AnswerForm, Turn
from stts_runtime.serve.clip_kwargs import ClipKwargs
from stts_runtime.serve.media import Kind
from stts_runtime.session import Wanted


@dataclass(frozen=True)
class Stream:
    """A live source's newest window."""

    name: str


@dataclass(frozen=True)
class Media:
    """A picture or clip: a data URL, the number of an upload, or an address."""

    url: str
    param: str
    """Where it stands in the request, for messages."""
    kind: Kind | None = None
    """What it has to be; None: whatever it is."""


@dataclass(frozen=True)
class Frames:
    """Several pictures that are one clip."""

    pictures: tuple[Media, ...]
    param: str
    """As in `Media`."""


@dataclass(frozen=True)
class JsonSchema:
    """What an answer has to be."""

    content: dict[str, Any]
    param: str
    """As in `Media`."""


@dataclass(frozen=True)
class Question:
    text: str
    about: Stream | Media | Frames
    max_tokens: int
    wanted: Wanted = field(default_factory=Wanted)
    stops: Sequence[str] = ()
    form: AnswerForm = FREE
    schema: JsonSchema | None = None
    history: Sequence[Turn] = ()
    """What was asked about the same clip or picture before, and answered."""
    clip: ClipKwargs = field(default_factory=ClipKwargs)
    """How the clip is looked at."""
