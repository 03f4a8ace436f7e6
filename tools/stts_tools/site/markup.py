"""Small pieces of Markdown for generated pages. They know nothing of what the pages are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a blank line after it; cells are Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(_cell(one) for one in line)} |\n" for line in lines) + "\n"


def plain(text: str) -> str:
    """Text that Markdown and HTML take for what it says; what stands in backticks is code."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([\\*_<\[|])", r"\\\1", one) for one in pieces[::2]]
    return "`".join(pieces)


def code(text: object) -> str:
    return f"`{text}`"


def _cell(text: str) -> str:
    return " ".join(text.split())
