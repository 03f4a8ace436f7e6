"""From a chat request to the one question about one video that the model answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stts_runtime.bundle import Bundle
from stts_runtime.serve.answer_service import Media, Question, Stream
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.media import DATA_URL, is_data_url
from stts_runtime.serve.openai_records import (
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    TextPart,
    VideoPart,
    VisualPart,
)
from stts_runtime.serve.request_mistakes import other_apis
from stts_runtime.serve.settings import ServerSettings
from stts_runtime.session import Wanted

_STREAM = "stream/"
_MOST_NAMES = 20


@dataclass(frozen=True)
class ModelChoice:
    """A keep ratio for clips (None: the trained one), or a stream."""

    keep: float | None = None
    stream: str | None = None


def model_choices(bundle: Bundle, streams: Iterable[str]) -> dict[str, ModelChoice]:
    """The bundle's name asks about clips at the trained keep, `NAME/keep-0.5` at that, `stream/NAME` about a stream."""
    name = bundle.folder.resolve().name
    return {
        name: ModelChoice(),
        **{f"{name}/keep-{keep:g}": ModelChoice(keep=keep) for keep in bundle.keeps},
        **{f"{_STREAM}{stream}": ModelChoice(stream=stream) for stream in streams},
    }


def chosen(choices: dict[str, ModelChoice], model: str) -> ModelChoice:
    """Raises `ApiError` 404 as OpenAI's servers do."""
    if model not in choices:
        more = f" and {len(choices) - _MOST_NAMES} more" if len(choices) > _MOST_NAMES else ""
        there = ", ".join(list(choices)[:_MOST_NAMES])
        raise ApiError(404, f"there is no such model; there is {there}{more}", "model", "model_not_found")
    return choices[model]


_FRAMES = "the model takes as many frames as it was built for; POST /api/ask has `frames`"
_GREEDY = "answers are greedy, always the likeliest token"


def question_of(body: ChatRequest, choice: ModelChoice, settings: ServerSettings) -> tuple[Question, list[str]]:
    """The question, and what the answer should say about how the request was read. Raises `ApiError` 400."""
    notes = _check_sampling(body, settings.sampling == "ignore")
    if (newest := body.messages[-1]).role != "user":
        raise ApiError(400, f"the last message should be the user's, got one of {newest.role!r}", "messages")
    text = "\n".join([*_system(body.messages), *newest.texts])
    if choice.stream is None and (told := other_apis(body)) and next(_with_visuals(body.messages), None) is None:
        raise ApiError(400, told, "messages")
    about, is_earlier = _about(body.messages, choice)
    notes += _on_history(body.messages, is_earlier)
    notes += [
        f"{name} was ignored: {_FRAMES}" for name in ("mm_processor_kwargs", "media_io_kwargs") if getattr(body, name)
    ]
    wanted = body.max_completion_tokens or body.max_tokens or settings.limits.answer_tokens
    max_tokens = min(wanted, settings.limits.answer_tokens)
    if max_tokens < wanted:
        notes.append(f"an answer may have {max_tokens} tokens here; {wanted} were asked for")
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return Question(text, about, max_tokens, Wanted(keep=choice.keep), [stop for stop in stops if stop]), notes


def _check_sampling(body: ChatRequest, ignored: bool) -> list[str]:
    """Refuses what greedy decoding cannot do. What is wanted of chance, an operator may have ignored, and said."""
    if body.n not in (None, 1):
        raise ApiError(400, f"n should be 1, got {body.n}: {_GREEDY}, so there is one answer", "n")
    for name in ("logprobs", "tools", "functions", "logit_bias"):
        if getattr(body, name):
            raise ApiError(400, f"{name} is not supported here; leave it out", name)
    if body.response_format and body.response_format.get("type") != "text":
        raise ApiError(400, "response_format should be text: nothing else is enforced here", "response_format")
    asked = [name for name in ("temperature", "presence_penalty", "frequency_penalty") if getattr(body, name)]
    if asked and not ignored:
        name = asked[0]
        raise ApiError(400, f"{name} should be 0 or left out, got {getattr(body, name):g}: {_GREEDY}", name)
    return [f"{name} was ignored: {_GREEDY}" for name in asked]


def _system(messages: list[Message]) -> list[str]:
    return [text for one in messages if one.role in ("system", "developer") for text in one.texts]


def _visuals(message: Message) -> list[tuple[int, VisualPart]]:
    if not isinstance(message.content, list):
        return []
    return [(place, part) for place, part in enumerate(message.content) if not isinstance(part, TextPart)]


def _about(messages: list[Message], choice: ModelChoice) -> tuple[Stream | Media, bool]:
    """What is asked about, and whether it stands in an earlier message: clients send the whole conversation again."""
    newest = next(_with_visuals(messages), None)
    if choice.stream is not None:
        if newest is not None and newest[0] == len(messages) - 1:
            raise ApiError(400, "a stream has pictures of its own; leave yours out, or name another model", "model")
        return Stream(choice.stream), False
    if newest is None:
        raise ApiError(
            400,
            "there is nothing to look at: add an image_url, video_url or file part, or name a stream/NAME model",
            "messages",
        )
    number, visuals = newest
    place = f"messages[{number}].content"
    if len(visuals) > 1:
        raise ApiError(400, f"{place} may have one picture or clip, got {len(visuals)}", place)
    part_number, part = visuals[0]
    return _media(part, f"{place}[{part_number}]"), number != len(messages) - 1


def _with_visuals(messages: list[Message]) -> Iterator[tuple[int, list[tuple[int, VisualPart]]]]:
    """From the newest message to the oldest."""
    for number in reversed(range(len(messages))):
        if visuals := _visuals(messages[number]):
            yield number, visuals


def _media(part: VisualPart, place: str) -> Media:
    if isinstance(part, ImagePart):
        return Media(part.image_url.url, f"{place}.image_url.url", "picture")
    if isinstance(part, VideoPart):
        return Media(part.video_url.url, f"{place}.video_url.url", "clip")
    assert isinstance(part, FilePart)
    if part.file.file_data is None:
        return Media(part.file.file_id or "", f"{place}.file.file_id")
    param = f"{place}.file.file_data"
    if not is_data_url(part.file.file_data):
        raise ApiError(400, f"{param} should be {DATA_URL}", param)
    return Media(part.file.file_data, param)


def _on_history(messages: list[Message], is_earlier: bool) -> list[str]:
    left_out = sum(one.role not in ("system", "developer") for one in messages[:-1])
    if not left_out:
        return []
    kept = ", but for the picture or clip" if is_earlier else ""
    return [f"{left_out} earlier messages are not in the prompt{kept}: one question about one video is answered"]
