"""Finds the videos that a file of questions names, below one folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from stts_runtime.errors import UserError
from stts_runtime.places import check_folder, check_name, shown, unusable

_LONGEST_SUFFIX = 5
"""With its dot: `.mp4`, `.webm`. What is longer is a part of the name."""


class VideoFolder:
    """Names may be paths, ends of paths wherever they are below the folder, or either without a suffix."""

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
        if _is_file(path):
            return path
        for found in self._candidates(Path(name)):
            if len(found) > 1:
                several = ", ".join(shown(one.relative_to(self.folder)) for one in found[:3])
                raise UserError(f"several videos are called {name}: {several}; name the folder of the right ones")
            if found:
                return found[0]
        return path

    def _candidates(self, name: Path) -> Iterator[list[Path]]:
        """The likeliest first. Another folder's video of the same name is another video; one that lies right in the
        folder of the videos is in no other.
        """
        called = [known.get(name.name, []) for known in (self._by_name, self._by_stem)]
        for files in called:
            yield [one for one in files if _ends_with(one.parent.parts, name.parent.parts)]
        for files in called:
            yield [one for one in files if one.parent == self.folder]

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


def _is_file(path: Path) -> bool:
    """Raises `UserError` for a name that none can have."""
    try:
        return path.is_file()
    except OSError as error:
        raise UserError(unusable(path, error)) from None


def _ends_with(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    return not wanted or tuple(parts[-len(wanted) :]) == tuple(wanted)
