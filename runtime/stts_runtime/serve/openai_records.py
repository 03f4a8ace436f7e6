"""The part of OpenAI's chat API that is spoken here, as pydantic sees it. It knows nothing of streams and engines."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints

from stts_runtime.records import AnyAnswer


class _Request(BaseModel):
    """Strict, and open for what other servers take and this one does not need: `user`, `seed`, `metadata`, ..."""

    model_config = ConfigDict(strict=True, extra="ignore")


class TextPart(_Request):
    type: Literal["text"]
    text: str


class Url(_Request):
    url: str


class ImagePart(_Request):
    type: Literal["image_url"]
    image_url: Url


class VideoPart(_Request):
    type: Literal["video_url"]
    video_url: Url


class FileNumber(_Request):
    file_id: str


class FilePart(_Request):
    """A clip or picture that was uploaded to `/v1/files`."""

    type: Literal["file"]
    file: FileNumber


VisualPart = Union[ImagePart, VideoPart, FilePart]
Part = Annotated[Union[TextPart, ImagePart, VideoPart, FilePart], Discriminator("type")]


class Message(_Request):
    role: Literal["system", "developer", "user", "assistant"]
    content: Union[str, list[Part], None] = None


class StreamOptions(_Request):
    include_usage: bool = False


class ChatRequest(_Request):
    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: Union[str, Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(max_length=4)], None] = None
    temperature: float | None = None
    """0 or nothing: answers are greedy."""
    top_p: float | None = None
    """Makes no difference to greedy answers."""
    n: int | None = None
    """1 or nothing."""
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, Any] | None = None
    logprobs: bool | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None


class PromptDetails(BaseModel):
    cached_tokens: int = 0
    visual_tokens_in: int
    """Visual tokens before pruning."""
    visual_tokens_kept: int
    """Those that are in the prompt."""


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class Details(BaseModel):
    """What OpenAI's answers have no place for."""

    record: AnyAnswer
    """The answer as `stts-runtime run --json` or `stream --json` prints it, with tokens and milliseconds."""
    notes: list[str]
    """What was made of the request, and is not plain from it."""


class Reply(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


Finish = Literal["stop", "length"]


class Choice(BaseModel):
    index: int = 0
    message: Reply
    finish_reason: Finish
    logprobs: None = None


class ChatReply(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    stts: Details


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    index: int = 0
    delta: Delta
    finish_reason: Finish | None = None
    logprobs: None = None


class Chunk(BaseModel):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    stts: Details | None = None


class ModelRecord(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelRecord]


class FileRecord(BaseModel):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str = "user_data"
    status: Literal["processed"] = "processed"
    duration_seconds: float | None = None
    """Of a clip."""
    frames: int | None = None


class FileList(BaseModel):
    object: Literal["list"] = "list"
    data: list[FileRecord]
    has_more: bool = False


class DeletedFile(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: bool = True
