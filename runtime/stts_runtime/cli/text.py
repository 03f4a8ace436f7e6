"""Text from files, models and users, made safe for Rich."""

from __future__ import annotations

from rich.markup import escape

from stts_runtime.text import shortened, visible

_LONGEST = 2000


def printable(text: str) -> str:
    """`visible` text in which Rich reads no markup."""
    return escape(visible(text))


def one_line(text: str) -> str:
    """`visible` text without line breaks; of one that quotes a long value, the beginning and the end."""
    return shortened(visible(" ".join(text.split())), _LONGEST)
