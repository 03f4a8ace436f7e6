"""What pyproject.toml says."""

from __future__ import annotations

import sys
from typing import Any

from tests.support.places import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def project(tool: str | None = None) -> dict[str, Any]:
    """The table `project`, or that of a tool."""
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    table: dict[str, Any] = text["tool"][tool] if tool else text["project"]
    return table
