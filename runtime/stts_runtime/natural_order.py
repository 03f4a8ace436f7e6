"""The order of names that people expect: `a2` before `a10`."""

from __future__ import annotations

import re


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sorts runs of digits by their value, and before letters."""
    parts = re.findall(r"\d+|\D+", name)
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part.lower()) for part in parts]
