"""The part of OpenAI's chat API that is spoken here, as pydantic sees it. It knows nothing of streams and engines."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from stts_runtime.answering.form import MOST_TOP_LOGPROBS
from stts_runtime.record_parts import TokenLogprobRecord
from stts_runtime.records import AnyAnswer


class _Request(BaseModel):
    """Strict, and open for what other servers take and this one does not need: `user`, `metadata`, ..."""

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


class FileContent(_Request):
    file_id: str | None = None
    """Of an upload to `/v1/files`, or what `video_url` takes."""
    file_data: str | None = None
    """A `data:` URL."""

    @model_validator(mode="after")
    def _one_of_two(self) -> FileContent:
        if (self.file_id is None) == (self.file_data is None):
            raise ValueError("should hold file_id or file_data, one of the two")
        return self


class FilePart(_Request):
    """A clip or picture, whatever it is."""

    type: Literal["file"]
    file: FileContent


VisualPart = Union[ImagePart, VideoPart, FilePart]
Part = Annotated[Union[TextPart, ImagePart, VideoPart, FilePart], Discriminator("type")]
_KINDS = ("text", "image_url", "video_url", "file")


class Message(_Request):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Union[str, list[Part], None] = None
    images: Any = None
    """Ollama's; not read, but told."""
    files: Any = None
    """Open WebUI's; not read, but told."""

    @model_validator(mode="before")
    @classmethod
    def _of_known_parts(cls, given: Any) -> Any:
        """What models and tools said has parts of their makers' own, such as `refusal` and `thinking`: passed over."""
        if not isinstance(given, dict) or given.get("role") not in ("assistant", "tool", "function"):
            return given
        content = given.get("content")
        if not isinstance(content, list):
            return given
        return {**given, "content": [one for one in content if not isinstance(one, dict) or one.get("type") in _KINDS]}

    @property
    def texts(self) -> list[str]:
        if isinstance(self.content, str):
            return [self.content]
        return [part.text for part in self.content or [] if isinstance(part, TextPart)]


def _whole(given: object) -> object:
    """Some languages write 64 as 64.0."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


Count = Annotated[int, BeforeValidator(_whole), Field(ge=1)]


class StreamOptions(_Request):
    include_usage: bool = False


class ChatRequest(_Request):
    model: str
    """`NAME` of the bundle, `NAME/keep-0.5`, or `stream/NAME`."""
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    """The conversation, the question last. `system` and `developer` are put before the question."""
    stream: bool = False
    """Send text as it is decoded, then `stts`."""
    stream_options: StreamOptions | None = None
    """`include_usage`: usage comes last."""
    max_tokens: Count | None = None
    """Length limit of the answer, up to the server's."""
    max_completion_tokens: Count | None = None
    """The same, by its newer name."""
    stop: Union[str, Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(max_length=4)], None] = None
    """Texts that end the answer."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """0 or nothing: greedy."""
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Makes no difference to greedy answers."""
    seed: int | None = None
    """Seed of the sampling."""
    n: int | None = None
    """1 or nothing."""
    presence_penalty: float | None = None
    """Refused unless 0, or where the server ignores it."""
    frequency_penalty: float | None = None
    """Refused unless 0, or where the server ignores it."""
    logit_bias: dict[str, Any] | None = None
    """Refused."""
    logprobs: bool | None = None
    """Return the log probability of each token."""
    top_logprobs: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None
    """Number of alternatives for each token; needs `logprobs`."""
    choices: Any = None
    """Not OpenAI's: answer with one of these texts, with probabilities."""
    tools: list[Any] | None = None
    """Refused."""
    functions: list[Any] | None = None
    """Refused."""
    response_format: dict[str, Any] | None = None
    """`json_schema` or `json_object`: JSON that conforms; needs the extra `schema`, else 501."""
    files: Any = None
    """Open WebUI's; refused."""
    mm_processor_kwargs: Any = None
    """As in vLLM: `num_frames` to look at, or `fps`."""
    media_io_kwargs: Any = None
    """As in vLLM: `video`, with `num_frames` or `fps`."""


class PromptDetails(BaseModel):
    cached_tokens: int = 0
    """Those that the language model did not have to read again."""
    visual_tokens_in: int
    """Visual tokens before pruning."""
    visual_tokens_kept: int
    """Those that are in the prompt."""
    visual_tokens_reused: int
    """Those of them that an earlier question has paid for."""


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


class Logprobs(BaseModel):
    content: list[TokenLogprobRecord]
    refusal: None = None


class Choice(BaseModel):
    index: int = 0
    message: Reply
    finish_reason: Finish
    logprobs: Logprobs | None = None


class ChatReply(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    stts: Details


class _Sparse(BaseModel):
    """Written without what is None."""

    @model_serializer(mode="wrap")
    def _without_none(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in whole(self).items() if value is not None}


class Delta(_Sparse):
    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    index: int = 0
    delta: Delta
    finish_reason: Finish | None = None
    logprobs: Logprobs | None = None


class Chunk(_Sparse):
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
