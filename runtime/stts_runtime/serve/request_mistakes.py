"""What is wrong with a request, in words for whoever wrote the client: where it stands, what belongs there, and an
example. What a client's library writes for another API is named. It knows nothing of routes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from stts_runtime.mistakes import path_text, words_of

_PICTURE = '{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,..."}}'
_CLIP = '{"type": "video_url", "video_url": {"url": "data:video/mp4;base64,..."}}'
_FILE = '{"type": "file", "file": {"file_id": "file-..."}}'
_TEXT = '{"type": "text", "text": "What happens?"}'
_ASKED = f'{{"role": "user", "content": [{_TEXT}, {_CLIP}]}}'

_EXAMPLES = {
    "": f'{{"model": "NAME", "messages": [{_ASKED}]}}',
    "messages": f"[{_ASKED}]",
    "messages[]": _ASKED,
    "messages[].content": f"[{_TEXT}, {_CLIP}]",
    "messages[].content[]": _CLIP,
    "messages[].content[].image_url": '{"url": "data:image/jpeg;base64,..."}',
    "messages[].content[].image_url.url": '"data:image/jpeg;base64,..."',
    "messages[].content[].video_url": '{"url": "data:video/mp4;base64,..."}',
    "messages[].content[].video_url.url": '"data:video/mp4;base64,..."',
    "messages[].content[].file": '{"file_id": "file-..."} or {"file_data": "data:video/mp4;base64,..."}',
    "messages[].content[].text": '"What happens?"',
    "stream_options": '{"include_usage": true}',
    "file": "multipart/form-data with the clip or picture in a field named file",
}
"""What belongs somewhere, by its path without numbers."""

_OTHERS = {
    "input_text": ("a part of OpenAI's Responses API", _TEXT),
    "input_image": ("a part of OpenAI's Responses API", _PICTURE),
    "input_file": ("a part of OpenAI's Responses API", _FILE),
    "input_video": ("a part of other APIs", _CLIP),
    "output_text": ("a part of OpenAI's Responses API", _TEXT),
    "image": ("a part of other APIs", _PICTURE),
    "video": ("a part of other APIs", _CLIP),
    "document": ("a part of other APIs", _FILE),
    "image_file": ("a part of OpenAI's Assistants API", _FILE),
    "media": ("a part of LangChain for Gemini", _CLIP),
    "image_pil": ("a part of vLLM's Python API", _PICTURE),
    "image_embeds": ("a part of vLLM's API, whose embeddings are not read here", _PICTURE),
    "video_embeds": ("a part of vLLM's API, whose embeddings are not read here", _CLIP),
    "tool_result": ("a part of Anthropic's API", _TEXT),
}
_UNHEARD = ("input_audio", "audio_url", "audio")
_KINDS = ("text", "image_url", "video_url", "file")

_WORDS = {
    "string_type": "should be text in quotes",
    "list_type": "should be a list",
    "dict_type": "should be an object",
    "model_type": "should be an object",
    "model_attributes_type": "should be an object",
    "tuple_type": "should be a list",
    "too_short": "should have at least {min_length} of them",
    "too_long": "should have at most {max_length} of them",
    "extra_forbidden": "is not known here; leave it out",
    "string_unicode": "holds half of a surrogate pair, which is no character",
    "string_pattern_mismatch": "should be text as {pattern} describes it",
}
"""In place of those for configurations."""

_TYPES = ("string_type", "list_type", "dict_type", "model_type", "model_attributes_type")
"""Of pydantic's errors: a union was given something of another kind."""
_LONGEST_NAME = 60
_LISTED = "<attached_files>"
_WRITTEN_OUT = re.compile(r"data:(?:image|video)/[\w.+-]+;base64,", re.IGNORECASE)
"""A picture in Markdown or HTML, as front ends show them."""


def first_mistake(errors: Sequence[Any], body: object) -> tuple[str, str | None]:
    """The sentence and the place of the first mistake in `body`. Of a union the form that was meant is judged."""
    if "UploadFile" in errors[0]["msg"]:
        # FastAPI's words for a field of a form that came without the name of a file.
        return "file should be a file with a name, not text: curl -F file=@clip.mp4", "file"
    placed = [(_walked(one["loc"], body, one["type"]), one) for one in errors]
    path, error = placed[0]
    within = [(place, one) for place, one in placed if place[: len(path)] == path]
    deeper = [one for one in within if len(one[0]) > len(path)]
    others = [one for one in within if one[1]["type"] not in _TYPES]
    path, error = [*deeper, *others, (path, error)][0]
    kinds = [one for place, one in within if place == path and one["type"] in _TYPES]
    text = path_text(path)
    return _sentence(path, error, kinds), text or None


def other_apis(body: Any) -> str | None:
    """Where pictures stand in a request that holds none for this API; None if nowhere."""
    for number, message in enumerate(body.messages):
        if message.images:
            return f"messages[{number}].images is of Ollama's API; here a part of `content` is {_PICTURE}"
        if message.files:
            return f"messages[{number}].files is Open WebUI's own; here a part of `content` is {_PICTURE} or {_FILE}"
        if any(_LISTED in text for text in message.texts):
            return f"messages[{number}].content names files, as Open WebUI does, and has none of them: send {_FILE}"
        if any(_WRITTEN_OUT.search(text) for text in message.texts):
            return f"messages[{number}].content holds a data URL as text; here a part of `content` is {_PICTURE}"
    return f"files is of a front end's own; here a part of `content` is {_PICTURE} or {_FILE}" if body.files else None


def unread_body(error: BaseException | None, content_type: str) -> str | None:
    """Why the framework could not make anything of a body, if it is known."""
    if content_type.startswith("application/x-www-form-urlencoded"):
        return (
            f"the body came as {content_type[:_LONGEST_NAME]}, as curl -d sends it; send a file with -F file=@clip.mp4"
        )
    if isinstance(error, UnicodeDecodeError):
        return "the body is not JSON in UTF-8; compressed bodies are not read"
    if isinstance(error, RecursionError):
        return "the JSON of the body is nested too deeply"
    if isinstance(error, ValueError) and "integer string conversion" in str(error):
        return "the JSON of the body holds a number with too many digits"
    return None


def no_json(errors: Sequence[Any], body: object, content_type: str | None) -> str | None:
    """What to say of a body that is no JSON, or did not say that it is; None of others."""
    error = errors[0]
    if error["type"] == "json_invalid":
        return f"the body is not JSON: {error['ctx']['error']} at character {error['loc'][-1]}"
    if error["loc"] != ("body",):
        return None
    wanted = "send JSON with Content-Type: application/json"
    if isinstance(body, bytes):
        came = f"came as {content_type[:_LONGEST_NAME]}" if content_type else "came without a content type"
        return f"the body {came}: {wanted}"
    return f"the body is empty: {wanted}" if body is None else None


def _walked(location: Sequence[int | str], body: object, kind: str) -> list[int | str]:
    """The steps that lead somewhere in `body`. The rest are names of forms, but the last of what is missing."""
    if location[0] != "body":
        return list(location[1:])
    value, path = body, []
    for number, step in enumerate(location[1:], start=2):
        if _leads_on(value, step):
            value = value[step]  # type: ignore[index]
        elif not (kind == "missing" and number == len(location)):
            continue
        path.append(step if isinstance(step, int) else step[:_LONGEST_NAME])
    return path


def _leads_on(value: object, step: int | str) -> bool:
    if isinstance(value, dict):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and step < len(value)


def _sentence(path: Sequence[int | str], error: Mapping[str, Any], kinds: Sequence[Mapping[str, Any]]) -> str:
    place = path_text(path) or "the body"
    if error["type"] == "union_tag_invalid":
        return f"{place}.type {_on_kind(str(error['ctx']['tag']))}"
    if error["type"] == "union_tag_not_found":
        return f"{place}.type is missing; it should be {_either(_KINDS)}"
    if len(kinds) > 1:
        forms = [_WORDS[one["type"]].removeprefix("should be ") for one in kinds]
        said = f"should be {_either(forms)}"
    else:
        said = words_of(error, _WORDS)
    example = _EXAMPLES.get(path_text(["" if isinstance(step, int) else step for step in path]))
    if not example or error["type"] == "string_unicode":
        return f"{place} {said}"
    return f"{place} {said}{'; it should be' if error['type'] == 'missing' else ':'} {example}"


def _on_kind(kind: str) -> str:
    if kind in _UNHEARD:
        return f"is {kind}, and sound is not heard here; leave it out"
    if kind in _OTHERS:
        origin, form = _OTHERS[kind]
        return f"is {kind}, {origin}; here it is {form}"
    return f"should be {_either(_KINDS)}, got {json.dumps(kind[:_LONGEST_NAME])}"


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
