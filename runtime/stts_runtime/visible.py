"""Text from files, models and users, made safe for a terminal."""

from __future__ import annotations


def visible(text: str) -> str:
    """`text` with control characters shown as escapes, so that it cannot steer the terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
