"""From a question over HTTP to its answer: what it is about is read in threads of the server, and the engines'
thread gets nothing but its own work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fastapi import Request

from stts_runtime import clock
from stts_runtime.answering import FREE, AnswerForm, TextStream
from stts_runtime.answering.form import TokenLogprob
from stts_runtime.bundle import Bundle
from stts_runtime.errors import BundleError, UserError
from stts_runtime.forms import Forms
from stts_runtime.overlay import Image
from stts_runtime.record_parts import TokenLogprobRecord
from stts_runtime.records import AnyAnswer
from stts_runtime.serve import media
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.clip_kwargs import ClipKwargs
from stts_runtime.serve.engine_queue import EngineQueue, Job, Slot
from stts_runtime.serve.engine_worker import Asked, EngineWorker, ReadClip
from stts_runtime.serve.hub import Hub
from stts_runtime.serve.remote import fetched
from stts_runtime.serve.sent_frames import clip_of_frames
from stts_runtime.serve.settings import ServerSettings
from stts_runtime.serve.thread_pool import ThreadPool
from stts_runtime.serve.uploads import PREFIX, Uploads
from stts_runtime.session import Clip, Wanted
from stts_runtime.stream.channel import Channel
from stts_runtime.video import VideoFile, rule_count

_LOOK_FOR_CLIENT_SECONDS = 0.5


@dataclass(frozen=True)
class Stream:
    """A live source's newest window."""

    name: str


@dataclass(frozen=True)
class Media:
    """A picture or clip: a data URL, the number of an upload, or an address."""

    url: str
    param: str
    """Where it stands in the request, for messages."""
    kind: media.Kind | None = None
    """What it has to be; None: whatever it is."""


@dataclass(frozen=True)
class Frames:
    """Several pictures that are one clip."""

    pictures: tuple[Media, ...]
    param: str
    """As in `Media`."""


@dataclass(frozen=True)
class JsonSchema:
    """What an answer has to be; it has not been read yet."""

    content: dict[str, Any]
    param: str
    """As in `Media`."""


@dataclass(frozen=True)
class Piece:
    """New text of an answer, with what was asked for about the tokens that begin in it."""

    text: str
    logprobs: Sequence[TokenLogprob] = ()


@dataclass(frozen=True)
class Question:
    text: str
    about: Stream | Media | Frames
    max_tokens: int
    wanted: Wanted = field(default_factory=Wanted)
    stops: Sequence[str] = ()
    form: AnswerForm = FREE
    schema: JsonSchema | None = None
    clip: ClipKwargs = field(default_factory=ClipKwargs)
    """How the clip is looked at."""


class PendingAnswer:
    """A question under way. Its words can be followed from the event loop while it is answered."""

    def __init__(self, slot: Slot, worker: EngineWorker, asked: Asked, stops: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        self.chunks: asyncio.Queue[Piece | None] = asyncio.Queue()
        """What is new, as it comes; None when there is no more."""
        self.text_stream = TextStream(worker.text, stops, lambda new: _tell(loop, self.chunks, self._piece(new)))
        self._logprobs: list[TokenLogprob] = []
        self._told = self._told_tokens = 0
        asked = replace(asked, form=replace(asked.form, on_logprob=self._logprobs.append))
        self._job: Job[AnyAnswer] = slot.ask(partial(worker.answer, asked), self.text_stream)
        self._job.future.add_done_callback(lambda _: _tell(loop, self.chunks, None))

    async def answer(self) -> AnyAnswer:
        """Raises what went wrong."""
        return await asyncio.wrap_future(self._job.future)

    def rest(self, answer: AnyAnswer) -> Piece:
        """What the chunks lack of the whole answer."""
        piece = self._piece(self.text_stream.rest(answer.answer))
        if self.text_stream.stopped:
            return piece
        # Behind the last text there may be tokens that add none.
        return Piece(piece.text, [*piece.logprobs, *self._logprobs[self._told_tokens : len(answer.logprobs or ())]])

    def within(self, text: str, logprobs: Sequence[TokenLogprobRecord]) -> Sequence[TokenLogprobRecord]:
        """Those of the tokens that begin in the text, where a stop cut it off."""
        return logprobs[: self.text_stream.tokens_within(len(text))] if self.text_stream.stopped else logprobs

    def _piece(self, new: str) -> Piece:
        """In the engines' thread while they answer, and in the event loop's behind that."""
        self._told += len(new)
        before, self._told_tokens = self._told_tokens, self.text_stream.tokens_within(self._told)
        return Piece(new, self._logprobs[before : self._told_tokens])

    def give_up(self) -> None:
        self._job.give_up()


def _tell(loop: asyncio.AbstractEventLoop, chunks: asyncio.Queue[Piece | None], new: Piece | None) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(chunks.put_nowait, new)


class AnswerService:
    """One for the whole server."""

    def __init__(
        self,
        bundle: Bundle,
        queue: EngineQueue,
        worker: EngineWorker,
        hub: Hub,
        uploads: Uploads,
        readers: ThreadPool,
        settings: ServerSettings,
    ) -> None:
        self._bundle, self._queue, self._worker = bundle, queue, worker
        self._hub, self._uploads, self._settings = hub, uploads, settings
        self._readers, self._forms = readers, Forms(bundle)

    async def ask(self, question: Question) -> PendingAnswer:
        """Raises `ApiError`, `BusyError` or a `UserError` if it cannot be pending."""
        self._check(question)
        with self._queue.reserve() as slot:
            asked = await self._readers.run(lambda: self._read(question))
            return PendingAnswer(slot, self._worker, asked, question.stops)

    async def answer(self, question: Question, request: Request) -> tuple[AnyAnswer, PendingAnswer]:
        """The whole answer; given up if the client goes away before."""
        pending = await self.ask(question)
        answer = asyncio.ensure_future(pending.answer())
        try:
            while not (await asyncio.wait({answer}, timeout=_LOOK_FOR_CLIENT_SECONDS))[0]:
                if await request.is_disconnected():
                    raise ApiError(499, "the client went away")
            return await answer, pending
        finally:
            pending.give_up()
            answer.cancel()

    def _check(self, question: Question) -> None:
        limits = self._settings.limits
        if len(question.text) > limits.question_characters:
            raise ApiError(
                400, f"a question may have {limits.question_characters} characters, got {len(question.text)}"
            )
        self._worker.check(question.text, question.form, question.max_tokens)

    def _read(self, question: Question) -> Asked:
        """In a thread of the server: reads what the question is about."""
        form = self._form(question)
        self._worker.check(question.text, form, question.max_tokens)
        return Asked(question.text, self._subject(question, form), question.max_tokens, form)

    def _subject(self, question: Question, form: AnswerForm) -> Channel | ReadClip | Image:
        about = question.about
        if isinstance(about, Stream):
            return self._channel(about, question, form)
        with self._folder_unnamed():
            return self._frames(about, question) if isinstance(about, Frames) else self._media(about, question)

    def _form(self, question: Question) -> AnswerForm:
        """With the schema, once it was read. Raises `ApiError` that says where it is wrong, and `MissingExtraError`."""
        if question.schema is None:
            return question.form
        schemas = self._forms.schemas
        try:
            schema = schemas.compile(question.schema.content, question.schema.param)
        except UserError as error:
            raise ApiError(400, str(error), question.schema.param) from None
        return replace(question.form, schema=schema)

    def _channel(self, stream: Stream, question: Question, form: AnswerForm) -> Channel:
        view = self._hub.streams.get(stream.name)
        if view is None:
            raise ApiError(404, f"there is no stream {stream.name[:64]!r}")
        if not view.has_picture:
            status = view.channel.source.status
            raise ApiError(409, f"{view.channel.name} has no picture yet: {status.state.value}, {status.reason}")
        view.channel.check_questions([question.text], form, question.max_tokens)
        return view.channel

    def _media(self, about: Media, question: Question) -> ReadClip | Image:
        content, limits = self._content(about), self._settings.limits
        if isinstance(content, bytes) and (about.kind or media.kind_of(content, limits)) == "picture":
            _check_still(question)
            return self._worker.picture(media.picture(content, limits))
        opened = nullcontext(content) if isinstance(content, VideoFile) else self._uploads.opened(content, "clip")
        with opened as video:
            return self._clip(video, question)

    def _content(self, about: Media) -> bytes | VideoFile:
        limits, url, param = self._settings.limits, about.url.strip(), about.param
        if url.startswith(PREFIX):
            upload = self._uploads.get(url, param)
            if upload.clip is None or (about.kind == "picture" and upload.is_picture):
                return upload.path.read_bytes()
            return upload.clip
        if media.is_data_url(url):
            return media.data_url(url, limits, param)
        if url.lower().startswith(("http://", "https://")):
            if not self._settings.remote_urls:
                raise ApiError(
                    400,
                    "this server fetches nothing from other addresses (it was started without --allow-remote-urls); "
                    "send the content as a data URL, or upload it to /v1/files",
                    param,
                )
            return fetched(url, limits, param)
        wanted = f"{media.DATA_URL}, or the id of a file uploaded to /v1/files"
        theirs = "; this one the front end alone can open" if url.startswith(("/", "blob:")) else ""
        raise ApiError(400, f"{param} should be {wanted}{theirs}", param)

    def _frames(self, about: Frames, question: Question) -> ReadClip:
        limits = self._settings.limits
        if len(about.pictures) > limits.clip_frames:
            raise ApiError(400, f"a clip may have {limits.clip_frames} frames, got {len(about.pictures)}", about.param)
        images = self._images(about.pictures, clock.now() + limits.decoding_seconds)
        return clip_of_frames(images, question.clip.fps, self._bundle, question.wanted, about.param)

    def _images(self, pictures: Sequence[Media], deadline: float) -> Iterator[Image]:
        limits = self._settings.limits
        for one in pictures:
            if clock.now() > deadline:
                raise ApiError(413, f"reading the pictures takes more than {limits.decoding_seconds:g} s", one.param)
            yield media.picture(_bytes(self._content(one), one), limits)

    def _clip(self, video: VideoFile, question: Question) -> ReadClip:
        fps, wanted = question.clip.fps, question.wanted
        if fps is not None:
            wanted = replace(wanted, frames=rule_count(video.duration_seconds, fps))
        clip = Clip.of(self._bundle, video, wanted)
        window, milliseconds = clip.window()
        return ReadClip(window, clip.variant, clip.notes, milliseconds)

    @contextmanager
    def _folder_unnamed(self) -> Iterator[None]:
        """Where the bundle lies is nobody's business."""
        try:
            yield
        except BundleError as error:
            folder = self._bundle.folder
            raise ApiError(400, str(error).replace(str(folder), folder.name)) from None


def _check_still(question: Question) -> None:
    """Raises `ApiError` for what is said of frames where there is one."""
    if question.clip.fps is not None or question.clip.frames not in (None, 1):
        param = question.clip.param
        raise ApiError(400, f"{param} is for clips, and one picture has one frame; leave it out", param)


def _bytes(content: bytes | VideoFile, about: Media) -> bytes:
    if isinstance(content, VideoFile):
        raise ApiError(400, f"{about.param} is a clip, and image_url takes pictures: send it as video_url", about.param)
    return content
