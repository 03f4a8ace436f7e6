"""Reading a configuration file, in YAML or TOML. Nothing of its text is repeated in messages: it may hold passwords."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stts_runtime.errors import UserError
from stts_runtime.extras import stream_extra
from stts_runtime.handed_over import small_text
from stts_runtime.mistakes import mistakes, named_place
from stts_runtime.places import shown
from stts_runtime.stream.config import AnyCameras

with stream_extra("pyyaml", "configuration files"):
    import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    with stream_extra("tomli", "configuration files in TOML"):
        import tomli as tomllib

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PASSWORD_IN_CLEAR = re.compile(r"://[^\s/@:\"']*:(?!\$\{)[^\s@\"']+@")
# Not single characters, and not the parser's own terms such as <stream end>.
_QUOTED_NAME = re.compile(r" '(?![<\\])[^']{2,}'")
_HINTS = (
    (re.compile(r"got '[?:]'|character '[^\\]'|mapping values|alias|the tag|tag handle"), "; put the text in quotes"),
    (re.compile(r"character '\\t'"), "; indent with spaces"),
)
_MOST_BYTES = 1_000_000
_MOST_NODES = 100_000
_WITH_VARIABLES = ("source", "sinks")


def load_config(path: Path, kind: type[AnyCameras], given: Mapping[str, Any] | None = None) -> AnyCameras:
    """Raises `UserError` with one line: the file, the key, and what is allowed there.

    `given` (from the command line) stands beside what the file says, and never against it. `${NAME}` in sources and
    sinks of the file is replaced by that environment variable.
    """
    content = _parsed(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} should hold settings: bundle, streams, ...")
    together = _together(_filled_in(content, path), given or {}, path)
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


def exposed_password(path: Path) -> str | None:
    """A line of warning if everybody on this machine can read a password in the file."""
    if not path.stat().st_mode & stat.S_IROTH or not _PASSWORD_IN_CLEAR.search(_text(path)):
        return None
    return f"{path} holds a password and everybody can read it: chmod 640 it, or write ${{NAME}} for the password"


def _text(path: Path) -> str:
    return small_text(path, _MOST_BYTES, "a configuration file", "a configuration")


def _parsed(path: Path) -> Any:
    if path.suffix not in (".yaml", ".yml", ".toml"):
        raise UserError(f"{shown(path)} should end in .yaml, .yml or .toml")
    text = _text(path)
    try:
        # The loader is a SafeLoader.
        return tomllib.loads(text) if path.suffix == ".toml" else yaml.load(text, _UniqueKeys)  # noqa: S506
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} {_what_is_wrong(error)}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply for a configuration") from None
    except (ValueError, TypeError, AttributeError, LookupError):
        # PyYAML's own, of values such as 2026-99-99 that look like a date, or a tag on what it does not fit.
        raise UserError(f"{path} holds a value that cannot be read as what it looks like; put it in quotes") from None


def _what_is_wrong(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
        return f"is not valid YAML at line {mark.line + 1}, column {mark.column + 1}: {_reason(error.problem or '')}"
    where = re.search(r"line \d+, column \d+", str(error))
    return f"cannot be parsed at {where[0]}" if where else "cannot be parsed to its end"


def _reason(problem: str) -> str:
    """PyYAML's own words, but for names that it quotes from the file, and what to do if that is known."""
    words = _QUOTED_NAME.sub("", problem)
    hint = next((hint for sign, hint in _HINTS if sign.search(problem)), "")
    return words + hint


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

    return {key: _replaced(value, place(key)) if key in _WITH_VARIABLES else value for key, value in entry.items()}


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


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that comes twice, of which YAML would silently take the second, and aliases that say the same thing
    so often, or within itself, that whoever reads it all never comes to an end.
    """

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            self._count(node, {}, set())
        return node

    def _count(self, node: yaml.Node, counted: dict[int, int], around: set[int]) -> int:
        """Nodes, with those that aliases stand for."""
        if (number := id(node)) in counted:
            return counted[number]
        if number in around:
            raise yaml.MarkedYAMLError(problem="this holds itself", problem_mark=node.start_mark)
        inner = [] if isinstance(node, yaml.ScalarNode) else node.value
        parts = [part for pair in inner for part in pair] if isinstance(node, yaml.MappingNode) else inner
        counted[number] = 1 + sum(self._count(part, counted, around | {number}) for part in parts)
        if counted[number] > _MOST_NODES:
            raise yaml.MarkedYAMLError(problem="this holds too much", problem_mark=node.start_mark)
        return counted[number]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem="this key is there twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return super().construct_mapping(node, deep)
