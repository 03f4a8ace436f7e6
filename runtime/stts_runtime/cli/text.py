"""Text from files, models and users, made safe for a terminal."""

from __future__ import annotations

from rich.markup import escape


def visible(text: str) -> str:
    """`text` with control characters shown as escapes, so that it cannot steer the terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def printable(text: str) -> str:
    """The same for Rich, which would otherwise read markup in it."""
    return escape(visible(text))
