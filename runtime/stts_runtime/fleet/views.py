"""What the page and the API show of all boxes. Each call asks the boxes, in the thread of whoever asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import anyio.to_thread
from fastapi import Request
from pydantic import BaseModel

from stts_runtime.answering import FREE
from stts_runtime.errors import UserError
from stts_runtime.fleet.cluster import Cluster, Failed
from stts_runtime.fleet.fleet import Fleet
from stts_runtime.records import StreamAnswer
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.events import EventBroker
from stts_runtime.serve.hub import StreamRecord
from stts_runtime.serve.pictures import Size, View
from stts_runtime.serve.questions import Question, Stream
from stts_runtime.serve.settings import Limits
from stts_runtime.sources.source import State
from stts_runtime.text import redacted

_SECONDS = 3.0
"""For a box to say what it knows."""
_ANSWER_SECONDS = 70.0


class BoxRecord(BaseModel):
    """A GPU, or a machine without one."""

    name: str
    bears: int | None
    """How many streams; None while it loads."""
    streams: list[str]


class FleetRecord(BaseModel):
    boxes: list[BoxRecord]
    waiting: list[str]
    """Streams for which there is no room."""


class RemoteStream:
    """One stream's pictures."""

    def __init__(self, name: str, fleet: Fleet, cluster: Cluster) -> None:
        self._name, self._fleet, self._cluster = name, fleet, cluster

    def picture(self, view: View, size: Size) -> tuple[int, bytes] | None:
        """As `StreamView.picture`; None, too, while nobody looks at it."""
        link = self._fleet.at.get(self._name)
        if link is None:
            return None
        found = self._cluster.result(link.actor.picture.remote(self._name, view, size), _SECONDS)
        return None if isinstance(found, Failed) else found


class FleetHub:
    """The streams of all boxes; `events` are what they told of late."""

    def __init__(self, fleet: Fleet, cluster: Cluster, events: EventBroker) -> None:
        self._fleet, self._cluster, self.events = fleet, cluster, events

    @property
    def streams(self) -> Mapping[str, RemoteStream]:
        return {name: RemoteStream(name, self._fleet, self._cluster) for name in self._fleet.config.names}

    def records(self) -> list[StreamRecord]:
        """In the order of the file, those too that nobody looks at."""
        known = {record.name: record for record in self._told()}
        return [known.get(name) or self._unseen(name) for name in self._fleet.config.names]

    def fleet(self) -> FleetRecord:
        boxes = [
            BoxRecord(name=link.name, bears=link.bears, streams=sorted(link.runs))
            for link in self._fleet.links.values()
        ]
        return FleetRecord(boxes=boxes, waiting=list(self._fleet.waiting))

    def _told(self) -> Iterator[StreamRecord]:
        calls = [(link, link.actor.records.remote()) for link in self._fleet.ready]
        for link, call in calls:
            told = self._cluster.result(call, _SECONDS)
            for record in [] if isinstance(told, Failed) else told:
                yield record.model_copy(update={"box": link.name})

    def _unseen(self, name: str) -> StreamRecord:
        entry = next(one for one in self._fleet.config.streams if one.name == name)
        waits = name in self._fleet.waiting
        return StreamRecord(
            name=name,
            source=redacted(entry.source),
            live=True,
            state=State.STALLED if waits else State.CONNECTING,
            reason="waits for a machine: there is no room" if waits else "it is given to a machine",
            since_seconds=0.0,
            reconnections=0,
            questions=list(self._fleet.config.asking(entry).questions),
            group=self._fleet.config.group(entry),
            asks_above=None,
            looked_seconds_ago=None,
            looks=[],
            answers=[],
            alarms=[],
            clips=[],
        )


class FleetAnswers:
    """Questions about what a stream shows now, answered by the box that looks at it."""

    def __init__(self, fleet: Fleet, cluster: Cluster, limits: Limits) -> None:
        self._fleet, self._cluster, self._limits = fleet, cluster, limits

    async def answer(self, question: Question, request: Request) -> tuple[StreamAnswer, None]:  # noqa: ARG002
        """Raises `ApiError` or `UserError`."""
        if not isinstance(question.about, Stream):
            raise ApiError(400, "a fleet answers questions about its streams, and none about files", "file_id")
        if len(question.text) > self._limits.question_characters:
            most = self._limits.question_characters
            raise ApiError(400, f"a question may have {most} characters, got {len(question.text)}")
        assert question.form == FREE
        name = question.about.name
        return await anyio.to_thread.run_sync(self._ask, name, question.text, question.max_tokens), None

    def _ask(self, stream: str, text: str, max_tokens: int) -> StreamAnswer:
        if stream not in self._fleet.config.names:
            raise ApiError(404, f"there is no stream {stream[:64]!r}")
        link = self._fleet.at.get(stream)
        if link is None:
            raise ApiError(409, f"nobody looks at {stream} now", retry=5)
        answer: Any = self._cluster.result(link.actor.ask.remote(stream, text, max_tokens), _ANSWER_SECONDS)
        if isinstance(answer, Failed):
            raise UserError(f"{link.name}: {answer.reason}")
        assert isinstance(answer, StreamAnswer)
        return answer
