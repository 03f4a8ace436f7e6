"""`/v1/models`, `/v1/chat/completions` and `/v1/files`: what OpenAI's clients ask for."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request, UploadFile
from fastapi.responses import StreamingResponse

from stts_runtime.record_parts import TokenLogprobRecord
from stts_runtime.records import Answer, AnyAnswer
from stts_runtime.serve.answer_service import AnswerService, PendingAnswer, Piece
from stts_runtime.serve.api_errors import api_error_of, error_record, refusals
from stts_runtime.serve.chat_request import ModelChoice, chosen, question_of
from stts_runtime.serve.guard import UPLOADS
from stts_runtime.serve.openai_records import (
    ChatReply,
    ChatRequest,
    Choice,
    Chunk,
    ChunkChoice,
    DeletedFile,
    Delta,
    Details,
    FileList,
    FileRecord,
    Finish,
    Logprobs,
    ModelList,
    ModelRecord,
    PromptDetails,
    Reply,
    Usage,
)
from stts_runtime.serve.settings import ServerSettings
from stts_runtime.serve.thread_pool import ThreadPool
from stts_runtime.serve.uploads import Upload, Uploads

FileId = Annotated[str, Path(pattern="^file-[0-9a-f]{24}$")]
_DONE = "data: [DONE]\n\n"


def chat_routes(
    choices: dict[str, ModelChoice],
    answers: AnswerService,
    uploads: Uploads,
    readers: ThreadPool,
    settings: ServerSettings,
) -> APIRouter:
    """`choices` by the name of the model."""
    router, started = APIRouter(tags=["OpenAI"]), int(time.time())

    @router.get("/v1/models", responses=refusals(401))
    async def models() -> ModelList:
        return ModelList(data=[_model(name, started) for name in choices])

    @router.get("/v1/models/{model:path}", responses=refusals(401, 404))
    async def model(model: str) -> ModelRecord:
        chosen(choices, model)
        return _model(model, started)

    @router.post(
        "/v1/chat/completions",
        response_model=ChatReply,
        responses={
            200: {"content": {"text/event-stream": {}}},
            **refusals(400, 401, 404, 408, 413, 429, 500, 501, 503),
        },
    )
    async def complete(body: ChatRequest, request: Request) -> Any:
        """One question about one clip, picture or stream. See docs/serve.md."""
        question, notes = question_of(body, chosen(choices, body.model), settings)
        talk = _Talk(body.model, notes)
        if body.stream:
            wants_usage = body.stream_options is not None and body.stream_options.include_usage
            return await _streamed(talk, await answers.ask(question), wants_usage)
        answer, pending = await answers.answer(question, request)
        return talk.reply(answer, pending)

    _file_routes(router, uploads, readers)
    return router


def _file_routes(router: APIRouter, uploads: Uploads, readers: ThreadPool) -> None:
    @router.post(UPLOADS, responses=refusals(400, 401, 408, 413))
    async def upload(file: UploadFile, purpose: Annotated[str, Form()] = "user_data") -> FileRecord:
        """A clip or picture to ask about, several times perhaps. It is deleted after a while."""
        del purpose  # OpenAI's clients have to send one
        kept = await readers.run(lambda: uploads.add(file.file, file.filename or "upload"))
        return _file(kept)

    @router.get(UPLOADS, responses=refusals(401))
    async def files() -> FileList:
        return FileList(data=[_file(one) for one in uploads.all()])

    @router.get(UPLOADS + "/{file_id}", responses=refusals(400, 401, 404))
    async def file(file_id: FileId) -> FileRecord:
        return _file(uploads.get(file_id))

    @router.delete(UPLOADS + "/{file_id}", responses=refusals(400, 401, 404))
    async def delete(file_id: FileId) -> DeletedFile:
        uploads.delete(file_id)
        return DeletedFile(id=file_id)


def _model(name: str, started: int) -> ModelRecord:
    return ModelRecord(id=name, created=started, owned_by="stts-runtime")


def _file(upload: Upload) -> FileRecord:
    clip = upload.clip
    return FileRecord(
        id=upload.id,
        bytes=upload.size_bytes,
        created_at=upload.created,
        filename=upload.name,
        duration_seconds=None if clip is None else round(clip.duration_seconds, 3),
        frames=None if clip is None else clip.frames,
    )


class _Talk:
    """One request's answer in OpenAI's words."""

    def __init__(self, model: str, notes: list[str]) -> None:
        self._model, self._notes = model, notes
        self._id, self._created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())

    def reply(self, answer: AnyAnswer, pending: PendingAnswer) -> ChatReply:
        content = pending.text_stream.cut(answer.answer)
        said = None if answer.logprobs is None else Logprobs(content=list(pending.within(content, answer.logprobs)))
        return ChatReply(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[Choice(message=Reply(content=content), finish_reason=_finish(answer, pending), logprobs=said)],
            usage=_usage(answer),
            stts=self._details(answer),
        )

    def chunk(self, delta: Delta, finish: Finish | None = None, answer: AnyAnswer | None = None) -> str:
        """`answer` with the last one."""
        details = None if answer is None else self._details(answer)
        return self._line(choices=[ChunkChoice(delta=delta, finish_reason=finish)], stts=details)

    def piece(self, new: Piece) -> str:
        said = [TokenLogprobRecord.of(one) for one in new.logprobs]
        logprobs = Logprobs(content=said) if said else None
        return self._line(choices=[ChunkChoice(delta=Delta(content=new.text), logprobs=logprobs)])

    def usage_chunk(self, answer: AnyAnswer) -> str:
        return self._line(choices=[], usage=_usage(answer))

    def _line(self, **fields: Any) -> str:
        chunk = Chunk(id=self._id, created=self._created, model=self._model, **fields)
        return f"data: {chunk.model_dump_json()}\n\n"

    def _details(self, answer: AnyAnswer) -> Details:
        said = answer.notes if isinstance(answer, Answer) else []
        return Details(record=answer, notes=[*self._notes, *said])


async def _streamed(talk: _Talk, pending: PendingAnswer, wants_usage: bool) -> StreamingResponse:
    """Waits for the first word, so that what cannot be answered is refused with its status."""
    first = await pending.chunks.get()
    if first is None:
        await pending.answer()
    return StreamingResponse(
        _chunks(talk, pending, first, wants_usage),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _chunks(talk: _Talk, pending: PendingAnswer, first: Piece | None, wants_usage: bool) -> AsyncIterator[str]:
    try:
        yield talk.chunk(Delta(role="assistant", content=""))
        new = first
        while new is not None:
            yield talk.piece(new)
            new = await pending.chunks.get()
        answer = await pending.answer()
        rest = pending.rest(answer)
        if rest.text or rest.logprobs:
            yield talk.piece(rest)
        yield talk.chunk(Delta(), _finish(answer, pending), answer)
        if wants_usage:
            yield talk.usage_chunk(answer)
        yield _DONE
    except Exception as error:  # noqa: BLE001  # the status is sent: all that is left is to say it here
        yield f"data: {error_record(api_error_of(error)).model_dump_json()}\n\n"
    finally:
        pending.give_up()


def _finish(answer: AnyAnswer, pending: PendingAnswer) -> Finish:
    return "stop" if pending.text_stream.stopped or answer.finish == "end" else "length"


def _usage(answer: AnyAnswer) -> Usage:
    tokens = answer.tokens
    return Usage(
        prompt_tokens=tokens.prompt,
        completion_tokens=tokens.generated,
        total_tokens=tokens.prompt + tokens.generated,
        prompt_tokens_details=PromptDetails(
            cached_tokens=tokens.cached,
            visual_tokens_in=tokens.visual_in,
            visual_tokens_kept=tokens.visual_kept,
            visual_tokens_reused=tokens.visual_kept if isinstance(answer, Answer) and answer.reused_vision else 0,
        ),
    )
