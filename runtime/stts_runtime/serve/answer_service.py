"""From a question over HTTP to its answer: what it is about is read in threads of the server, and the engines'
thread gets nothing but its own work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastapi import Request

from stts_runtime.answering import AnswerForm, TextStream
from stts_runtime.answering.form import TokenLogprob
from stts_runtime.answering.generation import Stopwatch
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_runtime.forms import Forms
from stts_runtime.record_parts import TokenLogprobRecord
from stts_runtime.records import AnyAnswer
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.engine_queue import EngineQueue, Job, Slot
from stts_runtime.serve.engine_worker import Asked, EngineWorker
from stts_runtime.serve.hub import Hub
from stts_runtime.serve.look_cache import LookCache
from stts_runtime.serve.look_reader import LookReader
from stts_runtime.serve.looks import ReadLook
from stts_runtime.serve.questions import Question, Stream
from stts_runtime.serve.settings import ServerSettings
from stts_runtime.serve.thread_pool import ThreadPool
from stts_runtime.serve.uploads import Uploads
from stts_runtime.stream.channel import Channel

_LOOK_FOR_CLIENT_SECONDS = 0.5


@dataclass(frozen=True)
class Piece:
    """New text of an answer, with what was asked for about the tokens that begin in it."""

    text: str
    logprobs: Sequence[TokenLogprob] = ()


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
        self._job: Job[AnyAnswer] = slot.ask(worker.work(asked), self.text_stream)
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
        cache: LookCache,
        settings: ServerSettings,
    ) -> None:
        self._queue, self._worker = queue, worker
        self._hub, self._settings, self._readers, self._forms = hub, settings, readers, Forms(bundle)
        self._looks = LookReader(bundle, worker, uploads, cache, settings)

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
        said = sum(len(text) for turn in question.history for text in turn)
        if said > limits.conversation_characters:
            raise ApiError(
                400,
                f"the turns before a question may have {limits.conversation_characters} characters, got {said}; leave "
                "out the earliest",
            )
        self._worker.check(question.text, question.form, question.max_tokens)

    def _read(self, question: Question) -> Asked:
        """In a thread of the server: reads what the question is about."""
        about, form, stopwatch = question.about, self._form(question), Stopwatch()
        self._worker.check(question.text, form, question.max_tokens, question.history)
        with stopwatch.stage("read"):
            if isinstance(about, Stream):
                subject: Channel | ReadLook = self._channel(about, question, form)
            else:
                subject = self._looks.read(about, question)
        read = stopwatch.milliseconds["read"]
        return Asked(question.text, subject, question.max_tokens, form, question.history, read)

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
