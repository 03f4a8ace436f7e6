"""Which of the objects made on a route hold the picture, the request or the answer: how often each was wrapped again.

An object of one of the project's classes wraps a payload if it leads to it at the moment when it is made; see
`tracer.Made.holds`. Built-in containers, closures, bytes and objects of other packages are passed through, and are no
wrappings themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from stts_tools.house.tracer import Made

PAYLOADS = ("request", "picture", "features", "answer")


@dataclass(frozen=True)
class Wrapping:
    kind: str
    """`module.Class`."""
    file: str
    holds: list[str]
    """Which `PAYLOADS` its objects held."""
    times: int
    """Objects of the class that held any."""


class Payloads:
    """What to look for.

    request: a text or bytes with one of `requests` in it; not where the answer is too, whose record repeats it.
    picture: a `VideoFrame` of PyAV, or uint8 pixels (..., H, W, 3).
    features: another array of numbers in two or more dimensions, such as visual tokens; masks are none.
    answer: one of `answers` (the text and the pieces that were sent), alone or quoted in JSON; or its tokens, a list
    of integers that decode to the whole text.
    """

    def __init__(self, bundle: Path, answers: Sequence[str], requests: Sequence[str]) -> None:
        """The first of `answers` is the whole."""
        self._tokenizer = Tokenizer.from_file(str(next(bundle.glob("*tokenizer*.json"))))
        self._answers, self._requests = [text for text in answers if text.strip()], requests

    def of(self, leaf: object) -> str | None:
        if isinstance(leaf, np.ndarray):
            return _array(leaf)
        if isinstance(leaf, tuple):
            return "answer" if self._decodes(leaf) else None
        if isinstance(leaf, (str, bytes, bytearray)):
            return self._text(leaf if isinstance(leaf, str) else bytes(leaf).decode(errors="replace"))
        return "picture"

    def _text(self, text: str) -> str | None:
        if any(request in text for request in self._requests):
            return "request"
        quoted = (json.dumps(answer, ensure_ascii=False) for answer in self._answers)
        return "answer" if text in self._answers or any(answer in text for answer in quoted) else None

    def _decodes(self, ids: tuple[Any, ...]) -> bool:
        if not self._answers or min(ids) < 0 or max(ids) >= self._tokenizer.get_vocab_size():
            return False
        return bool(self._tokenizer.decode(list(ids)).strip() == self._answers[0].strip())


def wrappings(made: Iterable[Made], payloads: Payloads) -> list[Wrapping]:
    """By class, in the order in which the first of each was made."""
    held: dict[str, set[str]] = {}
    times: dict[str, int] = {}
    files: dict[str, str] = {}
    for one in made:
        found = {payload for leaf in one.holds if (payload := payloads.of(leaf))}
        if "answer" in found:
            found.discard("request")
        if found:
            held.setdefault(one.kind, set()).update(found)
            times[one.kind] = times.get(one.kind, 0) + 1
            files[one.kind] = one.file
    return [Wrapping(kind, files[kind], sorted(held[kind], key=PAYLOADS.index), times[kind]) for kind in held]


def _array(values: np.ndarray[Any, Any]) -> str | None:
    if values.dtype == np.uint8 and values.ndim >= 3 and values.shape[-1] == 3:
        return "picture"
    return "features" if values.ndim >= 2 and values.dtype != np.bool_ else None
