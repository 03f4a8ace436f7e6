"""Streams of many files, and what they have in common: `include`, `defaults` and `templates` become whole entries.

It knows no setting by its meaning but those that it takes away: `template` and `values` of a stream.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stts_runtime.errors import UserError
from stts_runtime.mistakes import mistakes
from stts_runtime.natural_order import natural_key
from stts_runtime.places import check_name, is_there
from stts_runtime.stream.config import Asking, StreamEntry
from stts_runtime.stream.config_text import Mapped, parse, read_text

_SHARED = ("include", "defaults", "templates")
_OF_INCLUDED = (*_SHARED, "streams")
_MOST_FILES = 1000
_MOST_LEVELS = 16
# Not ${NAME}, which is an environment variable.
_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WITH_VALUES = ("source", "sinks")
_NAMES = [info.alias or name for name, info in StreamEntry.model_fields.items() if name != "name"]
_ASKING = [info.alias or name for name, info in Asking.model_fields.items() if name != "sinks"]


class Entry(dict[str, Any]):
    """A stream's settings with those that it shares with others."""

    def __init__(self, settings: Mapping[str, Any], where: str, place: str | None) -> None:
        super().__init__(settings)
        self.where = where
        """File and line."""
        self.place = place
        """The same for messages; None in the file that they begin with, where its number says enough."""


@dataclass(frozen=True)
class _Shared:
    """What the streams of a file have in common, and what those of the files have that it includes."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    templates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class ConfigFiles:
    """A configuration file with all that it includes, read once."""

    def __init__(self, path: Path) -> None:
        """Raises `UserError` with file and line for what cannot be put together."""
        self.path = path
        self.texts: dict[Path, str] = {}
        """Of every file, in the order of reading."""
        content = self._read(path)
        self.content: dict[str, Any] = {key: value for key, value in content.items() if key not in _SHARED}
        if isinstance(content.get("streams", []), list):
            streams = self._streams(path, content, _Shared(), ())
            if streams or "streams" in content:
                self.content["streams"] = streams
            _check_names(path, streams)

    def _read(self, path: Path) -> dict[str, Any]:
        self.texts[path] = text = read_text(path)
        content = parse(text, path)
        if not isinstance(content, dict):
            wanted = "settings: bundle, streams, ..." if path == self.path else f"settings: {', '.join(_OF_INCLUDED)}"
            raise UserError(f"{path} should hold {wanted}")
        return content

    def _streams(self, path: Path, content: Mapping[str, Any], shared: _Shared, around: tuple[Path, ...]) -> list[Any]:
        """Of a file and, before its own, of those that it includes; `around` are those that lead to it."""
        shared = _with_own(path, content, shared)
        found: list[Any] = []
        around = (*around, path)
        for part in self._included(path, content, around):
            found += self._streams_of(part, content, path, shared, around)
        root = path == self.path
        for number, entry in enumerate(content.get("streams", [])):
            found.append(_whole(path, number, entry, shared, root=root))
        return found

    def _streams_of(
        self, path: Path, by: Mapping[str, Any], outer: Path, shared: _Shared, around: tuple[Path, ...]
    ) -> list[Any]:
        at = _at(outer, by, "include")
        if _is_one_of(path, around):
            raise UserError(f"{at}: it includes {path}, which leads back to it: leave out one of the two")
        if len(around) > _MOST_LEVELS:
            raise UserError(f"{at}: files include one another more than {_MOST_LEVELS} deep")
        if len(self.texts) >= _MOST_FILES:
            raise UserError(f"{at}: more than {_MOST_FILES} files are included")
        content = self._read(path)
        for key in content:
            if key not in _OF_INCLUDED:
                raise UserError(
                    f"{_at(path, content, key)}: {key} stands in an included file, which may have "
                    f"{', '.join(_OF_INCLUDED)}; move it to {self.path}"
                )
        if not isinstance(content.get("streams", []), list):
            raise UserError(f"{_at(path, content, 'streams')}: streams should be a list, even of one")
        return self._streams(path, content, shared, around)

    def _included(self, path: Path, content: Mapping[str, Any], around: tuple[Path, ...]) -> list[Path]:
        """As they lie beside the file. Raises `UserError` for a name or pattern that stands for none."""
        given = content.get("include", [])
        patterns = [given] if isinstance(given, str) else given
        if not isinstance(patterns, list) or not all(isinstance(one, str) and one for one in patterns):
            raise UserError(f"{_at(path, content, 'include')}: include should be a file or pattern, or a list of them")
        found: dict[Path, None] = {}
        for pattern in patterns:
            whole = path.parent / pattern
            check_name(whole)
            is_pattern = glob.has_magic(pattern)
            # Path.glob takes hidden files too, such as an editor leaves.
            there = [Path(one) for one in glob.glob(str(whole), recursive=True)] if is_pattern else [whole]  # noqa: PTH207
            # A pattern that takes in the file itself means the others.
            there = [one for one in there if not is_pattern or not _is_one_of(one, around)]
            if not there or not (is_pattern or is_there(whole)):
                raise UserError(f"{_at(path, content, 'include')}: no file is {whole}")
            found |= dict.fromkeys(sorted(there, key=lambda one: [natural_key(part) for part in one.parts]))
        return list(found)


def _is_one_of(path: Path, others: Sequence[Path]) -> bool:
    # Of a link that leads nowhere too.
    return os.path.realpath(path) in {os.path.realpath(one) for one in others}


def _at(path: Path, content: object, key: object) -> str:
    line = content.lines.get(key) if isinstance(content, Mapped) else None
    return str(path) if line is None else f"{path}, line {line}"


def _with_own(path: Path, content: Mapping[str, Any], shared: _Shared) -> _Shared:
    """Those of a file behind those of the file that includes it."""
    defaults, templates = content.get("defaults", {}), content.get("templates", {})
    _check_shared(path, content, "defaults", defaults, "defaults")
    if not isinstance(templates, dict):
        raise UserError(f"{_at(path, content, 'templates')}: templates should be settings by name: {{door: {{...}}}}")
    for name, template in templates.items():
        _check_shared(path, templates, name, template, f"templates.{name}")
    return _Shared({**shared.defaults, **defaults}, {**shared.templates, **templates})


def _check_shared(path: Path, content: object, key: object, given: object, name: str) -> None:
    """Raises `UserError` here, once, for what every stream would complain about."""
    at = _at(path, content, key)
    if not isinstance(given, dict):
        raise UserError(f"{at}: {name} should be settings of streams, each written as KEY: VALUE")
    if unknown := [str(one) for one in given if one not in _NAMES]:
        raise UserError(f"{at}: {name}: no such setting: {', '.join(unknown)}; there are {', '.join(_NAMES)}")
    try:
        Asking.model_validate({one: value for one, value in given.items() if one in _ASKING})
    except ValidationError as error:
        raise UserError(f"{at}: {name}.{mistakes(error)}") from None


def _whole(path: Path, number: int, entry: Any, shared: _Shared, *, root: bool) -> Any:
    """A stream with what it shares. What is no entry is left to whoever validates it."""
    if not isinstance(entry, dict):
        return entry
    line = entry.line if isinstance(entry, Mapped) else None
    where = f"{path}, streams[{number}]" if line is None else f"{path}, line {line}"
    own = {key: value for key, value in entry.items() if key not in ("template", "values")}
    common = {**shared.defaults, **_template(entry, shared, where)}
    values = _values(entry, where)
    filled = {
        key: _filled(value, values, f"{where}: {key}") if key in _WITH_VALUES else value
        for key, value in common.items()
        if key not in own
    }
    return Entry({**filled, **own}, where, None if root else where)


def _template(entry: Mapping[str, Any], shared: _Shared, where: str) -> Mapping[str, Any]:
    if "template" not in entry:
        return {}
    name = entry["template"]
    if not isinstance(name, str) or name not in shared.templates:
        there = f"there are {', '.join(shared.templates)}" if shared.templates else "there are none"
        raise UserError(f"{where}: template should be the name of one under `templates`; {there}")
    return shared.templates[name]


def _values(entry: Mapping[str, Any], where: str) -> dict[str, str]:
    given = entry.get("values", {})
    if not isinstance(given, dict) or not all(_is_word(one) for one in given.values()):
        raise UserError(f"{where}: values should be texts or numbers by name: {{host: 192.0.2.7}}")
    return {"name": str(entry.get("name", "")), **{str(key): str(value) for key, value in given.items()}}


def _is_word(given: object) -> bool:
    return isinstance(given, str | int | float) and not isinstance(given, bool)


def _filled(given: Any, values: Mapping[str, str], place: str) -> Any:
    if isinstance(given, str):
        return _PLACEHOLDER.sub(lambda found: _value(found[1], values, place), given)
    if isinstance(given, list):
        return [_filled(one, values, place) for one in given]
    if isinstance(given, dict):
        return {key: _filled(one, values, place) for key, one in given.items()}
    return given


def _value(name: str, values: Mapping[str, str], place: str) -> str:
    if name not in values:
        raise UserError(f"{place} needs a value for {{{name}}}: values: {{{name}: ...}}")
    return values[name]


def _check_names(path: Path, streams: Sequence[Any]) -> None:
    """Raises `UserError` for one that comes twice, of which one stands in another file."""
    seen: dict[str, Entry] = {}
    for entry in streams:
        name = entry.get("name") if isinstance(entry, Entry) else None
        if not isinstance(name, str):
            continue
        first = seen.setdefault(name, entry)
        if first is not entry and (first.place or entry.place):
            raise UserError(
                f"{path}: each stream needs a name of its own: {name} is at {first.where} and {entry.where}"
            )
