"""The live page, and what it asks for: the state of everything, pictures, events, and questions side by side."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.types import Receive, Scope, Send

from stts_runtime.answering import Turn
from stts_runtime.bundle import Bundle
from stts_runtime.overlay import sheet
from stts_runtime.records import Answer, AnyAnswer, ScorerRecord
from stts_runtime.serve.api_errors import ApiError, refusals
from stts_runtime.serve.events import EventBroker, Subscription
from stts_runtime.serve.hub import StreamRecord
from stts_runtime.serve.page_files import PAGE_FILES
from stts_runtime.serve.pictures import Size, View, jpeg, shrunk
from stts_runtime.serve.questions import Media, Question, Stream
from stts_runtime.serve.settings import Limits, ServerSettings
from stts_runtime.serve.thread_pool import ThreadPool
from stts_runtime.session import Wanted

PICTURE = "/api/streams/{name}/picture"
_ENCODERS = 2
_SHEET_WIDTH = 1280
_HEARTBEAT_SECONDS = 15.0
_SEND_SECONDS = 30.0
"""For one piece of news to leave; a client that takes longer has vanished."""

StreamName = Annotated[str, InPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]


class VariantRecord(BaseModel):
    """A way to look at a clip."""

    name: str
    frames: int
    keep: float
    visual_tokens: int
    kept: int


class StateRecord(BaseModel):
    """All that the page shows when it is opened; events go on from here."""

    bundle: str
    model: str
    """The name of the bundle for `/v1/chat/completions`."""
    default_keep: float
    frames_per_second: float
    looks_at_pictures: bool
    picture_formats: str
    """What may be uploaded, for people."""
    clip_formats: str
    random_weights: bool
    scorer: ScorerRecord | None
    """None where nothing is dropped."""
    variants: list[VariantRecord]
    limits: Limits
    streams: list[StreamRecord]
    searches: bool
    """Whether `/api/search` has anything to search."""


class TurnRecord(BaseModel):
    """A question that was answered."""

    model_config = ConfigDict(strict=True, extra="forbid")

    question: str
    answer: str


class AskRequest(BaseModel):
    """A question about a stream's newest window, or about an uploaded file; for a clip with one of the variants."""

    model_config = ConfigDict(strict=True, extra="forbid")

    question: Annotated[str, Field(min_length=1)]
    stream: Annotated[str, Field(max_length=64)] | None = None
    file_id: str | None = None
    frames: Annotated[int, Field(ge=1)] | None = None
    keep: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    history: Annotated[list[TurnRecord], Field(max_length=500)] = []
    """What was asked about the same file before, and answered."""

    @model_validator(mode="after")
    def _about_one_thing(self) -> AskRequest:
        if (self.stream is None) == (self.file_id is None):
            raise ValueError("a question is about a stream or a file_id, one of the two")
        if self.stream is not None and self.history:
            raise ValueError("a question about a stream has no history: it is about what it shows now")
        return self


class AskReply(BaseModel):
    answer: AnyAnswer
    picture: str | None
    """A JPEG in base64: the frames of a clip with the dropped groups dark, and points marked."""


class Pictured(Protocol):
    def picture(self, view: View, size: Size) -> tuple[int, bytes] | None:
        """As `StreamView.picture`."""
        ...


class Streams(Protocol):
    """As `Hub`."""

    @property
    def events(self) -> EventBroker: ...

    @property
    def streams(self) -> Mapping[str, Pictured]: ...


class Answers(Protocol):
    async def answer(self, question: Question, request: Request) -> tuple[AnyAnswer, object]:
        """As `AnswerService.answer`."""
        ...


def page_routes(state: Any, hub: Streams, answers: Answers, settings: ServerSettings) -> APIRouter:
    """`state` makes the `StateRecord` of this moment."""
    router = APIRouter()
    for address, path in PAGE_FILES.items():
        router.add_api_route(address, _file(path), include_in_schema=False)
    _stream_routes(router, hub, settings.limits)

    @router.get("/api/state", tags=["page"], responses=refusals(401))
    async def current() -> StateRecord:
        """The bundle, the limits and all streams with their last looks and answers."""
        record: StateRecord = await anyio.to_thread.run_sync(state)
        return record

    @router.post("/api/ask", tags=["page"], responses=refusals(400, 401, 404, 408, 409, 413, 429, 500))
    async def ask(body: AskRequest, request: Request) -> AskReply:
        """One answer, and for a clip a picture of what was kept."""
        about = Stream(body.stream) if body.stream is not None else Media(body.file_id or "", "file_id")
        most = settings.limits.answer_tokens
        question = Question(
            body.question,
            about,
            min(body.max_tokens or most, most),
            Wanted(body.keep, None, body.frames),
            history=[Turn(one.question, one.answer) for one in body.history],
        )
        answer, _ = await answers.answer(question, request)
        return await anyio.to_thread.run_sync(_reply, answer)

    return router


def _stream_routes(router: APIRouter, hub: Streams, limits: Limits) -> None:
    encoders = ThreadPool(_ENCODERS)

    @router.get(
        PICTURE,
        tags=["page"],
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, **refusals(400, 401, 404, 409)},
    )
    async def picture(name: StreamName, view: View = "kept", size: Size = "large") -> Response:
        """The newest picture that was looked at, as JPEG; `X-Stts-Number` is the number of the look."""
        stream = hub.streams.get(name)
        if stream is None:
            raise ApiError(404, f"there is no stream {name!r}")
        encoded = await encoders.run(lambda: stream.picture(view, size))
        if encoded is None:
            raise ApiError(409, f"{name} has no picture yet")
        return Response(encoded[1], media_type="image/jpeg", headers={"X-Stts-Number": str(encoded[0])})

    @router.get(
        "/api/events",
        tags=["page"],
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {}}}, **refusals(401)},
    )
    async def events() -> Response:
        """Server-sent events: `answer`, `state` and `look` as they happen, `missed` if the client is too slow."""
        if hub.events.clients >= limits.event_clients:
            raise ApiError(503, f"{limits.event_clients} clients follow the events, and no more may", retry=10)
        return _Events(hub.events)


class _Events(Response):
    """Until the client goes away, takes too long to take what is sent, or the server stops."""

    media_type = "text/event-stream"

    def __init__(self, broker: EventBroker) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._broker = broker

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        subscription = self._broker.subscribe()
        sending = asyncio.ensure_future(self._send_all(subscription, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._broker.unsubscribe(subscription)
            # Before Python 3.12 `wait_for` may swallow a cancellation that comes together with an event.
            subscription.close()
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, subscription: Subscription, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await _sent(send, "retry: 2000\n\n")
        while not subscription.closed:
            events = await subscription.take(_HEARTBEAT_SECONDS)
            lines = [f"event: {one.name}\ndata: {one.data}\n\n" for one in events] or [": still here\n\n"]
            if subscription.missed:
                lines.append(f"event: missed\ndata: {subscription.missed}\n\n")
                subscription.missed = 0
            await _sent(send, "".join(lines))
        await send({"type": "http.response.body", "body": b""})


async def _sent(send: Send, text: str) -> None:
    body = {"type": "http.response.body", "body": text.encode(), "more_body": True}
    await asyncio.wait_for(send(body), _SEND_SECONDS)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _file(path: Path) -> Any:
    async def get() -> FileResponse:
        return FileResponse(path, headers={"Cache-Control": "no-cache"})

    return get


def _reply(answer: AnyAnswer) -> AskReply:
    picture = None
    if isinstance(answer, Answer):
        picture = base64.b64encode(jpeg(shrunk(sheet(answer.seen, answer.kept, answer.points), _SHEET_WIDTH))).decode()
    return AskReply(answer=answer, picture=picture)


def variant_records(bundle: Bundle, names: Sequence[str]) -> list[VariantRecord]:
    variants = bundle.manifest.variants
    return [
        VariantRecord(
            name=name,
            frames=variants[name].frames,
            keep=variants[name].keep,
            visual_tokens=variants[name].frames * bundle.manifest.vision.groups,
            kept=variants[name].kept_groups,
        )
        for name in names
    ]
