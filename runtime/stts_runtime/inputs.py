"""From what a user names to video files: folders are searched and patterns matched. No file is opened here."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from stts_runtime.errors import SourceError
from stts_runtime.leftovers import is_leftover
from stts_runtime.natural_order import natural_key

# What counts as a video in a folder. A file that is named is read whatever its suffix.
_VIDEO_SUFFIX = re.compile(
    r"\.(?:264|265|3g2|3gp|asf|avi|dav|divx|dv|f4v|flv|gif|h264|h265|hevc|ivf|m1v|m2t|m2ts|m2v|m4v|mjpeg|mjpg|mkv|mov|mp4"
    r"|mpeg|mpg|mts|mxf|ogm|ogv|qt|rmvb|ts|vob|webm|wmv|y4m)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Input:
    """A source to answer about, or the problem with what should have been one."""

    name: str
    problem: SourceError | None = None


def expand_sources(sources: Iterable[str]) -> list[Input]:
    """Files and addresses stay as they are; a folder becomes the videos in it and in its subfolders, a pattern what it
    matches, both in natural order. A file that is found twice under one name is listed once.

    `**` in a pattern stands for any number of folders. As in a shell, hidden files and folders are left out, and so is
    what volumes and tools leave in folders (`leftovers`).
    """
    found: dict[tuple[str, str], Input] = {}
    for source in sources:
        for one in _expand(source):
            found.setdefault(_identity(one), one)
    return list(found.values())


def _expand(source: str) -> Iterator[Input]:
    search = _Search()
    if _is_folder(source):
        yield from search.videos_in(source)
    elif _MAGIC.search(source) and not os.path.lexists(source) and not _ADDRESS.match(source):
        yield from search.matches_of(source)
    else:
        yield Input(source)


def _identity(one: Input) -> tuple[str, str]:
    """Links to files of other names count as files of their own, links to folders do not."""
    if one.problem is not None or _ADDRESS.match(one.name):
        return "", one.name
    path = Path(one.name)
    return os.path.realpath(path.parent), path.name


class _Search:
    """For one source; `problems` collects the folders that cannot be read."""

    def __init__(self) -> None:
        self.problems: list[Input] = []

    def videos_in(self, source: str) -> list[Input]:
        files = [folder / name for folder, names in self._walk(source) for name in names]
        videos = sorted((file for file in files if _VIDEO_SUFFIX.fullmatch(file.suffix)), key=_natural)
        if not videos and not self.problems:
            return [Input(source, SourceError(_no_video(source, sorted(files, key=_natural))))]
        return [*(Input(str(file)) for file in videos), *self.problems]

    def matches_of(self, pattern: str) -> list[Input]:
        path = Path(pattern)
        top = Path(path.anchor)
        matches = sorted(set(self._matches(top, path.relative_to(top).parts)), key=_natural)
        if not matches and not self.problems:
            return [Input(pattern, SourceError(f"no file matches {pattern}"))]
        return [*(one for match in matches for one in self._match(match)), *self.problems]

    def _match(self, path: Path) -> list[Input]:
        return _Search().videos_in(str(path)) if _is_folder(path) else [Input(str(path))]

    def _matches(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        if not parts:
            yield folder
            return
        head, rest = parts[0], parts[1:]
        if head == "**":
            for below, _ in self._walk(str(folder)):
                yield from self._matches(below, rest or ("*",))
        elif _MAGIC.search(head):
            for name in self._names(folder):
                if fnmatchcase(name, head) and (head.startswith(".") or not name.startswith(".")):
                    yield from self._matches(folder / name, rest)
        elif os.path.lexists(folder / head):
            yield from self._matches(folder / head, rest)

    def _names(self, folder: Path) -> list[str]:
        try:
            return [path.name for path in folder.iterdir()] if _is_folder(folder) else []
        except OSError as error:
            self._note(error)
            return []

    def _walk(self, top: str) -> Iterator[tuple[Path, list[str]]]:
        """Each folder below `top` with its files. Links to folders come last; no folder is entered twice."""
        entered: set[str] = set()
        starts = [top]
        for start in starts:
            for folder, subfolders, files in os.walk(start, onerror=self._note):
                real = os.path.realpath(folder)
                if real in entered:
                    subfolders.clear()
                    continue
                entered.add(real)
                subfolders[:] = sorted((name for name in subfolders if not is_leftover(name)), key=natural_key)
                paths = [Path(folder) / name for name in subfolders]
                starts += [str(path) for path in paths if path.is_symlink()]
                yield Path(folder), [name for name in files if not is_leftover(name)]

    def _note(self, error: OSError) -> None:
        self.problems.append(Input(error.filename, SourceError(f"{error.filename} cannot be read: {error.strerror}")))


def _is_folder(path: str | Path) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def _natural(path: Path) -> tuple[list[list[tuple[bool, int, str]]], str]:
    return [natural_key(part) for part in path.parts], str(path)


def _no_video(folder: str, others: Sequence[Path]) -> str:
    if not others:
        return f"{folder} holds no video file; it is empty"
    picture = next((file for file in others if (mimetypes.guess_type(file.name)[0] or "").startswith("image/")), None)
    count = "1 other file," if len(others) == 1 else f"{len(others):,} other files, such as"
    such = f"{folder} holds no video file; it holds {count} {(picture or others[0]).relative_to(folder)}"
    return f"{such}; folders of pictures are for `stts-runtime stream`" if picture else such
