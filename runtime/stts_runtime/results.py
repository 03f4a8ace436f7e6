"""Answers in a file of JSON lines that a later run continues. It knows neither sources nor engines.

Each line is an `Answer` with the settings that it was made with, so that answers of different settings never get into
one file. What is cut off at the end of the file, as kill -9 may leave it, is dropped when the file is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ValidationError

from stts_runtime.errors import UserError
from stts_runtime.places import unwritable
from stts_runtime.record_parts import RecordPart
from stts_runtime.records import Answer
from stts_runtime.whole_lines import append_whole, open_locked

SUFFIX = ".jsonl"

_MODE = 0o666
_LONGEST_LINE = 1 << 24
_OPENING = b'{"schema_name":"stts.answer/1",'


class AnswerSettings(RecordPart):
    """What decides on an answer besides the source and the question."""

    bundle_sha256: str
    """Hash of the manifest, which holds the hashes of all other files."""
    engine: str
    keep: float
    budget: str | None
    frames: int | None
    max_tokens: int
    choices: tuple[str, ...] | None = None
    schema_sha256: str | None = None
    top_logprobs: int | None = None

    def differences(self, now: AnswerSettings) -> str:
        """In words; empty if there are none."""
        before, after = dict(self), dict(now)
        return ", ".join(
            "another bundle" if name == "bundle_sha256" else f"{name} {_word(before[name])} (now {_word(after[name])})"
            for name in before
            if before[name] != after[name]
        )


class Result(Answer):
    """One line."""

    settings: AnswerSettings

    @classmethod
    def of(cls, answer: Answer, settings: AnswerSettings) -> Result:
        result = cls(**dict(answer), settings=settings)
        result._only_shares_the_window = answer.only_shares_the_window
        return result


class _Line(BaseModel):
    """What matters of a line that is there already."""

    schema_name: Literal["stts.answer/1"]
    source: str
    question: str
    answer: str
    settings: AnswerSettings


class Results:
    """An open file of results; see `open_results`."""

    def __init__(self, path: Path, settings: AnswerSettings, file: int) -> None:
        """Raises `UserError`, and leaves the file as it is, if it holds anything but results of these settings."""
        self.path, self._settings, self._file = path, settings, file
        self._answered: set[tuple[str, str]] = set()
        with path.open("rb") as lines:
            whole = self._read(lines)
        if whole < os.fstat(file).st_size:
            os.ftruncate(file, whole)

    def missing(self, source: str, questions: Sequence[str]) -> list[str]:
        """The questions about `source` that have no answer yet."""
        return [question for question in questions if (source, question) not in self._answered]

    def add(self, answer: Answer) -> None:
        """Raises `UserError` if the answer cannot be written, and then nothing of it is in the file."""
        line = Result.of(answer, self._settings).model_dump_json() + "\n"
        with self._writing():
            append_whole(self._file, line.encode())
        self._answered.add((answer.source, answer.question))

    def sync(self) -> None:
        """What was added so far survives a power cut from here on."""
        with self._writing():
            os.fsync(self._file)

    def _read(self, lines: IO[bytes]) -> int:
        """The size of the file up to the end of its last whole line."""
        size = number = 0
        while line := lines.readline(_LONGEST_LINE):
            number += 1
            if not line.endswith(b"\n"):
                self._check_torn(line, number, is_last=not lines.read(1))
                break
            self._check(line, number)
            size += len(line)
        return size

    def _check(self, line: bytes, number: int) -> None:
        try:
            found = _Line.model_validate_json(line)
        except ValidationError:
            raise self._refused(number) from None
        if different := found.settings.differences(self._settings):
            raise UserError(
                f"{self.path} holds answers made with {different}; name another file, or delete it to start over"
            )
        self._answered.add((found.source, found.question))

    def _check_torn(self, line: bytes, number: int, is_last: bool) -> None:
        if not is_last or line[: len(_OPENING)] != _OPENING[: len(line)]:
            raise self._refused(number)

    def _refused(self, number: int) -> UserError:
        return UserError(
            f"{self.path} is not a file of results: line {number} is not an answer with its settings; name another file"
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{unwritable(self.path, error)}; the same command continues from there") from None


@contextmanager
def open_results(path: Path, settings: AnswerSettings) -> Iterator[Results]:
    """The file is made if it is not there, and deleted again if nothing came of it.

    Raises `UserError` if another process is writing it, or it is no file of results with these settings.
    """
    is_new = not path.exists()
    file = open_locked(path, _MODE)
    try:
        yield Results(path, settings, file)
    finally:
        if is_new and not os.fstat(file).st_size:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            os.fsync(file)
        os.close(file)


def _word(value: object) -> str:
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
