"""The reference of the Python packages: the public names of each, for mkdocstrings to fill in."""

from __future__ import annotations

import stts_export
import stts_runtime

_INTRODUCTION = (
    "The public names of both packages, from their docstrings. [Python](../python.md) shows how they go together; "
    "whatever is not here may change without notice."
)


def python_page() -> str:
    sections = [
        f"## {package.__name__}\n\n" + "".join(f"::: {package.__name__}.{name}\n\n" for name in package.__all__)
        for package in (stts_runtime, stts_export)
    ]
    return f"# Python API\n\n{_INTRODUCTION}\n\n{''.join(sections)}"
