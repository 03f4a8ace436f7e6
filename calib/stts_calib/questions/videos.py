"""Finds the videos that a file of questions names, below one folder."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import Path

from stts_runtime.errors import UserError
from stts_runtime.places import check_folder, check_name, shown

_LONGEST_SUFFIX = 5
"""With its dot: `.mp4`, `.webm`. What is longer is a part of the name."""


class VideoFolder:
    """Names may be paths, bare names wherever they lie below the folder, or names without a suffix."""

    def __init__(self, folder: Path) -> None:
        """Raises `UserError` if there is no such folder."""
        check_folder(folder)
        self.folder = folder

    def find(self, name: str) -> Path:
        """Where nothing has the name, the path at which it should lie: by the next run it may. Raises `UserError` if
        several have it.
        """
        check_name(name)
        path = self.folder / name
        if path.is_file():
            return path
        for known, key in ((self._by_name, path.name), (self._by_stem, path.name)):
            found = known.get(key, [])
            if len(found) > 1:
                several = ", ".join(shown(one.relative_to(self.folder)) for one in found[:3])
                raise UserError(f"several videos are called {key}: {several}; name the folder of the right ones")
            if found:
                return found[0]
        return path

    @cached_property
    def _files(self) -> list[Path]:
        return sorted(one for one in self.folder.rglob("*") if one.is_file())

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        named: dict[str, list[Path]] = defaultdict(list)
        for one in self._files:
            named[one.name].append(one)
        return named

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        named: dict[str, list[Path]] = defaultdict(list)
        for one in self._files:
            if 1 < len(one.suffix) <= _LONGEST_SUFFIX:
                named[one.stem].append(one)
        return named
