"""What a box said stays until it is safe elsewhere."""

from __future__ import annotations

from stts_runtime.fleet.outbox import Outbox
from stts_runtime.records import StreamEvent, now
from stts_runtime.serve.events import Event


def event(reason: str) -> StreamEvent:
    return StreamEvent(stream="gate", created=now(), state="live", reason=reason)


def test_what_was_not_said_to_be_safe_is_given_again() -> None:
    outbox = Outbox()
    outbox.said(event("one"))
    outbox.said(event("two"))
    lost = outbox.take(0, 0.0)
    again = outbox.take(0, 0.0)
    assert [one.reason for one in again.records if isinstance(one, StreamEvent)] == ["one", "two"]
    assert again.last == lost.last == 2


def test_what_is_safe_is_forgotten() -> None:
    outbox = Outbox()
    for reason in ("one", "two", "three"):
        outbox.said(event(reason))
    left = outbox.take(2, 0.0)
    assert [one.reason for one in left.records if isinstance(one, StreamEvent)] == ["three"]
    assert (left.last, outbox.waiting) == (3, 1)


def test_news_are_kept_only_while_somebody_follows() -> None:
    outbox = Outbox()
    outbox.publish(Event("look", "1"))
    outbox.follows = True
    outbox.publish(Event("look", "2"))
    assert [one.data for one in outbox.take(0, 0.0).news] == ["2"]
    assert outbox.take(0, 0.0).news == []


def test_lines_have_their_level() -> None:
    outbox = Outbox()
    for line in ("warning: hot", "note: cold", "error: off", "gate: on"):
        outbox(line)
    said = [(level, text) for level, text, _ in outbox.take(0, 0.0).lines]
    assert said == [("warning", "hot"), ("info", "cold"), ("error", "off"), ("info", "gate: on")]
