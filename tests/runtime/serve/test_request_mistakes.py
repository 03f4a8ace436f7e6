"""What clients of other libraries and APIs send: it is taken, or told by its place with what belongs there."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from stts_runtime.bundle import Bundle
from tests.support.served import Served, served

PICTURE = cv2.imencode(".png", np.full((48, 64, 3), 120, np.uint8))[1].tobytes()
CONTENT = base64.b64encode(PICTURE).decode()
URL = f"data:image/png;base64,{CONTENT}"
TEXT = {"type": "text", "text": "What?"}
JSON = {"Content-Type": "application/json"}
AT = "messages[0].content[1]"

pytestmark = pytest.mark.onnxruntime


@pytest.fixture(scope="module")
def server(micro_bundle: Bundle) -> Iterator[Served]:
    with served(micro_bundle.folder) as one:
        yield one


def posted(server: Served, body: object, headers: dict[str, str] | None = None) -> requests.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    address = f"{server.address}/v1/chat/completions"
    return requests.post(address, data=content, headers=JSON if headers is None else headers, timeout=30)


def refusal(server: Served, body: object, headers: dict[str, str] | None = None) -> tuple[str, str | None]:
    """The message and the place of a 400."""
    reply = posted(server, body, headers)
    assert reply.status_code == 400, reply.text[:300]
    error = reply.json()["error"]
    assert len(error["message"]) <= 1000
    assert not re.search(r"Input should|valid (string|dictionary)|Field required", error["message"])
    return error["message"], error["param"]


def asked(*parts: object, **fields: object) -> dict[str, Any]:
    return {"model": "micro", "max_tokens": 2, "messages": [{"role": "user", "content": [TEXT, *parts]}], **fields}


def at(url: object) -> dict[str, Any]:
    return asked({"type": "image_url", "image_url": {"url": url}})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": URL, "format": "image/png"}},
        {"type": "file", "file": {"file_data": URL, "filename": "a.png"}},
        {"type": "file", "file": {"file_id": None, "file_data": URL, "format": "image/png"}},
        {"type": "file", "file": {"file_id": URL}},
    ],
)
def test_pictures_are_taken_as_openai_and_litellm_write_them(server: Served, part: object) -> None:
    assert posted(server, asked(part)).status_code == 200


@pytest.mark.parametrize(
    "history",
    [
        {"role": "tool", "content": "x", "tool_call_id": "1"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "tool_use"}],
        },
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "tool_result", "content": []}]},
    ],
)
def test_an_earlier_message_of_any_kind_is_no_mistake(server: Served, history: object) -> None:
    messages = [history, *at(URL)["messages"]]
    assert posted(server, {"model": "micro", "max_tokens": 2.0, "messages": messages}).status_code == 200


LINES = "\r\n".join(CONTENT[start : start + 76] for start in range(0, len(CONTENT), 76))


@pytest.mark.parametrize(
    "url",
    [
        f"DATA:IMAGE/PNG;BASE64,{CONTENT}",
        f"  {URL}\n",
        f"data:image/png;base64,{LINES}",
        f"data:image/png; charset=utf-8; base64 , {CONTENT}",
        f'data:image/png;name="a, b;.png";base64,{CONTENT}',
        f"data:;base64,{CONTENT.rstrip('=')}",
        "data:image/png;base64," + CONTENT.replace("+", "-").replace("/", "_"),
        "data:image/png;base64," + CONTENT.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D"),
    ],
)
def test_base64_is_read_as_the_web_writes_it(server: Served, url: str) -> None:
    assert posted(server, at(url)).status_code == 200


OBJECT = ".image_url should be an object: {"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "image_url", "image_url": URL}, OBJECT + '"url": "data:image/jpeg;base64,..."}'),
        ({"type": "image_url", "image_url": None}, OBJECT),
        ({"type": "image_url", "image_url": [{"url": URL}]}, OBJECT),
        ({"type": "image_url"}, ".image_url is missing; it should be {"),
        ({"type": "image_url", "image_url": {"uri": URL}}, '.image_url.url is missing; it should be "data:image/jpeg'),
        ({"type": "image_url", "image_url": {"url": 5}}, '.image_url.url should be text in quotes: "data:image'),
        ({"type": "video_url", "video_url": URL}, '.video_url should be an object: {"url": "data:video/mp4'),
        ({"type": "file", "file": "file-1"}, '.file should be an object: {"file_id": "file-..."}'),
        ({"type": "file", "file_id": "file-1"}, ".file is missing; it should be {"),
        ({"type": "file", "file": {}}, ".file should hold file_id or file_data, one of the two"),
        ({"type": "file", "file": {"file_id": "file-1", "file_data": URL}}, ".file should hold file_id or file_data"),
        ({"type": "file", "file": {"file_data": CONTENT}}, ".file.file_data should be a data URL: data:TYPE"),
        ({"image_url": {"url": URL}}, ".type is missing; it should be text, image_url, video_url or file"),
        ({"inline_data": {"mime_type": "image/png"}}, ".type is missing"),
        ({"type": "image-url"}, '.type should be text, image_url, video_url or file, got "image-url"'),
        ({"type": 3}, ".type should be text, image_url"),
        ({"type": "input_image", "image_url": URL}, ".type is input_image, a part of OpenAI's Responses API; here it"),
        ({"type": "input_file", "file_data": URL}, ".type is input_file, a part of OpenAI's Responses API; here it"),
        ({"type": "image", "source": {"type": "base64"}}, '.type is image, a part of other APIs; here it is {"type"'),
        ({"type": "video", "video": "file:///a.mp4"}, '.type is video, a part of other APIs; here it is {"type": "v'),
        ({"type": "document", "source": {}}, ".type is document, a part of other APIs"),
        ({"type": "input_audio", "input_audio": {}}, ".type is input_audio, and sound is not heard here"),
        ({"type": "image_embeds", "image_embeds": "x"}, ".type is image_embeds, a part of vLLM's API"),
        ({"type": "hologram"}, '.type should be text, image_url, video_url or file, got "'),
        ({"type": "x" * 100_000}, '.type should be text, image_url, video_url or file, got "xxx'),
        ({"type": "text"}, '.text is missing; it should be "What happens?"'),
        (URL, " should be an object: {"),
        (None, " should be an object: {"),
    ],
)
def test_a_part_that_is_none_is_told_by_its_place_with_one_that_is(server: Served, part: object, message: str) -> None:
    said, place = refusal(server, asked(part))
    assert said.startswith(AT + message), said
    assert place is not None
    assert place.startswith(AT)


@pytest.mark.parametrize(
    "url",
    ["", CONTENT, "file:///etc/passwd", "gs://b/a.mp4", "blob:x", "/api/v1/files/1/content", "data:image/png,abc"],
)
def test_an_address_that_is_not_read_is_told_by_its_place_with_what_is(server: Served, url: str) -> None:
    said, place = refusal(server, at(url))
    assert said.startswith(f"{AT}.image_url.url should be a data URL: data:TYPE/SUBTYPE;base64,CONTENT")
    assert place == f"{AT}.image_url.url"
    assert said.endswith("this one the front end alone can open") == url.startswith(("blob:", "/api"))


@pytest.mark.parametrize("content", ["!", "?" * 3_000_000, "A", "AAAAA", "AA=A", "\ud800", "%zz", "%ff"])
def test_what_is_not_base64_is_told_by_its_place(server: Served, content: str) -> None:
    said, _ = refusal(server, at("data:image/png;base64," + content))
    assert said == f"the content of {AT}.image_url.url is not base64"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": {"role": "user"}}, 'messages should be a list: [{"role": "user"'),
        ({"messages": ["hi"]}, 'messages[0] should be an object: {"role": "user"'),
        ({"messages": [{"role": "human", "content": "x"}]}, "messages[0].role should be 'system', 'developer'"),
        (
            {"messages": [{"role": "user", "content": TEXT}]},
            "messages[0].content should be text in quotes or a list: [",
        ),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content should be text in quotes or a list: ["),
        (
            {"messages": [{"role": "user", "content": "x", "images": [CONTENT]}]},
            "messages[0].images is of Ollama's API",
        ),
        ({"messages": [{"role": "user", "content": "x"}], "files": [{"url": URL}]}, "files is of a front end's own"),
        (
            {"messages": [{"role": "user", "content": "x", "files": [{"type": "image", "url": URL}]}]},
            "messages[0].files is Open WebUI's own",
        ),
        (
            {"messages": [{"role": "user", "content": f"What is this? ![a]({URL})"}]},
            "messages[0].content holds a data URL as text",
        ),
        (
            {"messages": [{"role": "user", "content": "<attached_files>\n<file url='x'/>\n</attached_files>\nWhat?"}]},
            "messages[0].content names files, as Open WebUI does, and has none of them: send",
        ),
        ({"messages": []}, "messages should have at least 1 of them"),
        ({"model": None}, "model should be text in quotes"),
        ({"max_tokens": 1.5}, "max_tokens should be a whole number"),
        ({"max_tokens": "5"}, "max_tokens should be a whole number"),
        ({"max_tokens": -1}, "max_tokens should be at least 1"),
        ({"temperature": "0"}, "temperature should be a number"),
        ({"stop": 5}, "stop should be text in quotes or a list"),
        ({"stop": ["a", 5]}, "stop[1] should be text in quotes"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop should have at most 4 of them"),
        ({"stop": [""]}, "stop[0] should not be empty"),
        ({"stream": "true"}, "stream should be true or false"),
        ({"stream_options": "usage"}, 'stream_options should be an object: {"include_usage": true}'),
    ],
)
def test_a_field_is_told_by_its_place_and_of_a_union_the_form_that_was_meant(
    server: Served, fields: dict[str, object], message: str
) -> None:
    assert refusal(server, {**at(URL), **fields})[0].startswith(message)


GOOD = json.dumps(at(URL)).encode()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (GOOD, {}, "the body came without a content type: send JSON with Content-Type: application/json"),
        (GOOD, FORM, "the body came as application/x-www-form-urlencoded: send JSON with Content-Type"),
        (b"{model: micro}", JSON, "the body is not JSON: Expecting property name enclosed in double quotes at char"),
        (GOOD[:-5], JSON, "the body is not JSON: Expecting ',' delimiter at character"),
        (b"", JSON, "the body is empty: send JSON"),
        (b"null", JSON, "the body is empty: send JSON"),
        (b"[1]", JSON, 'the body should be an object: {"model": "NAME", "messages": ['),
        (b'{"model": "\xff"}', JSON, "the body is not JSON in UTF-8"),
        (gzip.compress(GOOD), JSON, "the body is not JSON in UTF-8; compressed bodies are not read"),
        (b"[" * 100_000, JSON, "the JSON of the body is nested too deeply"),
        (b'{"max_tokens": ' + b"9" * 5000 + b"}", JSON, "the JSON of the body holds a number with too many digits"),
    ],
)
def test_a_body_that_is_no_json_or_does_not_say_so_is_told_as_such(
    server: Served, body: bytes, headers: dict[str, str], message: str
) -> None:
    assert refusal(server, body, headers)[0].startswith(message)


def test_a_name_that_no_text_can_hold_is_told_all_the_same(server: Served) -> None:
    reply = requests.post(
        f"{server.address}/api/ask", data=b'{"\\ud800": 1, "question": "x"}', headers=JSON, timeout=30
    )
    assert reply.status_code == 400
    assert "half of a surrogate pair" in reply.json()["error"]["message"]


def streamed(server: Served, **options: object) -> list[dict[str, Any]]:
    reply = posted(server, {**at(URL), "stream": True, **options})
    lines: list[str] = [line for line in reply.text.split("\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


@pytest.mark.parametrize("usage", [False, True])
def test_every_chunk_has_a_finish_reason_and_null_before_the_last(server: Served, usage: bool) -> None:
    chunks = streamed(server, stream_options={"include_usage": usage})
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    reasons = [choice["finish_reason"] for choice in choices]
    assert reasons[-1] in ("stop", "length")
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert not any(None in choice["delta"].values() for choice in choices), "what is not said is left out of a delta"
    assert ("usage" in chunks[-1]) == usage


def test_an_upload_without_the_name_of_a_file_is_told_as_such(server: Served) -> None:
    reply = requests.post(f"{server.address}/v1/files", files={"file": (None, b"junk")}, timeout=10)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == "file should be a file with a name, not text: curl -F file=@clip.mp4"
    reply = requests.post(f"{server.address}/v1/files", data=b"a&" * 2000, headers=FORM, timeout=10)
    assert "as curl -d sends it; send a file with -F file=@clip.mp4" in reply.json()["error"]["message"]
