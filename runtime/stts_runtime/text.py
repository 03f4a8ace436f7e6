"""Text to show: things counted, and what others wrote made safe, without credentials and what steers a terminal."""

from __future__ import annotations

import re


def visible(text: str) -> str:
    """`text` with control characters shown as escapes, so that it cannot steer the terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def counted(number: int, noun: str) -> str:
    """1 stream, 1,200 streams."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shortened(text: str, most: int) -> str:
    """`text` with its middle left out if it has more than `most` characters: what was said first and last stays."""
    if len(text) <= most:
        return text
    mark = f"... ({len(text):,} characters) ..."
    kept = max(most - len(mark), 0)
    return text[: kept - kept // 3] + mark + text[len(text) - kept // 3 :]


# From the scheme to the last @: a password may itself hold @ and /. Values of a query may be tokens.
_CREDENTIALS = re.compile(r"(?<=:/)(/*)\S*@")
_QUERY_VALUES = re.compile(r"(?<==)[^&#\s]+")
# Properties of GStreamer elements such as rtspsrc and souphttpsrc.
_PROPERTIES = re.compile(
    r"\b((?:[\w-]*-)?(?:id|pw|user|username|password|token|secret|key)\s*=\s*)(\"[^\"]*\"|\S+)", re.I
)
_PIPELINE = "gst:"


def redacted(source: str) -> str:
    """`source` without the user name, password and query values of a URL, or of the elements of a pipeline."""
    if source.startswith(_PIPELINE):
        source = _PROPERTIES.sub(r"\1***", source)
    if ":/" not in source:
        return source
    place, mark, query = _CREDENTIALS.sub(r"\1***@", source).partition("?")
    return place + mark + _QUERY_VALUES.sub("***", query)
