"""The text of a configuration file, in YAML or TOML, as values. No message repeats the text: it may hold passwords."""

from __future__ import annotations

import re
import sys
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

from stts_runtime.errors import UserError
from stts_runtime.extras import stream_extra
from stts_runtime.handed_over import small_text
from stts_runtime.places import shown

with stream_extra("pyyaml", "configuration files"):
    import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    with stream_extra("tomli", "configuration files in TOML"):
        import tomli as tomllib

# Not single characters, and not the parser's own terms such as <stream end>.
_QUOTED_NAME = re.compile(r" '(?![<\\])[^']{2,}'")
_HINTS = (
    (re.compile(r"got '[?:]'|character '[^\\]'|mapping values|alias|the tag|tag handle"), "; put the text in quotes"),
    (re.compile(r"character '\\t'"), "; indent with spaces"),
)
_MOST_BYTES = 1_000_000
_MOST_NODES = 100_000


class Mapped(dict[Hashable, Any]):
    """Settings as they stand in a file, with the line of each, from 1; none is known of TOML."""

    def __init__(self, line: int | None = None) -> None:
        self.line = line
        self.lines: dict[object, int] = {}


def read_text(path: Path) -> str:
    """Raises `UserError` if it cannot be read."""
    if path.suffix not in (".yaml", ".yml", ".toml"):
        raise UserError(f"{shown(path)} should end in .yaml, .yml or .toml")
    return small_text(path, _MOST_BYTES, "a configuration file", "a configuration")


def parse(text: str, path: Path) -> Any:
    """Raises `UserError` with the line at which it is wrong."""
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

    def construct_mapped(self, node: yaml.MappingNode) -> Iterator[Mapped]:
        found = Mapped(node.start_mark.line + 1)
        # What holds itself is refused before, but PyYAML makes every mapping in two steps.
        yield found
        found.update(self.construct_mapping(node))
        found.lines = {key.value: key.start_mark.line + 1 for key, _ in node.value if isinstance(key, yaml.ScalarNode)}


_UniqueKeys.add_constructor("tag:yaml.org,2002:map", _UniqueKeys.construct_mapped)
