"""From a chat request to the question that the model answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from stts_runtime.answering import AnswerForm, Sampling
from stts_runtime.answering.form import checked_choices
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.chat_turns import dialogue_of, has_visuals
from stts_runtime.serve.clip_kwargs import ClipKwargs, clip_kwargs
from stts_runtime.serve.openai_records import ChatRequest
from stts_runtime.serve.questions import Frames, JsonSchema, Media, Question, Stream
from stts_runtime.serve.request_mistakes import other_apis
from stts_runtime.serve.settings import ServerSettings
from stts_runtime.session import Wanted

Number = TypeVar("Number", int, float)

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
        **stream_choices(streams),
    }


def stream_choices(streams: Iterable[str]) -> dict[str, ModelChoice]:
    return {f"{_STREAM}{stream}": ModelChoice(stream=stream) for stream in streams}


def chosen(choices: dict[str, ModelChoice], model: str) -> ModelChoice:
    """Raises `ApiError` 404 as OpenAI's servers do."""
    if model not in choices:
        more = f" and {len(choices) - _MOST_NAMES} more" if len(choices) > _MOST_NAMES else ""
        there = ", ".join(list(choices)[:_MOST_NAMES])
        raise ApiError(404, f"there is no such model; there is {there}{more}", "model", "model_not_found")
    return choices[model]


_GREEDY = "answers are greedy, always the likeliest token"
_FORMAT = '{"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}'


def question_of(body: ChatRequest, choice: ModelChoice, settings: ServerSettings) -> tuple[Question, list[str]]:
    """The question, and what the answer should say about how the request was read. Raises `ApiError` 400."""
    ignored = settings.sampling == "ignore"
    notes = _check_sampling(body, ignored)
    if (newest := body.messages[-1]).role != "user":
        raise ApiError(400, f"the last message should be the user's, got one of {newest.role!r}", "messages")
    if choice.stream is None and not has_visuals(body.messages) and (told := other_apis(body)):
        raise ApiError(400, told, "messages")
    dialogue = dialogue_of(body.messages, choice.stream)
    notes += dialogue.notes
    clip = _clip(body, dialogue.about)
    wanted = body.max_completion_tokens or body.max_tokens or settings.limits.answer_tokens
    max_tokens = min(wanted, settings.limits.answer_tokens)
    if max_tokens < wanted:
        notes.append(f"an answer may have {max_tokens} tokens here; {wanted} were asked for")
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return Question(
        dialogue.question,
        dialogue.about,
        max_tokens,
        Wanted(keep=choice.keep, frames=clip.frames),
        [stop for stop in stops if stop],
        _form(body, ignored),
        _schema(body.response_format),
        dialogue.history,
        clip,
    ), notes


def _clip(body: ChatRequest, about: Stream | Media | Frames) -> ClipKwargs:
    """Raises `ApiError` 400 for what cannot be followed."""
    clip = clip_kwargs(body)
    if isinstance(about, Stream) and clip != ClipKwargs():
        raise ApiError(400, f"{clip.param} is for clips, and a stream's window is set where it is started", clip.param)
    if isinstance(about, Media) and clip.frames is not None and clip.fps is not None:
        raise ApiError(400, "of a clip, num_frames or fps can be followed and not both; leave one out", clip.param)
    return clip


def _form(body: ChatRequest, greedy: bool) -> AnswerForm:
    """All of it but a schema, which takes longer to read."""
    if body.top_logprobs is not None and not body.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs to be true", "top_logprobs")
    sampling = Sampling() if greedy else Sampling(body.temperature or 0.0, _or(body.top_p, 1.0), body.seed)
    try:
        choices = () if body.choices is None else checked_choices(body.choices)
    except UserError as error:
        raise ApiError(400, str(error), "choices") from None
    if choices and body.response_format and body.response_format.get("type") != "text":
        raise ApiError(400, "choices and response_format exclude each other: leave out one of the two", "choices")
    try:
        return AnswerForm(sampling, choices, top_logprobs=_or(body.top_logprobs, 0) if body.logprobs else None)
    except UserError as error:
        raise ApiError(400, str(error), "choices") from None


def _or(given: Number | None, other: Number) -> Number:
    return other if given is None else given


def _schema(response_format: dict[str, Any] | None) -> JsonSchema | None:
    """What the answer has to be, and where that stands in the request."""
    kind = response_format.get("type") if response_format else "text"
    if kind == "text":
        return None
    if kind == "json_object":
        return JsonSchema({"type": "object"}, "response_format")
    place = "response_format.json_schema.schema"
    given = response_format.get("json_schema") if response_format else None
    if kind != "json_schema" or not isinstance(given, dict) or "schema" not in given:
        raise ApiError(
            400,
            f'response_format should be {{"type": "text"}}, {{"type": "json_object"}} or {_FORMAT}',
            "response_format",
        )
    schema = given["schema"]
    if not isinstance(schema, dict):
        # A text would be the path of a file, to everything but a server.
        raise ApiError(400, f'{place} should be a JSON schema, an object such as {{"type": "object"}}', place)
    return JsonSchema(schema, place)


def _check_sampling(body: ChatRequest, ignored: bool) -> list[str]:
    """Refuses what there is not. What is wanted of chance, an operator may have ignored, and said."""
    if body.n not in (None, 1):
        raise ApiError(400, f"n should be 1, got {body.n}: there is one answer to a request", "n")
    for name in ("tools", "functions", "logit_bias"):
        if getattr(body, name):
            raise ApiError(400, f"{name} is not supported here; leave it out", name)
    penalties = [name for name in ("presence_penalty", "frequency_penalty") if getattr(body, name)]
    if not ignored:
        for name in penalties:
            raise ApiError(
                400, f"{name} should be 0 or left out, got {getattr(body, name):g}: there is none here", name
            )
        return []
    asked = ["temperature", *penalties] if body.temperature else penalties
    return [f"{name} was ignored: {_GREEDY}" for name in asked]
