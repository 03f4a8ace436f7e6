"""The server's parts on their own: who waits for the engines, what is passed on, what is let in, what is refused."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from prometheus_client import CollectorRegistry, Counter

from stts_runtime.answering import AnswerForm, OnToken, Sampling, TextStream
from stts_runtime.errors import SourceError, UserError
from stts_runtime.serve import media, remote
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.chat_request import ModelChoice, question_of
from stts_runtime.serve.engine_queue import BusyError, EngineQueue
from stts_runtime.serve.events import Event, EventBroker
from stts_runtime.serve.guard import Guard, required_token
from stts_runtime.serve.hub import Hub
from stts_runtime.serve.openai_records import ChatRequest
from stts_runtime.serve.page_routes import page_routes
from stts_runtime.serve.pictures import live_jpeg
from stts_runtime.serve.questions import Frames, JsonSchema
from stts_runtime.serve.settings import Limits, ServeConfig, ServerSettings
from stts_runtime.serve.thread_pool import ThreadPool
from stts_runtime.serve.uploads import Uploads
from stts_runtime.stream.config_file import load_config
from tests.support.courses import at_once, plainly
from tests.support.receivers import web_receiver

LIMITS = Limits()
CLIP_PART = {"type": "video_url", "video_url": {"url": "file-1"}}


def nothing(_: Sequence[int]) -> bool:
    return True


# --- The queue: one question at a time, in the thread that comes by ---


def begin(one: EngineQueue) -> bool:
    """A round of the pipeline."""
    one.passed()
    return one.begin_one(at_once())


def queue(slots: int = 2) -> EngineQueue:
    return EngineQueue(slots, threading.Event())


def test_a_question_is_answered_in_the_thread_that_comes_by_and_in_no_other() -> None:
    one = queue()
    with one.reserve() as slot:
        job = slot.ask(plainly(lambda _: threading.get_ident()), nothing)
    assert not job.future.done()
    assert begin(one)
    assert job.future.result() == threading.get_ident()
    assert not begin(one)


def test_questions_come_one_a_round_in_their_order() -> None:
    one = queue(3)
    done: list[int] = []

    def note(number: int, _: OnToken) -> None:
        done.append(number)

    for number in range(3):
        with one.reserve() as slot:
            slot.ask(plainly(partial(note, number)), nothing)
    for rounds in range(3):
        assert done == list(range(rounds))
        begin(one)
    assert done == [0, 1, 2]


def test_where_there_are_streams_half_of_the_time_is_theirs() -> None:
    one = EngineQueue(4, threading.Event(), shared=True)
    for _ in range(2):
        with one.reserve() as slot:
            slot.ask(plainly(lambda _: time.sleep(0.05)), nothing)
    assert begin(one)
    assert not begin(one), "the streams have their turn"
    began = time.monotonic()
    while not begin(one):
        one.wait(1)
    assert 0.09 < time.monotonic() - began < 0.5, "a rest as long as the question, then the next one"


def test_no_more_questions_are_open_than_there_are_places() -> None:
    one = queue(2)
    first, second = one.reserve(), one.reserve()
    with pytest.raises(BusyError, match="2 questions are open") as caught:
        one.reserve()
    assert caught.value.retry_seconds >= 1
    with first:
        job = first.ask(plainly(lambda _: None), nothing)
    with pytest.raises(BusyError):
        one.reserve()
    begin(one)
    assert job.future.done()
    one.reserve()
    with second:
        """What it needed could not be read: nothing was asked, and the place is free again."""
    one.reserve()


def test_a_question_that_was_given_up_is_never_begun() -> None:
    one, done = queue(), []
    with one.reserve() as slot:
        job = slot.ask(plainly(lambda _: done.append("it ran")), nothing)
    job.give_up()
    assert one.open == 0
    assert not begin(one)
    assert done == []


def test_a_question_that_is_given_up_ends_with_its_next_token() -> None:
    one = queue()
    tokens: list[int] = []

    def work(follow: OnToken) -> None:
        while follow(tokens):
            tokens.append(1)
            if len(tokens) == 3:
                job.give_up()

    with one.reserve() as slot:
        job = slot.ask(plainly(work), nothing)
    begin(one)
    assert len(tokens) == 3


def test_what_fails_is_told_to_who_asked_and_the_next_goes_on() -> None:
    one = queue()

    def fails(_: OnToken) -> None:
        raise ValueError("no such thing")

    jobs = []
    for work in (fails, lambda _: "fine"):
        with one.reserve() as slot:
            jobs.append(slot.ask(plainly(work), nothing))
    begin(one)
    begin(one)
    assert isinstance(jobs[0].future.exception(), ValueError)
    assert jobs[1].future.result() == "fine"


def test_a_closed_desk_refuses_who_waits_and_who_comes() -> None:
    one = queue()
    with one.reserve() as slot:
        job = slot.ask(plainly(lambda _: None), nothing)
    late = one.reserve()
    one.close()
    for asking in (job.future.result, one.reserve, lambda: late.ask(plainly(lambda _: None), nothing)):
        with pytest.raises(BusyError, match="stopping") as caught:
            asking()
        assert caught.value.closing


# --- Words: what is passed on of an answer that grows ---


def words(stops: Sequence[str], texts: Sequence[str]) -> tuple[list[str], TextStream]:
    heard: list[str] = []
    one = TextStream(lambda ids: texts[len(ids) - 1], stops, heard.append)
    for number in range(len(texts)):
        if not one([0] * (number + 1)):
            break
    return heard, one


def test_words_are_passed_on_once_each() -> None:
    heard, one = words([], ["A", "A red", "A red", "A red car"])
    assert heard == ["A", " red", " car"]
    assert one.rest("A red car.") == "."


def test_half_a_character_waits_for_its_other_bytes() -> None:
    heard, _ = words([], ["caf\ufffd", "café"])
    assert heard == ["caf", "é"]


def test_a_stop_ends_the_answer_before_it_and_no_part_of_it_is_passed_on() -> None:
    heard, one = words(["END", "\n"], ["one", "one E", "one EN", "one END two", "never"])
    assert "".join(heard) == "one "
    assert one.stopped
    assert one.rest("one END two") == ""
    heard, one = words(["END"], ["one", "one E"])
    assert "".join(heard) + one.rest("one E") == "one E"
    assert not one.stopped


# --- Events ---


def test_a_slow_client_loses_the_oldest_and_the_sender_does_not_wait() -> None:
    async def read() -> tuple[int, list[str], list[str]]:
        broker = EventBroker()
        slow, quick = broker.subscribe(), broker.subscribe()
        got = []
        for number in range(300):
            await asyncio.to_thread(broker.publish, Event("look", str(number)))
            got += [event.data for event in await quick.take(1)]
        waiting = [event.data for event in await slow.take(1)]
        return slow.missed, waiting, got

    missed, waiting, got = asyncio.run(read())
    assert got == [str(number) for number in range(300)]
    assert waiting == got[-256:]
    assert missed == 300 - 256


def test_nobody_is_told_anything_who_does_not_listen_and_a_closed_office_tells_everybody() -> None:
    async def read() -> bool:
        broker = EventBroker()
        broker.publish(Event("look", "1"))
        subscription = broker.subscribe()
        broker.close()
        assert await subscription.take(1) == []
        return subscription.closed

    assert asyncio.run(read())


def test_a_client_that_goes_as_an_event_comes_leaves_nothing_behind() -> None:
    async def follow() -> int:
        app, hub = FastAPI(), Hub()
        app.include_router(page_routes(None, hub, cast("Any", None), ServerSettings()))

        async def receive() -> dict[str, str]:
            await asyncio.sleep(0.02)
            hub.events.publish(Event("look", "{}"))
            # In the same turn of the loop.
            hub.events._hand_out()
            return {"type": "http.disconnect"}

        async def send(_: object) -> None:
            pass

        scope = {"type": "http", "method": "GET", "path": "/api/events", "headers": [], "query_string": b""}
        await asyncio.wait_for(app(scope, receive, send), 5)
        return hub.events.clients

    assert asyncio.run(follow()) == 0


# --- The thread pool ---


def test_helpers_stand_back_and_are_no_more_than_allowed() -> None:
    pool, at_work, most = ThreadPool(2), threading.Semaphore(2), []

    def work() -> int:
        most.append(at_work.acquire(blocking=False))
        time.sleep(0.02)
        at_work.release()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(pool.run(work) for _ in range(6)))

    assert min(asyncio.run(all_of_them())) >= 10
    assert all(most)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(pool.run(lambda: 1 // 0))


# --- Media ---


def encoded(suffix: str, height: int = 40, width: int = 60) -> bytes:
    return cv2.imencode(suffix, np.full((height, width, 3), 90, np.uint8))[1].tobytes()


def drawn(kind: str, frames: int = 1) -> bytes:
    """A picture of Pillow's kind; its frames differ."""
    content = io.BytesIO()
    first, *others = [Image.new("RGB", (60, 40), (40 * number, 90, 90)) for number in range(frames)]
    first.save(content, kind, save_all=frames > 1, append_images=others)
    return content.getvalue()


def played(folder: Path, suffix: str) -> bytes:
    """A clip of noise in the container of that suffix."""
    path, generator = folder / f"clip{suffix}", np.random.default_rng(0)
    codec = {".wmv": "wmv2", ".flv": "flv1", ".ogv": "libvpx", ".webm": "libvpx", ".mpg": "mpeg1video"}.get(
        suffix, "mpeg4"
    )
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, 25, width=96, height=64, pix_fmt="yuv420p")
        assert isinstance(stream, av.VideoStream)
        for _ in range(12):
            noise = generator.integers(0, 256, (64, 96, 3), dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        out.mux(stream.encode())
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_pictures_are_known_by_their_first_bytes_and_their_size_before_they_are_decoded(kind: str) -> None:
    content = drawn(kind)
    assert media.kind_of(content, LIMITS) == "picture"
    assert media.picture(content, LIMITS).shape == (40, 60, 3)
    with pytest.raises(ApiError, match="this has 60 x 40") as caught:
        media.picture(content, Limits(pixels=2399))
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".ogv", ".ts", ".m2ts", ".mpg"]
)
def test_containers_are_known_by_their_first_bytes(suffix: str, tmp_path: Path) -> None:
    content = played(tmp_path, suffix)
    assert media.kind_of(content, LIMITS) == "clip"
    with pytest.raises(ApiError, match="send it as video_url"):
        media.picture(content, LIMITS)


def test_a_transport_stream_is_known_wherever_it_was_cut(tmp_path: Path) -> None:
    content = played(tmp_path, ".ts")
    for start in (0, 1, 100, 187, 188 * 3 + 50):
        assert media.kind_of(content[start:], LIMITS) == "clip"
    assert media.kind_of(content[: 188 * 4], LIMITS) == "clip"


def test_an_animated_gif_is_a_clip_unless_a_picture_is_asked_for(tmp_path: Path) -> None:
    still, moving = drawn("GIF"), drawn("GIF", frames=4)
    assert (media.kind_of(still, LIMITS), media.kind_of(moving, LIMITS)) == ("picture", "clip")
    assert media.picture(moving, LIMITS)[0, 0].tolist() == [90, 90, 0]
    uploads = Uploads(tmp_path, LIMITS)
    kept = [uploads.add(io.BytesIO(content), "one.gif") for content in (still, moving)]
    assert [(one.clip is not None, one.is_picture) for one in kept] == [(False, True), (True, True)]
    with uploads.opened(moving, "clip") as video:
        assert video.frames == 4


def test_an_avif_is_a_picture_though_its_container_is_that_of_mp4() -> None:
    with pytest.raises(ApiError, match="send it as image_url"):
        media.check_clip(drawn("AVIF"))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHBMiHEMiPrheic\0\0\0\0" + bytes(2000), "a HEIC picture"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf" + bytes(2000), "a HEIC picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(2000), "a JPEG XL picture"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"%PDF-1.7", "a PDF document"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"<!DOCTYPE html><p>Log in", "a web page"),
    ],
)
def test_what_is_not_read_is_named_with_what_is(content: bytes, name: str) -> None:
    for asked in (
        lambda: media.kind_of(content, LIMITS),
        lambda: media.picture(content, LIMITS),
        lambda: media.check_clip(content),
    ):
        with pytest.raises(ApiError, match=f"the content is {name}.*JPEG, PNG, WebP.*MP4, MOV") as caught:
            asked()
        assert caught.value.status == 400
        assert "video_url" not in caught.value.message


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
SESSION = b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"


def padded(text: bytes, packets: int = 20) -> bytes:
    """Text that is in step with a transport stream."""
    rows = [text[at : at + 187].ljust(187) for at in range(0, 187 * packets, 187)]
    return b"G".join([text[:40].ljust(40), *rows])


@pytest.mark.parametrize(
    "content",
    [
        PLAYLIST,
        padded(PLAYLIST),
        padded(SESSION),
        b"G" + padded(SESSION)[41:],
        b"AAAAftyp" + SESSION,
        b"FLV\1\n" + SESSION,
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<?xml version='1.0'?><MPD profiles='urn:mpeg:dash:profile:isoff-live:2011'/>",
        bytes(2000),
        b"",
    ],
)
def test_what_names_other_files_never_reaches_a_decoder(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="neither a picture"):
        media.kind_of(content, LIMITS)
    with pytest.raises(ApiError, match="neither a picture"):
        Uploads(tmp_path, LIMITS).add(io.BytesIO(content), "clip.mp4")
    assert not list(tmp_path.iterdir())


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    for content in (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        encoded(".png")[:60],
        b"\xff\xd8\xff\xe0\xff\xff",
        b"GIF89a",
    ):
        with pytest.raises(ApiError, match="picture is cut off or damaged") as caught:
            media.picture(content, LIMITS)
        assert caught.value.status == 400
        with pytest.raises(ApiError, match="picture is cut off or damaged"):
            Uploads(tmp_path, LIMITS).add(io.BytesIO(content), "picture")


def test_a_data_url_is_base64_and_no_larger_than_allowed() -> None:
    content = bytes(range(256))
    url = "data:video/mp4;base64," + base64.b64encode(content).decode()
    assert media.data_url(url, LIMITS, "x") == content
    for bad in ("data:video/mp4,abc", "data:base64,abc", "data:video/mp4;base64,a*c=", "data:video/mp4;base64,ab=c"):
        with pytest.raises(ApiError) as caught:
            media.data_url(bad, LIMITS, "x")
        assert (caught.value.status, caught.value.param) == (400, "x")
    with pytest.raises(ApiError) as caught:
        media.data_url(url, Limits(upload_bytes=200), "x")
    assert caught.value.status == 413


def test_uploads_have_names_of_ours_and_the_oldest_go(tmp_path: Path, clip: Path) -> None:
    uploads = Uploads(tmp_path, Limits(uploads=2))
    kept = [uploads.add(io.BytesIO(clip.read_bytes()), "../../etc/passwd\x1b[2J") for _ in range(3)]
    assert {path.name for path in tmp_path.iterdir()} == {one.id for one in kept[1:]}
    assert kept[0].name == "../../etc/passwd\\x1b[2J"
    with pytest.raises(ApiError, match="no such file"):
        uploads.get(kept[0].id)
    uploads.delete(kept[1].id)
    assert [one.id for one in uploads.all()] == [kept[2].id]


def test_an_upload_that_is_not_used_goes_by_itself(tmp_path: Path, clip: Path) -> None:
    uploads = Uploads(tmp_path, Limits(upload_seconds=0))
    uploads.add(io.BytesIO(clip.read_bytes()), "clip.mp4")
    assert uploads.all() == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(clip_frames=19), "holds more than the 19 frames"),
        (Limits(clip_seconds=1), "longer than the 1 s"),
        (Limits(pixels=6000), "96 x 64 pixels, and 6,000 are allowed"),
        (Limits(decoding_seconds=0), "takes more than 0 s to read"),
        (Limits(upload_bytes=1000), "may have 1,000 bytes"),
    ],
)
def test_a_clip_beyond_the_limits_is_refused_by_its_name(
    tmp_path: Path, clip: Path, limits: Limits, message: str
) -> None:
    with pytest.raises((SourceError, ApiError), match=message) as caught:
        Uploads(tmp_path, limits).add(io.BytesIO(clip.read_bytes()), "street.mp4")
    assert str(tmp_path) not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_addresses_on_this_machine_and_its_network_are_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_receiver() as receiver:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            with pytest.raises(ApiError, match="could not be reached"):
                remote.fetched(f"http://{host}:{receiver.port}/clip.mp4?token=secret", LIMITS, "x")
    assert receiver.requests == []
    for bad in ("http://user:pw@example.com/x", "http:///x", "http://[/x", "https://host:port/"):
        with pytest.raises(ApiError, match=r"http\(s\)://HOST/PATH"):
            remote.fetched(bad, LIMITS, "x")


# --- From a chat request to a question ---


def chat(content: object, **fields: object) -> ChatRequest:
    return ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": content}], **fields})


def test_the_system_message_stands_before_the_question() -> None:
    body = ChatRequest.model_validate(
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": [{"type": "text", "text": "What?"}, CLIP_PART]},
            ],
        }
    )
    question, notes = question_of(body, ModelChoice(keep=0.5), ServerSettings())
    assert question.text == "Be short.\nWhat?"
    assert question.wanted.keep == 0.5
    assert notes == []


IMAGE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("kwargs", "frames", "fps"),
    [
        ({"mm_processor_kwargs": {"num_frames": 8}}, 8, None),
        ({"media_io_kwargs": {"video": {"num_frames": 8}}}, 8, None),
        ({"mm_processor_kwargs": {"fps": 1}, "media_io_kwargs": {}}, None, 1.0),
        ({"mm_processor_kwargs": {"fps": None}, "media_io_kwargs": {"video": {}}}, None, None),
    ],
)
def test_what_vllms_clients_say_of_frames_is_followed(
    kwargs: dict[str, Any], frames: int | None, fps: float | None
) -> None:
    question, notes = question_of(chat([CLIP_PART], **kwargs), ModelChoice(), ServerSettings())
    assert (question.wanted.frames, question.clip.fps, notes) == (frames, fps, [])


@pytest.mark.parametrize(
    ("content", "kwargs", "param", "message"),
    [
        ([CLIP_PART], {"mm_processor_kwargs": {"max_pixels": 9}}, "mm_processor_kwargs.max_pixels", "is not known"),
        ([CLIP_PART], {"media_io_kwargs": {"image": {}}}, "media_io_kwargs.image", "is not known"),
        ([CLIP_PART], {"mm_processor_kwargs": {"num_frames": -1}}, "mm_processor_kwargs.num_frames", "from 1 to"),
        ([CLIP_PART], {"mm_processor_kwargs": {"num_frames": 10**5000}}, "mm_processor_kwargs.num_frames", "from 1 to"),
        ([CLIP_PART], {"mm_processor_kwargs": {"fps": 10**5000}}, "mm_processor_kwargs.fps", "from 0.001 to 1000"),
        ([CLIP_PART], {"mm_processor_kwargs": {"fps": 0}}, "mm_processor_kwargs.fps", "from 0.001 to 1000"),
        ([CLIP_PART], {"mm_processor_kwargs": {"fps": "2"}}, "mm_processor_kwargs.fps", "a number from"),
        ([CLIP_PART], {"mm_processor_kwargs": [8]}, "mm_processor_kwargs", "should be an object"),
        (
            [CLIP_PART],
            {"mm_processor_kwargs": {"fps": 1, "num_frames": 8}},
            "mm_processor_kwargs.num_frames",
            "not both",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(
    content: object, kwargs: dict[str, Any], param: str, message: str
) -> None:
    with pytest.raises(ApiError, match=message) as caught:
        question_of(chat(content, **kwargs), ModelChoice(), ServerSettings())
    assert caught.value.param == param
    with pytest.raises(ApiError, match=r"mm_processor_kwargs\.fps is for clips"):
        question_of(chat("?", mm_processor_kwargs={"fps": 2}), ModelChoice(stream="gate"), ServerSettings())


def test_several_pictures_are_the_frames_of_one_clip() -> None:
    question, _ = question_of(chat([IMAGE_PART] * 6), ModelChoice(), ServerSettings())
    assert isinstance(question.about, Frames)
    assert [one.kind for one in question.about.pictures] == ["picture"] * 6
    assert question.about.pictures[5].param == "messages[0].content[5].image_url.url"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"presence_penalty": 1.0}, "presence_penalty"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tools": [{}]}, "tools"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, "response_format"),
        *(
            (
                {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}},
                "response_format.json_schema.schema",
            )
            for schema in ("/etc/passwd", "", None, True, 5, [{"type": "object"}])
        ),
        ({"choices": []}, "choices"),
        ({"choices": ["yes", "yes"]}, "choices"),
        ({"choices": ["yes", "no"], "logprobs": True}, "choices"),
        ({"choices": ["yes", "no"], "response_format": {"type": "json_object"}}, "choices"),
    ],
)
def test_what_is_not_done_here_is_refused_with_the_reason(fields: dict[str, object], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        question_of(chat([{"type": "text", "text": "?"}, CLIP_PART], **fields), ModelChoice(), ServerSettings())
    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_request_says_what_the_answer_should_be_like() -> None:
    part = [{"type": "text", "text": "?"}, CLIP_PART]
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}
    fields: dict[str, Any] = {"temperature": 0.7, "top_p": 0.9, "seed": 3, "logprobs": True, "response_format": schema}
    question, notes = question_of(chat(part, **fields), ModelChoice(), ServerSettings())
    assert question.form == AnswerForm(Sampling(0.7, 0.9, 3), top_logprobs=0)
    assert question.schema == JsonSchema({"type": "object"}, "response_format.json_schema.schema")
    assert notes == []
    chosen, _ = question_of(chat(part, choices=["yes", "no"], temperature=0), ModelChoice(), ServerSettings())
    assert chosen.form == AnswerForm(choices=("yes", "no"))
    assert question_of(chat(part), ModelChoice(), ServerSettings())[0].form == AnswerForm()


def test_where_the_operator_wants_it_a_temperature_is_ignored_and_that_is_said() -> None:
    body = chat([{"type": "text", "text": "?"}, CLIP_PART], temperature=0.7, top_p=0.9, seed=3)
    question, notes = question_of(body, ModelChoice(), ServerSettings(sampling="ignore"))
    assert question.form == AnswerForm()
    assert notes == ["temperature was ignored: answers are greedy, always the likeliest token"]


def test_longer_answers_than_allowed_are_cut_and_that_is_said() -> None:
    body = chat([{"type": "text", "text": "?"}, CLIP_PART], max_tokens=10_000, stop="x")
    question, notes = question_of(body, ModelChoice(), ServerSettings())
    assert (question.max_tokens, question.stops) == (256, ["x"])
    assert notes == ["an answer may have 256 tokens here; 10000 were asked for"]


@pytest.mark.parametrize(
    ("content", "choice", "message"),
    [
        ("What?", ModelChoice(), "nothing to look at"),
        ([CLIP_PART, CLIP_PART], ModelChoice(), "may have one clip, or pictures"),
        ([CLIP_PART, IMAGE_PART], ModelChoice(), "may have one clip, or pictures"),
        ([CLIP_PART], ModelChoice(stream="gate"), "pictures of its own"),
    ],
)
def test_a_question_is_about_one_thing(content: object, choice: ModelChoice, message: str) -> None:
    with pytest.raises(ApiError, match=message):
        question_of(chat(content), choice, ServerSettings())


# --- The guard ---


def asked(
    settings: ServerSettings,
    token: str | None,
    headers: dict[str, str],
    method: str = "GET",
    path: str = "/api/state",
    client: str = "127.0.0.1",
) -> tuple[int, dict[str, str]]:
    """Status and headers of what the guard lets through to an application that is content with everything."""
    sent: list[Any] = []

    async def app(_: object, receive: Callable[[], Any], send: Callable[[object], Any]) -> None:
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"x" * 60_000, "more_body": next(bodies, False)}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    bodies = iter([True] * 5)
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "client": (client, 5)}
    requests = Counter("requests", "", ["route", "status"], registry=CollectorRegistry())
    guard = Guard(app, settings, token, requests, lambda _: None)  # type: ignore[arg-type]
    asyncio.run(guard(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


HOST = {"Host": "127.0.0.1:8080"}


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        (HOST, "GET", 200),
        ({"Host": "localhost"}, "GET", 200),
        ({"Host": "[::1]:8080"}, "GET", 200),
        ({"Host": "evil.example:8080"}, "GET", 403),
        ({"Host": "127.0.0.1.evil.example"}, "GET", 403),
        ({}, "GET", 403),
        ({**HOST, "Origin": "http://127.0.0.1:8080"}, "POST", 200),
        ({**HOST, "Origin": "http://evil.example"}, "POST", 403),
        ({**HOST, "Origin": "null"}, "POST", 403),
        ({**HOST, "Content-Length": "90000000"}, "POST", 413),
    ],
)
def test_on_loopback_pages_of_other_sites_are_kept_out(headers: dict[str, str], method: str, status: int) -> None:
    assert asked(ServerSettings(), None, headers, method)[0] == status


def test_a_body_without_a_length_is_counted_as_it_comes() -> None:
    small = ServerSettings(limits=Limits(body_bytes=100_000))
    assert asked(small, None, HOST, "POST")[0] == 413
    assert asked(small, None, HOST, "POST", "/v1/files")[0] == 200
    assert asked(ServerSettings(limits=Limits(upload_bytes=100_000)), None, HOST, "POST", "/v1/files")[0] == 413


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"Authorization": "Bearer a-token-of-sixteen"}, 200),
        ({"Authorization": "bearer a-token-of-sixteen"}, 200),
        ({"Authorization": "Bearer a-token-of-sixteex"}, 401),
        ({"Authorization": "Bearer \xe9"}, 401),
        ({"Authorization": "Basic a-token-of-sixteen"}, 401),
        ({}, 401),
    ],
)
def test_with_a_token_nothing_but_the_page_is_open(header: dict[str, str], status: int) -> None:
    headers = {"Host": "127.0.0.1:8080", "Origin": "https://cameras.example", **header}
    for path in ("/api/state", "/v1/models", "/metrics", "/api/events", "/nothing"):
        assert asked(ServerSettings(), "a-token-of-sixteen", headers, path=path)[0] == status
    for path in ("/", "/page.js", "/points.js", "/live.css", "/healthz", "/readyz"):
        assert asked(ServerSettings(), "a-token-of-sixteen", {"Host": "x"}, path=path)[0] == 200


def test_every_answer_tells_browsers_what_they_may_do_with_it() -> None:
    for token in (None, "a-token-of-sixteen"):
        _, headers = asked(ServerSettings(), token, HOST)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_too_many_open_requests_are_told_when_to_come_back() -> None:
    status, headers = asked(ServerSettings(limits=Limits.model_construct(open_requests=0)), None, HOST)
    assert (status, headers["retry-after"]) == (503, "1")


# --- Settings ---


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::", "cameras.example"])
def test_other_machines_get_in_with_a_token_or_on_purpose(address: str, tmp_path: Path) -> None:
    listen = f"[{address}]:80" if ":" in address else f"{address}:80"
    with pytest.raises(UserError, match="--token-file"):
        required_token(ServerSettings.model_validate({"listen": listen}))
    assert required_token(ServerSettings.model_validate({"listen": listen, "insecure": True})) is None
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n")
    assert (
        required_token(ServerSettings.model_validate({"listen": listen, "token": {"file": path}})) == "0123456789abcdef"
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost"])
def test_this_machine_needs_no_token(address: str) -> None:
    assert required_token(ServerSettings.model_validate({"listen": f"{address}:0"})) is None


@pytest.mark.parametrize("token", ["short", "sixteen letters!", "ein-schönes-Geheimnis"])
def test_a_weak_token_is_refused_without_being_repeated(token: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(token)
    with pytest.raises(UserError) as caught:
        required_token(ServerSettings.model_validate({"token": {"file": path}}))
    assert token not in str(caught.value)


def test_one_file_serves_both_commands_and_options_stand_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(
        "bundle: b\nstreams: [{name: gate, source: a.mp4}]\nserve: {access_log: true, limits: {clip_seconds: 1m}}\n"
    )
    config = load_config(path, ServeConfig, {"serve": {"listen": "127.0.0.1:9"}})
    assert (config.serve.access_log, config.serve.listen.port, config.serve.limits.clip_seconds) == (True, 9, 60)
    assert config.asking(config.streams[0]).sinks == ()
    with pytest.raises(UserError, match="bundle: given on the command line and in"):
        load_config(path, ServeConfig, {"bundle": Path("c")})


# --- Pictures ---


def test_dropped_patches_lose_their_colour_and_scores_are_colours() -> None:
    image = np.full((90, 120, 3), (60, 200, 200), np.uint8)
    kept, scores = np.array([True, False, False, True]), np.array([0.1, 0.2, 0.3, 0.9], np.float32)
    pictures: dict[str, Any] = {
        view: cv2.imdecode(np.frombuffer(live_jpeg(image, kept, scores, view, "small"), np.uint8), cv2.IMREAD_COLOR)
        for view in ("kept", "scores", "plain")
    }
    assert np.ptp(pictures["kept"][20, 30].astype(int)) > 120, "kept"
    assert np.ptp(pictures["kept"][20, 90].astype(int)) < 10, "dropped: grey"
    assert 130 < pictures["kept"][20, 90].mean() < 200, "and no darker than it was by much"
    assert pictures["kept"][20, 60].mean() > pictures["kept"][20, 90].mean() + 20, "with a light line around it"
    assert np.ptp(pictures["plain"][20, 90].astype(int)) > 120
    blue, _, red = pictures["scores"][70, 90].astype(int)
    assert red > blue + 50, "the highest score is yellow"
