"""Manifests of older schemas, rewritten as the newest. Nothing is checked here; the schema does that afterwards."""

from __future__ import annotations

from typing import Any

from stts_runtime.bundle.manifest import SCHEMA_VERSION

_ONE_TARGET = 2
"""Up to this schema a part had one engine and no list of graphs."""
_SAID_ONCE = ("built_with", "build_command")
_TRAINED_SCORERS = 6
"""Up to this schema there was no other scorer, and nothing was said of it."""


def upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """The manifest as a current one; a current one as it is. Raises KeyError or TypeError if it is none at all."""
    if content["schema_version"] > _TRAINED_SCORERS:
        return {**content, "schema_version": SCHEMA_VERSION}
    if any(variant["keep"] < 1 for variant in content["variants"].values()):
        content = {**content, "scorer": {"kind": "trained", "trained": True}}
    if content["schema_version"] > _ONE_TARGET:
        return {**content, "schema_version": SCHEMA_VERSION}
    engine = content["language"]["engine"]
    return {
        **content,
        "schema_version": SCHEMA_VERSION,
        **{name: engine[name] for name in _SAID_ONCE},
        "variants": {name: _with_graphs(variant) for name, variant in content["variants"].items()},
        "language": _with_graphs(content["language"]),
    }


def _with_graphs(part: dict[str, Any]) -> dict[str, Any]:
    """Schemas 1 and 2: `engine` was the only graph, and the count of its multiplications stood next to it."""
    graph = {name: value for name, value in part["engine"].items() if name not in (*_SAID_ONCE, "target")}
    graph["multiplications"] = part["multiplications"]
    rest = {name: value for name, value in part.items() if name not in ("engine", "multiplications")}
    return {**rest, "graphs": {part["engine"]["target"]: graph}}
