"""How far a long piece of work is, for whoever waits for it."""

from __future__ import annotations

from typing import Protocol


class Tell(Protocol):
    """Is told of each step in a few words, and of how much of it is done."""

    def __call__(self, step: str, done: int = 0, of: int = 0) -> None: ...


def tell_nobody(step: str, done: int = 0, of: int = 0) -> None:
    """For those who do not want to know."""
