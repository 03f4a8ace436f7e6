"""Facts about the parts of the package that one has to ask for: live video, the page, building, quantizing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, requires

from stts_runtime.doctor.modules import distribution_version
from stts_runtime.doctor.report import Fact

_PACKAGE = "stts-export"
_SHOWN = {
    "stream": "live video (extra stream)",
    "serve": "page and API (extra serve)",
    "export": "building (extra export)",
    "calib": "quantizing (extra calib)",
}
"""The extras of targets have sentences of their own, and with them ONNX Runtime, which has several packages."""
_REQUIREMENT = re.compile(r"(?!onnxruntime)([A-Za-z0-9._-]+).*extra == ['\"]([a-z-]+)['\"]")


def extras_facts(
    required: Sequence[str] | None = None, installed: Callable[[str], str | None] = distribution_version
) -> list[Fact]:
    """`required` is what the metadata of this package ask for, line by line (PEP 508)."""
    lines = _required() if required is None else required
    return [_fact(extra, name, lines, installed) for extra, name in _SHOWN.items()]


def _fact(extra: str, name: str, lines: Sequence[str], installed: Callable[[str], str | None]) -> Fact:
    if not lines:
        return Fact.of(name, None, "it runs from source, not installed")
    missing = sorted(package for package in _packages(extra, lines) if installed(package) is None)
    because = f"{', '.join(missing)} not installed: pip install '{_PACKAGE}[{extra}]'"
    return Fact.of(name, None if missing else "installed", because)


def _packages(extra: str, lines: Sequence[str]) -> list[str]:
    """What is for another Python alone is left out."""
    found = [_REQUIREMENT.match(line) for line in lines if "python_version" not in line]
    return [one[1] for one in found if one and one[2] == extra]


def _required() -> Sequence[str]:
    try:
        return requires(_PACKAGE) or []
    except PackageNotFoundError:
        return []
