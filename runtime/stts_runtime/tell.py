"""What a long piece of work says to whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Tell = Callable[[str], None]
"""Takes a line for people, from any thread."""


class TellStep(Protocol):
    """Takes each step in a few words, and how much of it is done."""

    def __call__(self, step: str, done: int = 0, of: int = 0) -> None: ...


def tell_nobody(step: str, done: int = 0, of: int = 0) -> None:
    """For those who do not want to know."""
