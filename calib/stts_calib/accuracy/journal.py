"""A file of what was seen, a line a clip, from which an interrupted evaluation goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stts_calib.accuracy.seen import ClipSeen
from stts_runtime.bench import Machine
from stts_runtime.errors import UserError
from stts_runtime.places import unwritable
from stts_runtime.whole_lines import append_whole, open_locked


class Circumstances(BaseModel):
    """Whose answers these are, and what they were measured with."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_name: Literal["stts.accuracy-journal/1"] = "stts.accuracy-journal/1"
    settings: list[str]
    questions: int
    split: str
    clip_sets: list[str]
    engine: str
    weights_sha256: dict[str, str]
    """Of the bundle's weight files."""
    graphs_sha256: dict[str, str]
    """Of its graphs and its tokenizer: a scorer without weights is in them alone."""
    positions: str
    """As in the manifest's prompt."""
    versions: dict[str, str]
    """Of what makes and draws clips, and of this package."""
    jobs: int
    """Clips watched at the same time; several have one thread each."""
    machine: Machine

    def agrees_with(self, other: Circumstances) -> bool:
        """Whether the answers can be put together. Where they were given does not matter, but for milliseconds."""
        apart = {"jobs", "machine"}
        return self.model_dump(exclude=apart) == other.model_dump(exclude=apart)


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    seconds: float
    """Since the clip before was done, or since the start."""
    seen: ClipSeen


class Journal:
    """An open file. Clips follow one another from 0 on."""

    def __init__(self, path: Path, file: int, now: Circumstances) -> None:
        self._path, self._file = path, file
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        lines = whole.splitlines()
        try:
            self.circumstances = Circumstances.model_validate_json(lines[0]) if text else now
            read = [_Line.model_validate_json(line) for line in lines[1:]]
        except (ValidationError, IndexError):
            raise UserError(f"{path} is no journal of `stts-export evaluate`; name another file") from None
        if not self.circumstances.agrees_with(now) or [one.seen.clip for one in read] != list(range(len(read))):
            raise UserError(f"{path} is of another evaluation: other weights, settings, questions, sets or versions")
        self.clips, self.seconds = [one.seen for one in read], [one.seconds for one in read]
        # A line that a power cut left unfinished would spoil the next one.
        os.ftruncate(file, len(whole))
        if not lines:
            self._append(now)

    @classmethod
    @contextmanager
    def opened(cls, path: Path, now: Circumstances) -> Iterator[Journal]:
        """`now` is what is asked today. Raises `UserError` if the file holds anything else, or is in use."""
        file = open_locked(path, 0o644)
        try:
            yield cls(path, file, now)
        finally:
            os.close(file)

    def append(self, seen: ClipSeen, seconds: float) -> None:
        self._append(_Line(seconds=round(seconds, 3), seen=seen))

    def _append(self, line: BaseModel) -> None:
        try:
            append_whole(self._file, line.model_dump_json().encode() + b"\n")
        except OSError as error:
            raise UserError(unwritable(self._path, error)) from None
