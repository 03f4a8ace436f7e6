"""The API as a program serves it on loopback: OpenAI's own client, schemathesis, signals, tokens, bad options."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openai
import pytest
import requests

from stts_runtime.bundle import Bundle
from tests.support.clips import write_clip
from tests.support.places import DATA
from tests.support.served import PROGRAM, Served, served

TOKEN = "a-token-that-nobody-guesses"
TOTALS: Any = {"usage": {"prompt_tokens", "completion_tokens", "total_tokens"}}


@pytest.fixture(scope="module")
def server(micro_bundle: Bundle, clip: Path) -> Iterator[Served]:
    sources = [f"loop:{clip}", "rtsp://viewer:secret@127.0.0.1:9/yard"]
    with served(micro_bundle.folder, *sources, "--ask", "What?", "--shortest-pause", "1s") as one:
        wait_for(lambda: state(one)["streams"][0]["answers"])
        yield one


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture(scope="module")
def api_alone(micro_bundle: Bundle) -> Iterator[openai.OpenAI]:
    """Of a server without streams: nothing comes in between two questions."""
    with (
        served(micro_bundle.folder) as one,
        openai.OpenAI(base_url=f"{one.address}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def state(server: Served) -> Any:
    return requests.get(f"{server.address}/api/state", timeout=10).json()


def wait_for(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def at(url: str, text: str = "What happens?") -> list[Any]:
    return user([{"type": "text", "text": text}, {"type": "video_url", "video_url": {"url": url}}])


def about(clip: Path, text: str = "What happens?") -> list[Any]:
    return at(data_url(clip.read_bytes(), "video/mp4"), text)


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


def by_schema(schema: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def picture() -> bytes:
    return cv2.imencode(".png", np.full((48, 64, 3), 120, np.uint8))[1].tobytes()


# --- OpenAI's client ---


def test_the_models_are_the_bundle_its_keep_ratios_and_its_streams(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["micro", "micro/keep-1", "micro/keep-0.5", "stream/stream-1", "stream/stream-2"]
    assert client.models.retrieve("micro/keep-1").id == "micro/keep-1"
    with pytest.raises(openai.NotFoundError, match="there is no such model; there is micro, "):
        client.models.retrieve("gpt-4o")


def test_a_clip_is_answered_about_with_tokens_in_and_kept(client: openai.OpenAI, clip: Path) -> None:
    kept = {}
    for keep in (1, 0.5):
        reply = client.chat.completions.create(model=f"micro/keep-{keep}", messages=about(clip), max_tokens=4)
        assert reply.choices[0].finish_reason in ("stop", "length")
        assert reply.usage is not None
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        assert reply.usage.prompt_tokens_details is not None
        details = reply.usage.prompt_tokens_details.model_dump()
        assert details["visual_tokens_in"] == 12
        kept[keep] = details["visual_tokens_kept"], reply.model_dump()["stts"]["record"]["keep"]
    assert kept == {1: (12, 1), 0.5: (6, 0.5)}


def test_a_conversation_goes_on_where_it_was(api_alone: openai.OpenAI, clip: Path) -> None:
    messages, told = about(clip, "Who is there?"), []
    for question in ("Why?", "And then?", None):
        request: Any = {"model": "micro", "messages": [*messages], "max_tokens": 6}
        reply = api_alone.chat.completions.create(**request).model_dump()
        told.append(reply["usage"])
        messages.append({"role": "assistant", "content": reply["choices"][0]["message"]["content"]})
        if question is not None:
            messages.append({"role": "user", "content": question})
    prompts = [one["prompt_tokens"] for one in told]
    cached = [one["prompt_tokens_details"]["cached_tokens"] for one in told]
    assert cached[0] == 0
    assert all(before - 20 < there < before for before, there in zip(prompts, cached[1:], strict=False))
    assert [one["prompt_tokens_details"]["visual_tokens_reused"] for one in told] == [0, 6, 6]
    api_alone.chat.completions.create(model="micro/keep-1", messages=about(clip), max_tokens=1)
    whole = api_alone.chat.completions.create(**request).model_dump()
    assert whole["usage"]["prompt_tokens_details"]["cached_tokens"] == 0, "another look was in between"
    assert whole["choices"] == reply["choices"], "at once it says what it said turn by turn"


def test_eight_who_ask_about_a_new_clip_pay_for_it_once(api_alone: openai.OpenAI, tmp_path: Path) -> None:
    content = data_url(write_clip(tmp_path / "new.mp4", frames=30, fps=10).read_bytes(), "video/mp4")

    def ask(number: int) -> Any:
        return api_alone.chat.completions.create(model="micro/keep-1", messages=at(content, f"{number}?"), max_tokens=2)

    before = cache_metrics(api_alone)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(ask, range(8)))
    after = cache_metrics(api_alone)
    for kind in ("frames", "visual_tokens"):
        grown = {result: after[kind, result] - before[kind, result] for result in ("hit", "miss")}
        assert grown == {"hit": 7, "miss": 1}, kind
    details = [reply.usage.prompt_tokens_details for reply in replies]
    assert sorted(one.visual_tokens_reused for one in details) == [0, *[24] * 7]
    assert sum(one.cached_tokens > 0 for one in details) == 7
    again = ask(3)
    assert again.choices == [one.choices for one in replies][3]


def cache_metrics(client: openai.OpenAI) -> dict[tuple[str, str], float]:
    text = requests.get(str(client.base_url).replace("/v1/", "/metrics"), timeout=10).text
    found = re.findall(r'stts_cache_lookups_total{kind="(\w+)",result="(\w+)"} (\S+)', text)
    assert "stts_cache_bytes" in text
    return {(kind, result): float(count) for kind, result, count in found}


def test_a_conversation_beyond_the_context_is_refused_as_openai_does(api_alone: openai.OpenAI, clip: Path) -> None:
    messages = [*about(clip), {"role": "assistant", "content": "so " * 2000}, *user("Why?")]
    with pytest.raises(openai.BadRequestError, match=r"the conversation takes .* leave out earlier turns") as caught:
        api_alone.chat.completions.create(model="micro", messages=messages)
    assert caught.value.code == "context_length_exceeded"
    messages[1]["content"] = "so " * 20_000
    with pytest.raises(openai.BadRequestError, match="may have 40000 characters, got 60013; leave out the earliest"):
        api_alone.chat.completions.create(model="micro", messages=messages)


def test_words_come_as_they_are_decoded_and_are_those_of_the_plain_answer(client: openai.OpenAI, clip: Path) -> None:
    request: Any = {"model": "micro", "messages": about(clip), "max_tokens": 12, "temperature": 0}
    plain = client.chat.completions.create(**request)
    chunks = list(client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(texts) == plain.choices[0].message.content
    assert len(texts) > 1, "more than one piece"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == plain.choices[0].finish_reason
    assert chunks[-1].choices == []
    # What was in the cache depends on who asked in between.
    assert chunks[-1].model_dump(include=TOTALS) == plain.model_dump(include=TOTALS)
    stop = texts[-1][-1:]
    cut = client.chat.completions.create(**request, stop=stop)
    assert cut.choices[0].message.content == plain.choices[0].message.content.partition(stop)[0]
    assert cut.choices[0].finish_reason == "stop"


def test_a_picture_is_a_one_frame_video_at_keep_1_and_the_answer_says_so(client: openai.OpenAI) -> None:
    part = {"type": "image_url", "image_url": {"url": data_url(picture(), "image/png")}}
    reply: Any = client.chat.completions.create(model="micro", messages=user([{"type": "text", "text": "?"}, part]))
    assert reply.stts["notes"] == ["the picture is a one-frame video at keep 1: nothing of it was dropped"]
    details = reply.usage.prompt_tokens_details.model_dump()
    assert details["visual_tokens_in"] == details["visual_tokens_kept"] == 4


def frames_of(clip: Path, numbers: Iterator[int]) -> list[Any]:
    """A clip's frames as harnesses send them."""
    capture = cv2.VideoCapture(str(clip))
    shown = []
    while (read := capture.read())[0]:
        shown.append(cv2.imencode(".png", read[1])[1].tobytes())
    parts = [{"type": "image_url", "image_url": {"url": data_url(shown[number], "image/png")}} for number in numbers]
    return user([{"type": "text", "text": "What happens?"}, *parts])


def test_several_pictures_are_looked_at_as_one_clip(client: openai.OpenAI, clip: Path) -> None:
    """Of a clip of 20 frames in 2 s, those that the file's own sampling takes."""
    ask: Any = client.chat.completions.create
    pictures = frames_of(clip, iter([0, 10, 19]))
    told = ask(model="micro", messages=pictures, max_tokens=8, extra_body={"mm_processor_kwargs": {"fps": 1}})
    file = ask(model="micro", messages=about(clip), max_tokens=8, extra_body={"mm_processor_kwargs": {"num_frames": 3}})
    assert told.stts["record"]["window"]["times_seconds"] == file.stts["record"]["window"]["times_seconds"]
    assert told.choices[0].message.content == file.choices[0].message.content
    assert told.stts["notes"][0] == "the 3 pictures are taken for the frames of one clip of 2.0 s"
    assert told.usage.prompt_tokens == file.usage.prompt_tokens
    two = ask(model="micro", messages=frames_of(clip, iter(range(7))), max_tokens=1)
    assert len(two.stts["record"]["kept_per_frame"]) == 6, "the longest variant that so many fill"
    with pytest.raises(openai.BadRequestError, match=r"no variant with keep 0\.5, 4 frames"):
        ask(model="micro", messages=about(clip), extra_body={"mm_processor_kwargs": {"num_frames": 4}})


def test_a_conversation_about_pictures_goes_on_and_they_are_read_once(api_alone: openai.OpenAI, clip: Path) -> None:
    """However often they are sent; the same pictures at another pace are another clip."""
    pictures, told = frames_of(clip, iter([1, 8, 17])), []
    before = cache_metrics(api_alone)
    for _ in range(2):
        reply = api_alone.chat.completions.create(model="micro", messages=pictures, max_tokens=4).model_dump()
        told.append(reply["usage"]["prompt_tokens_details"])
        answer = {"role": "assistant", "content": reply["choices"][0]["message"]["content"]}
        pictures = [*pictures, answer, *frames_of(clip, iter([1, 8, 17]))]
    assert [one["cached_tokens"] > 0 for one in told] == [False, True]
    assert [one["visual_tokens_reused"] > 0 for one in told] == [False, True]
    slower: Any = {"mm_processor_kwargs": {"fps": 1}}
    api_alone.chat.completions.create(model="micro", messages=pictures[:1], max_tokens=1, extra_body=slower)
    after = cache_metrics(api_alone)
    for kind in ("frames", "visual_tokens"):
        grown = {result: after[kind, result] - before[kind, result] for result in ("hit", "miss")}
        assert grown == {"hit": 1, "miss": 2}, kind


def test_pictures_of_different_sizes_are_no_clip(client: openai.OpenAI) -> None:
    sizes = [(48, 64), (48, 64), (64, 48)]
    shown = [cv2.imencode(".png", np.full((*size, 3), 120, np.uint8))[1].tobytes() for size in sizes]
    parts = [{"type": "image_url", "image_url": {"url": data_url(one, "image/png")}} for one in shown]
    with pytest.raises(openai.BadRequestError, match="picture 3 is 48 x 64 where the first is 64 x 48"):
        client.chat.completions.create(model="micro", messages=user([{"type": "text", "text": "?"}, *parts]))
    only: Any = user([{"type": "text", "text": "?"}, parts[0]])
    with pytest.raises(openai.BadRequestError, match="one picture has one frame"):
        client.chat.completions.create(model="micro", messages=only, extra_body={"mm_processor_kwargs": {"fps": 2}})


def test_an_upload_can_be_asked_about_until_it_is_deleted(client: openai.OpenAI, clip: Path) -> None:
    file = client.files.create(file=("clip.mp4", clip.read_bytes()), purpose="user_data")
    assert (file.filename, file.frames) == ("clip.mp4", 20)  # type: ignore[attr-defined]
    assert file.id in [one.id for one in client.files.list()]
    messages = user([{"type": "text", "text": "?"}, {"type": "file", "file": {"file_id": file.id}}])
    reply: Any = client.chat.completions.create(model="micro", messages=messages, max_tokens=2)
    assert reply.stts["record"]["source"] == "clip.mp4"
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError, match="no such file"):
        client.chat.completions.create(model="micro", messages=messages)


def test_a_stream_is_asked_about_its_newest_window(server: Served, client: openai.OpenAI) -> None:
    reply: Any = client.chat.completions.create(model="stream/stream-1", messages=user("What?"), max_tokens=2)
    record = reply.stts["record"]
    assert (record["trigger"], record["number"]) == ("asked", 0)
    looks = state(server)["streams"][0]["looks"]
    assert looks[0]["seconds"] <= record["times_seconds"][-1] <= looks[-1]["seconds"]


def test_log_probabilities_come_with_the_words_that_they_are_of(client: openai.OpenAI, clip: Path) -> None:
    request: Any = {"model": "micro", "messages": about(clip), "max_tokens": 12, "logprobs": True, "top_logprobs": 2}
    choice = client.chat.completions.create(**request).choices[0]
    assert choice.logprobs is not None
    whole = choice.logprobs.content
    assert whole is not None
    assert all(len(one.top_logprobs) == 2 for one in whole)
    assert b"".join(bytes(one.bytes or ()) for one in whole).decode(errors="replace").strip() == choice.message.content
    streamed = [chunk.choices[0] for chunk in client.chat.completions.create(**request, stream=True)]
    pieces = [one.logprobs.content or [] for one in streamed if one.logprobs is not None]
    assert [token for piece in pieces for token in piece] == whole
    assert len(pieces) > 1


def test_a_stop_takes_the_log_probabilities_behind_it_away(client: openai.OpenAI, clip: Path) -> None:
    request: Any = {"model": "micro", "messages": about(clip), "max_tokens": 12, "logprobs": True}
    text = client.chat.completions.create(**request).choices[0].message.content or ""
    stop = text[len(text) // 2 :][:3]
    cut = client.chat.completions.create(**request, stop=stop).choices[0]
    assert cut.message.content == text[: text.find(stop)]
    assert cut.logprobs is not None
    said = b"".join(bytes(one.bytes or ()) for one in cut.logprobs.content or []).decode(errors="replace")
    assert said.strip().startswith(cut.message.content)
    assert len(said) < len(text)
    streamed = list(client.chat.completions.create(**request, stop=stop, stream=True))
    pieces = [one.choices[0].logprobs for one in streamed]
    assert [token for one in pieces if one for token in one.content or []] == cut.logprobs.content


def test_one_of_the_choices_is_answered_with_how_likely_each_is(client: openai.OpenAI, clip: Path) -> None:
    for model, messages in (("micro", about(clip)), ("stream/stream-1", user("Who?"))):
        reply = client.chat.completions.create(model=model, messages=messages, extra_body={"choices": ["yes", "no"]})
        said = reply.model_dump()["stts"]["record"]["choices"]["probabilities"]
        assert said[reply.choices[0].message.content or ""] == max(said.values())
        assert sum(said.values()) == pytest.approx(1, abs=1e-5)


def test_json_by_a_schema_is_whole_streamed_or_not(client: openai.OpenAI, clip: Path) -> None:
    schema = {"type": "object", "properties": {"event": {"type": "string"}}, "required": ["event"]}
    request: Any = {"model": "micro", "messages": about(clip), "max_tokens": 30, "response_format": by_schema(schema)}
    whole = client.chat.completions.create(**request).choices[0]
    assert json.loads(whole.message.content or "").keys() >= {"event"}
    assert whole.finish_reason == "stop"
    chunks = client.chat.completions.create(**request, stream=True)
    assert "".join(one.choices[0].delta.content or "" for one in chunks) == whole.message.content
    anything = client.chat.completions.create(**{**request, "response_format": {"type": "json_object"}}).choices[0]
    assert isinstance(json.loads(anything.message.content or ""), dict)


def test_the_same_seed_gives_the_same_text(client: openai.OpenAI, clip: Path) -> None:
    def text(**fields: Any) -> str | None:
        request: Any = {"model": "micro", "messages": about(clip), "max_tokens": 12, **fields}
        content: str | None = client.chat.completions.create(**request).choices[0].message.content
        return content

    assert text(temperature=1.5, seed=7) == text(temperature=1.5, seed=7) != text(temperature=1.5, seed=8)
    assert text(temperature=0, seed=7) == text()


def test_a_stream_without_a_picture_says_what_it_is_doing(server: Served, client: openai.OpenAI) -> None:
    with pytest.raises(openai.ConflictError, match="stream-2 has no picture yet: reconnecting, nothing listens there"):
        client.chat.completions.create(model="stream/stream-2", messages=user("What?"))
    shown = json.dumps(state(server))
    assert "secret" not in shown
    assert "viewer" not in shown


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 2.1}, "temperature should be at most 2"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs should be at most 20"),
        ({"extra_body": {"choices": ["yes"]}}, "choices should have from 2 to 64 of them, as yes,no has; got 1"),
        ({"extra_body": {"choices": ["yes", "<|im_end|>"]}}, "holds the reserved mark <|im_end|>"),
        ({"response_format": by_schema({"items": {"type": "strin"}})}, "schema.items: Invalid type: strin"),
        ({"response_format": by_schema({"enum": ["x" * 40_000]})}, "schema is too large"),
        ({"n": 3}, "n should be 1, got 3"),
        ({"messages": user("What?")}, "there is nothing to look at"),
        ({"messages": at("https://example.com/a.mp4")}, "without --allow-remote-urls"),
        ({"messages": at("file:///etc/passwd")}, "messages[0].content[1].video_url.url should be a data URL"),
        ({"messages": at("/etc/passwd")}, "messages[0].content[1].video_url.url should be a data URL"),
        ({"max_tokens": 0}, "max_tokens should be at least 1"),
        ({"messages": []}, "messages should have at least 1 of them"),
    ],
)
def test_what_cannot_be_answered_is_400_with_the_reason(
    client: openai.OpenAI, clip: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=re.escape(message)):
        client.chat.completions.create(**{"model": "micro", "messages": about(clip), **fields})


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_in_place_of_a_schema_is_never_the_path_of_a_file(
    server: Served, clip: Path, tmp_path: Path, stream: bool
) -> None:
    own = tmp_path / "answer.json"
    own.write_text('{"type": "secret"}')
    for path in ("/etc/passwd", str(own), "file:///etc/passwd"):
        body = {"model": "micro", "messages": about(clip), "response_format": by_schema(path), "stream": stream}
        reply = requests.post(f"{server.address}/v1/chat/completions", json=body, timeout=10)
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert error["param"] == "response_format.json_schema.schema"
        assert error["message"].startswith("response_format.json_schema.schema should be a JSON schema, an object")
        assert not any(told in reply.text for told in ("root:", "secret", "passwd", "answer.json"))


def test_a_schema_that_needs_more_tokens_is_refused_before_the_clip_is_looked_at(client: openai.OpenAI) -> None:
    schema = by_schema({"type": "string", "minLength": 20})
    no_clip: Any = at(data_url(b"no clip at all", "video/mp4"))
    with pytest.raises(openai.BadRequestError, match="an answer by the schema needs max_tokens of at least"):
        client.chat.completions.create(model="micro", messages=no_clip, response_format=schema, max_tokens=8)


def test_a_server_without_the_library_for_schemas_says_that_it_lacks_it(
    micro_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "llguidance.py").write_text("raise ModuleNotFoundError(__name__)")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    with served(micro_bundle.folder, environment={"PYTHONPATH": path}) as server:
        body = {"model": "micro", "messages": about(clip), "response_format": {"type": "json_object"}}
        reply = requests.post(f"{server.address}/v1/chat/completions", json=body, timeout=10)
    assert reply.status_code == 501
    error = reply.json()["error"]
    assert error["type"] == "server_error"
    assert "pip install 'stts-export[schema]'" in error["message"]


@pytest.mark.parametrize("text", ["", "x" * 4001, "<im_patch>", "word " * 700])
def test_a_question_that_does_not_fit_is_400_streamed_or_not(client: openai.OpenAI, clip: Path, text: str) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=r"question"):
            client.chat.completions.create(model="micro", messages=about(clip, text), stream=stream)


def test_a_keep_ratio_that_the_bundle_lacks_is_named_without_where_the_bundle_lies(server: Served, clip: Path) -> None:
    files = {"file": clip.read_bytes()}
    number = requests.post(f"{server.address}/v1/files", files=files, timeout=10).json()["id"]
    body = {"question": "?", "file_id": number, "keep": 0.3}
    reply = requests.post(f"{server.address}/api/ask", json=body, timeout=10)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("micro has no variant with keep 0.3")


# --- Events, pictures, health ---


def test_events_come_as_they_happen(server: Served) -> None:
    seen: dict[str, Any] = {}
    with requests.get(f"{server.address}/api/events", stream=True, timeout=10) as reply:
        lines = reply.iter_lines(decode_unicode=True)
        for line in lines:
            if line.startswith("event: "):
                seen[line[7:]] = json.loads(next(lines)[6:])
            if {"look", "answer"} <= seen.keys():
                break
    assert seen["look"]["stream"] == seen["answer"]["stream"] == "stream-1"
    assert seen["look"]["kept"] in (2, 4)
    assert seen["look"]["lag_ms"] < 5000


def test_the_live_picture_changes(server: Served) -> None:
    def get(**how: str) -> requests.Response:
        return requests.get(f"{server.address}/api/streams/stream-1/picture", params=how, timeout=10)

    first = get()
    picture = cv2.imdecode(np.frombuffer(first.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (64, 96, 3)
    wait_for(lambda: get().headers["X-Stts-Number"] != first.headers["X-Stts-Number"])
    assert get(view="scores").content != get(view="kept").content
    assert get(view="all").status_code == 400
    for name, status in (("stream-2", 409), ("stream-3", 404), ("..%2f..%2fetc%2fpasswd", 404)):
        assert requests.get(f"{server.address}/api/streams/{name}/picture", timeout=10).status_code == status


def test_health_and_metrics(server: Served) -> None:
    for path in ("healthz", "readyz"):
        assert requests.get(f"{server.address}/{path}", timeout=10).json() == {"status": "ok"}
    text = requests.get(f"{server.address}/metrics", timeout=10).text
    assert re.search(r'^stts_answers_total\{stream="stream-1"\} [1-9]', text, re.MULTILINE)
    assert 'stts_source_state{state="reconnecting",stream="stream-2"} 1.0' in text
    assert re.search(r'^stts_http_requests_total\{route="/healthz",status="200"\} 1.0', text, re.MULTILINE)


def test_schemathesis_finds_nothing(server: Served, tmp_path: Path) -> None:
    """Without the check that whatever fits the schema is accepted: no schema says what makes bytes a video."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.address}/openapi.json",
        "--max-examples=5", "--seed=1", "--phases=coverage,fuzzing", "--exclude-path=/api/events",
        "--exclude-checks=positive_data_acceptance", "--no-color", "--request-timeout=20",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 200  # type: ignore[index]
    assert state(server)["streams"][0]["state"] == "live"


# --- Many at once, and the end ---


@pytest.fixture
def narrow(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> Iterator[Served]:
    """One open question at a time, one follower, a token, and a log of requests."""
    config = tmp_path / "server.yaml"
    content = {
        "streams": [{"name": "gate", "source": f"loop:{clip}"}],
        "serve": {"access_log": True, "limits": {"open_questions": 1, "event_clients": 1, "uploads": 2}},
    }
    config.write_text(json.dumps(content))
    with served(micro_bundle.folder, "--config", config, environment={"STTS_TOKEN": TOKEN}) as one:
        yield one


def test_a_full_server_says_when_to_ask_again_and_a_stop_is_clean_with_clients_connected(
    narrow: Served, clip: Path
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    follower = requests.get(f"{narrow.address}/api/events?token=in-vain", headers=headers, stream=True, timeout=10)
    refused = requests.get(f"{narrow.address}/api/events", headers=headers, timeout=10)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")

    body = {"model": "micro", "messages": about(clip), "max_tokens": 200}
    replies: list[requests.Response] = []

    def ask() -> None:
        replies.append(requests.post(f"{narrow.address}/v1/chat/completions", json=body, headers=headers, timeout=30))

    for _ in range(5):
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    statuses = {reply.status_code for reply in replies}
    assert statuses == {200, 429}
    busy = next(reply for reply in replies if reply.status_code == 429)
    assert int(busy.headers["Retry-After"]) >= 1
    assert busy.json()["error"]["type"] == "rate_limit_error"

    began = time.monotonic()
    said = narrow.stop()
    assert time.monotonic() - began < 8
    assert follower.raw.read(1_000_000).endswith(b"\n\n")
    assert "POST /v1/chat/completions 429" in said
    assert "in-vain" not in said
    assert TOKEN not in said
    assert "Traceback" not in said


def test_nothing_is_shown_without_the_token(narrow: Served) -> None:
    for path in ("/api/state", "/api/events", "/api/streams/gate/picture", "/v1/models", "/metrics", "/openapi.json"):
        reply = requests.get(narrow.address + path, timeout=10)
        assert reply.status_code == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    with (
        openai.OpenAI(base_url=f"{narrow.address}/v1", api_key="wrong-but-long-enough") as client,
        pytest.raises(openai.AuthenticationError, match="the token is missing or wrong"),
    ):
        client.models.list()
    with openai.OpenAI(base_url=f"{narrow.address}/v1", api_key=TOKEN) as client:
        assert client.models.list().data


def test_a_client_that_vanishes_leaves_its_place(narrow: Served, clip: Path) -> None:
    body = json.dumps({"model": "micro", "messages": about(clip), "max_tokens": 200, "stream": True}).encode()
    host, port = narrow.address.removeprefix("http://").split(":")
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in range(3):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + body)
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def answered() -> bool:
        request = {"model": "stream/gate", "messages": user("What?"), "max_tokens": 1}
        reply = requests.post(f"{narrow.address}/v1/chat/completions", json=request, headers=headers, timeout=10)
        return reply.status_code == 200

    wait_for(answered, 10)


def test_without_a_source_there_is_the_api_alone_and_a_clip_bundle_takes_no_source(
    clip: Path,
) -> None:
    bundle = DATA / "bundle-v1"
    with served(bundle) as one, openai.OpenAI(base_url=f"{one.address}/v1", api_key="none") as client:
        assert [model.id for model in client.models.list()] == [
            "bundle-v1",
            *(f"bundle-v1/keep-{keep}" for keep in (1, 0.75, 0.5)),
        ]
        assert client.chat.completions.create(model="bundle-v1", messages=about(clip), max_tokens=2).usage
        part = {"type": "image_url", "image_url": {"url": data_url(picture(), "image/png")}}
        with pytest.raises(openai.BadRequestError, match="no variant for one frame"):
            client.chat.completions.create(model="bundle-v1", messages=user([{"type": "text", "text": "?"}, part]))
        one.stop()
    done = subprocess.run([*PROGRAM, str(bundle), str(clip)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "has no variants for single frames" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give BUNDLE, or --config FILE"),
        (["nothing"], "no such bundle"),
        (["BUNDLE", "--listen", "8080"], "ADDRESS:PORT"),
        (["BUNDLE", "--listen", "0.0.0.0:0"], "can be reached from other machines, so requests need a token"),
        (["BUNDLE", "--listen", "256.1.1.1:0"], "serve.listen: '256.1.1.1' is neither an address of"),
        (["BUNDLE", "--listen", "[::zz]:0"], "serve.listen: '::zz' is neither an address of"),
        (["BUNDLE", "--listen", "192.0.2.1:0"], "cannot listen at 192.0.2.1:0: Cannot assign requested address"),
        (["BUNDLE", "--token-file", "nothing"], "a secret: no such file: nothing"),
        (["BUNDLE", "--listen", "127.0.0.1:TAKEN"], "Address already in use"),
        (["BUNDLE", "nothing.mp4"], "no such file: nothing.mp4"),
        (["BUNDLE", "loop:nothing.mp4"], "no such file: nothing.mp4"),
        (["BUNDLE", "CLIP", "--ask", "<im_patch>"], "reserved mark"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    micro_bundle: Bundle, clip: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names = {"BUNDLE": str(micro_bundle.folder), "CLIP": str(clip), "TAKEN": str(taken.getsockname()[1])}
        words = [re.sub("BUNDLE|CLIP|TAKEN", lambda found: names[found[0]], word) for word in arguments]
        done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "Z note: " not in line]
    assert len(lines) == 1, done.stderr
    assert message in lines[0]
    assert not list(tmp_path.iterdir())


def test_an_open_address_without_a_token_is_said_loudly(micro_bundle: Bundle) -> None:
    command = [*PROGRAM, str(micro_bundle.folder), "--listen", "0.0.0.0:0", "--insecure"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [line for line, _ in zip(process.stderr, range(2), strict=False)]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert any("Z warning: --insecure: everybody who reaches" in line for line in said)


def test_a_missing_package_is_named_with_the_command(micro_bundle: Bundle) -> None:
    code = "import sys; sys.modules['fastapi'] = None; from stts_runtime.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", str(micro_bundle.folder)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "error: fastapi is not installed, and the page and the API need it: pip install 'stts-export[serve]'\n"
    )
