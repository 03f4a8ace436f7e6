"""Text from files, models and users, made safe for Rich."""

from __future__ import annotations

from rich.markup import escape

from stts_runtime.text import visible


def printable(text: str) -> str:
    """`visible` text in which Rich reads no markup."""
    return escape(visible(text))


def one_line(text: str) -> str:
    """`visible` text without line breaks."""
    return visible(" ".join(text.split()))
