"""Files of one series, `name.000001.ext` and on: what a file is moved to, or cut into, when it gets long.

Numbers and not times name them: a board without a clock battery wakes up in 1970.
"""

from __future__ import annotations

import re
from pathlib import Path


class Series:
    """The numbered siblings of `path`, of which the newest `keep` stay."""

    def __init__(self, path: Path, keep: int) -> None:
        self._path, self._keep = path, keep
        self._name = re.compile(rf"{re.escape(path.stem)}\.(\d{{6,}}){re.escape(path.suffix)}")

    def files(self) -> list[Path]:
        """Oldest first."""
        numbered = ((self._number(file), file) for file in self._path.parent.iterdir())
        return [file for number, file in sorted(numbered) if number]

    def next(self) -> Path:
        """A name above all that are there."""
        there = self.files()
        number = self._number(there[-1]) + 1 if there else 1
        return self._path.with_name(f"{self._path.stem}.{number:06}{self._path.suffix}")

    def prune(self) -> None:
        """Deletes all but the newest."""
        there = self.files()
        for file in there[: max(0, len(there) - self._keep)]:
            file.unlink(missing_ok=True)

    def _number(self, file: Path) -> int:
        found = self._name.fullmatch(file.name)
        return int(found[1]) if found else 0
