"""Files of rows: JSON lines, a JSON array, CSV, parquet. It knows nothing of what the rows mean."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stts_calib.questions.question import LeftOut
from stts_runtime.errors import MissingExtraError, UserError
from stts_runtime.handed_over import check_is_content, small_text
from stts_runtime.places import check_file, shown

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
_MOST_BYTES = 1 << 30
_WANTED = "a file of questions"


class Row(NamedTuple):
    place: str
    """`line 4`, or where there are no lines `entry 4`, `row 4`."""
    fields: Mapping[str, Any]


def read_rows(path: Path) -> Iterator[Row | LeftOut]:
    """Each row, or why it is none. Raises `UserError` for a file that cannot be read as a whole."""
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise UserError(f"{shown(path)} should end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    check_file(path, wanted=_WANTED)
    check_is_content(path)
    yield from _READERS[suffix](path)


def _json_lines(path: Path) -> Iterator[Row | LeftOut]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield LeftOut(place, f"it is not valid JSON ({_why_no_json(error)}); it should be an object in one line")
            continue
        yield _row(place, fields)


def _json(path: Path) -> Iterator[Row | LeftOut]:
    """An array of objects, or TempCompass' object: {video: {dimension: [{question, answer}, ...]}}."""
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{shown(path)} is not valid JSON at line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown(path)} is not valid JSON: {_why_no_json(error)}") from None
    if isinstance(content, dict):
        content = list(_flattened(content))
    if not isinstance(content, list):
        raise UserError(f"{shown(path)} should hold an array of questions")
    for number, fields in enumerate(content, 1):
        yield _row(f"entry {number}", fields)


def _why_no_json(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return error.msg if isinstance(error, json.JSONDecodeError) else "a number has too many digits"


def _flattened(content: Mapping[str, Any]) -> Iterator[Any]:
    """With the names that TempCompass' own parquet files give to the levels."""
    for video, dimensions in content.items():
        if not isinstance(dimensions, dict) or not all(isinstance(one, list) for one in dimensions.values()):
            yield {video: dimensions}
            continue
        for dimension, questions in dimensions.items():
            for one in questions:
                yield {"video_id": video, "dim": dimension, **one} if isinstance(one, dict) else one


def _csv(path: Path) -> Iterator[Row | LeftOut]:
    reader = csv.DictReader(io.StringIO(_text(path)))
    try:
        for fields in reader:
            place = f"line {reader.line_num - _breaks(fields)}"
            if None in fields or None in fields.values():
                yield LeftOut(place, f"it should have {len(reader.fieldnames or [])} columns, as the first line has")
            else:
                yield Row(place, fields)
    except csv.Error as error:
        raise UserError(f"{shown(path)} is not valid CSV at line {reader.line_num}: {error}") from None


def _breaks(fields: Mapping[Any, Any]) -> int:
    """Within quotes: a row begins so many lines before the one that it ends in."""
    cells = [*fields.get(None, []), *(one for one in fields.values() if isinstance(one, str))]
    return sum(cell.count("\n") for cell in cells)


def _parquet(path: Path) -> Iterator[Row | LeftOut]:
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError:
        raise MissingExtraError("parquet files need pyarrow: pip install 'stts-export[parquet]'") from None
    try:
        rows = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise UserError(f"{shown(path)} is no parquet file: {error}") from None
    for number, fields in enumerate(rows, 1):
        yield Row(f"row {number}", fields)


def _row(place: str, fields: object) -> Row | LeftOut:
    if isinstance(fields, dict):
        return Row(place, fields)
    return LeftOut(place, f"it is {type(fields).__name__} and should be an object with video, question and answer")


def _text(path: Path) -> str:
    return small_text(path, _MOST_BYTES, _WANTED, _WANTED)


_READERS: Mapping[str, Callable[[Path], Iterator[Row | LeftOut]]] = dict(
    zip(SUFFIXES, (_json_lines, _json, _csv, _parquet), strict=True)
)
