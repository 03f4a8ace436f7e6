"""From a configuration file, and what it includes, to settings. No message repeats its text: it may hold passwords."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stts_runtime.errors import UserError
from stts_runtime.mistakes import mistakes, named_place
from stts_runtime.stream.config import AnyCameras
from stts_runtime.stream.includes import ConfigFiles, Entry

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PASSWORD_IN_CLEAR = re.compile(r"://[^\s/@:\"']*:(?!\$\{)[^\s@\"']+@")
_WITH_VARIABLES = ("source", "sinks")


def load_config(path: Path, kind: type[AnyCameras], given: Mapping[str, Any] | None = None) -> AnyCameras:
    """Raises `UserError` with one line: the file, the key, and what is allowed there.

    `given` (from the command line) stands beside what the file says, and never against it. `${NAME}` in sources and
    sinks of the file is replaced by that environment variable.
    """
    return validated(ConfigFiles(path), kind, given)


def validated(files: ConfigFiles, kind: type[AnyCameras], given: Mapping[str, Any] | None = None) -> AnyCameras:
    """As `load_config`, of files that were read."""
    path = files.path
    together = _together(_filled_in(files.content, path), given or {}, path)
    try:
        return kind.model_validate(together)
    except ValidationError as error:
        raise UserError(f"{path}: {mistakes(error, together)}") from None
    except UnicodeEncodeError:
        raise UserError(f"{path} holds half of a surrogate pair, which is no character") from None


def _together(content: Mapping[str, Any], given: Mapping[str, Any], path: Path, place: str = "") -> dict[str, Any]:
    """Raises `UserError` for a setting that both have: which one holds, nobody would know who reads the file."""
    both = dict(content)
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            both[key] = _together(content[key], value, path, f"{place}{key}.")
        elif key in content:
            raise UserError(f"{place}{key}: given on the command line and in {path}; leave out one of the two")
        else:
            both[key] = value
    return both


def exposed_passwords(files: ConfigFiles) -> list[str]:
    """A line of warning for each of the files in which everybody on this machine can read a password."""
    found = [path for path, text in files.texts.items() if _PASSWORD_IN_CLEAR.search(text)]
    return [
        f"{path} holds a password and everybody can read it: chmod 640 it, or write ${{NAME}} for the password"
        for path in found
        if path.stat().st_mode & stat.S_IROTH
    ]


def _filled_in(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Replaces variables where secrets belong, for all streams and in each."""
    filled = {key: _replaced(value, f"{path}: {key}") if key == "sinks" else value for key, value in content.items()}
    if isinstance(streams := content.get("streams"), list):
        filled["streams"] = [_stream(content, index, path) for index in range(len(streams))]
    return filled


def _stream(content: Mapping[str, Any], index: int, path: Path) -> Any:
    entry = content["streams"][index]
    if not isinstance(entry, dict):
        return entry

    def place(key: str) -> str:
        return f"{path}: {named_place(['streams', index, key], content)}"

    filled = {key: _replaced(value, place(key)) if key in _WITH_VARIABLES else value for key, value in entry.items()}
    return Entry(filled, entry.where, entry.place) if isinstance(entry, Entry) else filled


def _replaced(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _variable(found[1], place), value)
    if isinstance(value, list):
        return [_replaced(one, place) for one in value]
    if isinstance(value, dict):
        return {key: _replaced(one, place) for key, one in value.items()}
    return value


def _variable(name: str, place: str) -> str:
    if not (value := os.environ.get(name)):
        raise UserError(f"{place} needs the environment variable {name}, which is not set")
    return value
