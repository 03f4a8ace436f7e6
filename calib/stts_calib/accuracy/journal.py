"""A file of what was seen, a line a clip, from which an interrupted evaluation goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
from pydantic import BaseModel, ConfigDict, ValidationError

from stts_calib.accuracy.seen import Seen
from stts_calib.accuracy.settings import Setting
from stts_runtime.bench import Machine, machine
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, EngineName, vision_part
from stts_runtime.engines import BACKENDS
from stts_runtime.errors import UserError
from stts_runtime.places import unwritable
from stts_runtime.whole_lines import append_whole, open_locked


class Circumstances(BaseModel):
    """Whose answers these are, and what they were measured with; what was asked is told by those who ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    settings: list[str]
    engine: str
    weights_sha256: dict[str, str]
    """Hashes of the bundle's weight files."""
    graphs_sha256: dict[str, str]
    """Hashes of its graphs and tokenizer: a scorer without weights exists only there."""
    positions: str
    """As in the manifest's prompt."""
    versions: dict[str, str]
    """Versions of the packages that make, read and draw clips, and of this one."""
    jobs: int
    """Clips watched at the same time; several have one thread each."""
    machine: Machine

    def agrees_with(self, other: Circumstances) -> bool:
        """Whether the answers can be put together. Where they were given does not matter, but for milliseconds."""
        apart = {"jobs", "machine"}
        return self.model_dump(exclude=apart) == other.model_dump(exclude=apart)


def measured_with(bundle: Bundle, settings: list[Setting], engine: EngineName, jobs: int) -> Mapping[str, Any]:
    """The fields that all `Circumstances` have, today."""
    parts = [LANGUAGE, *(vision_part(setting.variant) for setting in settings)]
    graphs = [BACKENDS[engine].graph(bundle, part) for part in parts]
    files, prompt = bundle.manifest.files, bundle.manifest.prompt
    texts = [*(one.graph for one in graphs), prompt.tokenizer]
    return {
        "settings": [setting.name for setting in settings],
        "engine": engine,
        "weights_sha256": {one.weights: files[one.weights].sha256 for one in graphs},
        "graphs_sha256": {name: files[name].sha256 for name in texts},
        "positions": prompt.positions,
        "versions": {name: version(name) for name in ("stts-export", "numpy")} | {"opencv": cv2.__version__},
        "jobs": jobs,
        "machine": machine(),
    }


C = TypeVar("C", bound=Circumstances)
S = TypeVar("S", bound=Seen)
L = TypeVar("L")


class Line(BaseModel, Generic[L]):
    model_config = ConfigDict(extra="forbid", frozen=True)
    seconds: float
    """Since the clip before was done, or since the start."""
    seen: L


class Journal(Generic[C, S]):
    """An open file, or none, which then holds nothing and keeps nothing. Each clip is there once."""

    def __init__(self, path: Path | None, file: int | None, now: C, seen: type[S]) -> None:
        self._path, self._file = path, file
        self.circumstances = now
        self.lines: list[Line[S]] = []
        if path is not None and file is not None:
            self._read(path, file, now, seen)

    @classmethod
    @contextmanager
    def opened(cls, path: Path | None, now: C, seen: type[S]) -> Iterator[Journal[C, S]]:
        """`now` is what is asked today. Raises `UserError` if the file holds anything else, or is in use."""
        if path is None:
            yield cls(None, None, now, seen)
            return
        file = open_locked(path, 0o644)
        try:
            yield cls(path, file, now, seen)
        finally:
            os.close(file)

    def append(self, seen: S, seconds: float) -> None:
        # Without its type, pydantic would write no more than what all `Seen` have.
        self._append(Line[Any](seconds=round(seconds, 3), seen=seen))

    def _read(self, path: Path, file: int, now: C, seen: type[S]) -> None:
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        lines = whole.splitlines()
        try:
            self.circumstances = type(now).model_validate_json(lines[0]) if text else now
            self.lines = [Line[seen].model_validate_json(line) for line in lines[1:]]  # type: ignore[valid-type]
        except (ValidationError, IndexError):
            raise UserError(f"{path} is not a journal of `stts-export evaluate`; name another file") from None
        clips = [line.seen.clip for line in self.lines]
        if not self.circumstances.agrees_with(now) or len(set(clips)) < len(clips):
            raise UserError(f"{path} is of another evaluation: other weights, settings, questions, sets or versions")
        # A line that a power cut left unfinished would spoil the next one.
        os.ftruncate(file, len(whole))
        if not lines:
            self._append(now)

    def _append(self, line: BaseModel) -> None:
        if self._file is None or self._path is None:
            return
        try:
            append_whole(self._file, line.model_dump_json().encode() + b"\n")
        except OSError as error:
            raise UserError(unwritable(self._path, error)) from None
