"""What an archive keeps of a record, and the words by which it is found.

What was computed how (tokens, milliseconds, what was kept of each frame) is left out: it is not searched for, and it
is most of a record.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

_LEFT_OUT = frozenset(
    ("steady_seconds", "key_frames", "kept_per_frame", "tokens", "milliseconds", "age_ms", "dropped", "logprobs")
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LATEST = datetime(9000, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
# Scripts that put no spaces between words, or endings onto them: each sign is a word, and parts are found as phrases.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)


def folded(text: str) -> str:
    """`text` without what does not matter in a search: case, ligatures, full width. Diacritics go in the index."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\0", " ")
    return _UNSPACED.sub(r" \g<0> ", plain)


class Words(NamedTuple):
    """By column of the index."""

    said: str
    """The answer, or the state with its reason; alarms that it raised or cleared."""
    asked: str
    place: str
    """Stream, site and host."""


@dataclass(frozen=True)
class Entry:
    at: int
    """When it was said by the wall clock, in milliseconds since 1970."""
    stream: str
    words: Words
    body: str
    """What is kept of the record, as JSON."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Entry:
        """Raises `ValueError`, with what is wrong, for what is no record of a stream."""
        for field in ("schema_name", "stream", "created"):
            if not isinstance(record.get(field), str):
                raise ValueError(f"{field} is missing, or no text")
        kept = {name: value for name, value in record.items() if name not in _LEFT_OUT}
        if isinstance(alert := kept.get("alert"), dict) and isinstance(picture := alert.get("snapshot"), dict):
            lean = {name: value for name, value in picture.items() if name != "jpeg"}
            kept["alert"] = {**alert, "snapshot": lean}
        if isinstance(times := kept.get("times_seconds"), list):
            kept["times_seconds"] = [*times[:1], *times[1:][-1:]]
        body = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
        try:
            body.encode()
        except UnicodeEncodeError:
            raise ValueError("it holds half of a surrogate pair, which is no character") from None
        return cls(milliseconds(_time(record["created"])), record["stream"], words_of(record), body)


def words_of(record: Mapping[str, Any]) -> Words:
    place = (record.get("stream"), record.get("site"), record.get("host"))
    return Words(_joined(_said(record)), _joined([record.get("question")]), _joined(place))


def _said(record: Mapping[str, Any]) -> Iterator[object]:
    yield from (record.get("answer"), record.get("state"), record.get("reason"))
    alert = record.get("alert")
    if isinstance(alert, dict) and alert.get("change"):
        yield f"alarm {alert['change']} {alert.get('rule')}"


def _joined(texts: object) -> str:
    assert isinstance(texts, Iterator | list | tuple)
    return folded(" ".join(text for text in texts if isinstance(text, str)))


def milliseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


def moment(milliseconds: int) -> datetime:
    """In UTC."""
    return _EPOCH + milliseconds * _MILLISECOND


def _time(created: str) -> datetime:
    try:
        # Python 3.10 does not read Z.
        time = datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError("created is not a time such as 2026-11-23T12:30:46.073+00:00") from None
    if time.tzinfo is None or not _EPOCH <= time < _LATEST:
        raise ValueError("created should be a time after 1970 with its zone: 2026-11-23T12:30:46.073+00:00")
    return time
