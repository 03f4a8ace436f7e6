"""The commands that the documentation shows, as its readers would type them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.places import ROOT

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "checkpoints/tiny/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))

_OURS = re.compile(r"(?:\$ |python |\.venv/bin/)*((?:stts-export|stts-runtime|scripts/\w+)(?:\.py)?\b.*)")


@dataclass(frozen=True)
class Command:
    place: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return shlex.join(self.words)


def shown() -> list[Command]:
    """In blocks, to be typed as they stand."""
    return [
        Command(f"{page.relative_to(ROOT)}:{number}", tuple(_words(found[1])))
        for page in PAGES
        for number, line in _in_blocks(page)
        if (found := _OURS.fullmatch(line.strip()))
    ]


def mentioned() -> list[Command]:
    """In the text, often without what they are about."""
    return [
        Command(f"{page.relative_to(ROOT)}:{number}", tuple(_words(found[1])))
        for page in PAGES
        for number, line in _in_text(page)
        for code in re.findall(r"`([^`]+)`", line)
        if (found := _OURS.fullmatch(code))
    ]


def options() -> dict[str, str]:
    """Where each `--option` that stands by itself in the text is mentioned last."""
    return {
        found[0]: f"{page.relative_to(ROOT)}:{number}"
        for page in PAGES
        for number, line in _in_text(page)
        for found in re.finditer(r"(?<=`)--[a-z][a-z-]+", line)
    }


def extras() -> set[str]:
    """Of `stts-export[...]`, wherever it is to be installed."""
    return {
        extra
        for page in PAGES
        for found in re.finditer(r"(?:stts-export|\.)\[([a-z,-]+)\]'", page.read_text())
        for extra in found[1].split(",")
    }


def _words(line: str) -> list[str]:
    """What stands in brackets is given, and of alternatives the first."""
    plain = re.sub(r"\[(-[^\]]*)\]", r"\1", line)
    return [word.partition("|")[0] for word in shlex.split(plain, comments=True)]


def _in_blocks(page: Path) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line, inside in _lines(page) if inside)


def _in_text(page: Path) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line, inside in _lines(page) if not inside)


def _lines(page: Path) -> Iterator[tuple[int, str, bool]]:
    inside = False
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.lstrip().startswith("```"):
            inside = not inside
        else:
            yield number, line, inside
