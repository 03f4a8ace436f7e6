"""The live page over a hub whose cameras are made up: as many as wanted, in any state, without engines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
from fastapi import FastAPI, Response
from numpy.typing import NDArray

from stts_runtime import clock
from stts_runtime.engines import IncrementalOutput
from stts_runtime.record_parts import AlertFile, AlertRecord, ChoiceRecord
from stts_runtime.records import AgeRecord, AlertClip, StageRecord, StreamAnswer, StreamEvent, TokenRecord, now
from stts_runtime.serve.api_errors import handle_errors
from stts_runtime.serve.events import Event
from stts_runtime.serve.guard import Guard
from stts_runtime.serve.hub import Hub
from stts_runtime.serve.page_routes import StateRecord, VariantRecord, page_routes
from stts_runtime.serve.pictures import jpeg
from stts_runtime.serve.server import HttpServer, bound
from stts_runtime.serve.settings import Limits, ServerSettings
from stts_runtime.sources.source import Frame, State, Status
from stts_runtime.stream.channel import Look
from stts_runtime.stream.config_fields import Listen
from stts_runtime.stream.watcher import SeenFrame

Image = NDArray[np.uint8]

PERSON, MOVES = "Is a person there?", "What moves?"
RULE = "yes>0.8"
CLIP_SIZE = (64, 48)
_GROUPS = 36
_FRAMES = 8


def grey_picture(width: int = 160, height: int = 90) -> Callable[[float], Image]:
    """A square that walks over grey."""

    def picture(seconds: float) -> Image:
        image = np.full((height, width, 3), 120, np.uint8)
        left = round(seconds * 20) % (width - 20)
        image[height // 3 : height // 3 + 20, left : left + 20] = (40, 160, 220)
        return image

    return picture


@dataclass
class Camera:
    """Without a picture it never came."""

    name: str
    state: State = State.LIVE
    reason: str = "pictures come"
    picture: Callable[[float], Image] | None = field(default_factory=grey_picture)
    group: str | None = None
    questions: Sequence[str] = (PERSON, MOVES)
    answers: Sequence[str] = ("no", "a car")
    """One a question; fewer: the others were never answered."""
    probability: float = 0.04
    """Of yes, to the first question."""
    source: str = "rtsp://***@10.0.0.7/stream1"
    since_seconds: float = 60.0
    looked_seconds_ago: float = 0.0
    """Of the newest picture."""

    @property
    def alarmed(self) -> bool:
        return self.probability > 0.8


class Site:
    """A hub, and what happens at its cameras."""

    def __init__(self, cameras: Sequence[Camera], seed: int = 28) -> None:
        self.hub, self.cameras = Hub(), {camera.name: camera for camera in cameras}
        self.clip = _clip()
        """Of every alarm."""
        self._random = np.random.default_rng(seed)
        self._numbers = dict.fromkeys(self.cameras, 0)
        self._novelty = dict.fromkeys(self.cameras, 0.2)
        self._sources = {name: _source(camera) for name, camera in self.cameras.items()}
        for name, camera in self.cameras.items():
            source, asked = self._sources[name], camera.questions
            channel: Any = SimpleNamespace(name=name, source=source, questions=asked, asks_above=0.3)
            self.hub.watch(channel, camera.group)

    def history(self, looks: int = 60) -> None:
        """What was there before the page is opened."""
        for name, camera in self.cameras.items():
            if camera.picture is None:
                continue
            for number in range(looks):
                self.look(name, number / 2, looks - number)
            for _ in range(3):
                self.answer(name)
            view = self.hub.streams[name]
            assert view._newest is not None
            view._newest = replace(view._newest, looked=clock.now() - camera.looked_seconds_ago)

    def look(self, name: str, seconds: float, looks_ago: int = 0) -> None:
        camera, output = self.cameras[name], self._output(key=looks_ago % 8 == 3)
        assert camera.picture is not None
        drift = float(self._random.normal(0, 0.08))
        self._novelty[name] = float(np.clip(0.9 * self._novelty[name] + 0.02 + drift, 0.01, 0.95))
        captured = clock.now() - float(self._random.uniform(0.03, 0.14))
        seen = SeenFrame(output, seconds, captured, bool(output.kept.all()), self._novelty[name], 18.0)
        channel = self.hub.streams[name].channel
        picture = camera.picture(seconds) if looks_ago < 2 else np.zeros((2, 2, 3), np.uint8)
        self.hub.saw(channel, Look(Frame(picture, seconds, captured), seen))

    def answer(self, name: str) -> None:
        """To each question of a camera, or to as many as it has answers for."""
        camera = self.cameras[name]
        for question, words in zip(camera.questions, camera.answers, strict=False):
            self._numbers[name] += 1
            self.hub.said(self.said(name, question, words, self._numbers[name]))

    def said(self, name: str, question: str, words: str, number: int) -> StreamAnswer:
        camera = self.cameras[name]
        yes = camera.probability
        by_rule = question == PERSON
        shares = {"yes": yes, "no": 1 - yes}
        return StreamAnswer(
            stream=name,
            number=number,
            created=now(),
            question=question,
            answer=words,
            finish="end",
            choices=ChoiceRecord(probabilities=shares, logprobs=shares, covered=1.0, calls=1) if by_rule else None,
            alert=_alert(camera) if by_rule else None,
            trigger="novelty 0.41 > 0.3" if number else "asked",
            novelty=0.41,
            times_seconds=[second / 2 for second in range(_FRAMES)],
            key_frames=[True] + [False] * (_FRAMES - 1),
            kept_per_frame=[_GROUPS] + [_GROUPS // 2] * (_FRAMES - 1),
            tokens=TokenRecord(visual_in=288, visual_kept=162, prompt=180, generated=2),
            milliseconds=StageRecord(vision=18.8, prefill_video=27.6, prefill_question=2.4, decode=1.2),
            age_ms=AgeRecord(at_first_token=210.0, at_last_token=240.0),
            dropped={},
        )

    def become(self, name: str, state: State, reason: str) -> None:
        self._sources[name].status = Status(state, reason, clock.now())
        event = StreamEvent(stream=name, created=now(), state=state.value, reason=reason)
        self.hub.events.publish(Event("state", event.model_dump_json()))

    def play(self, stop: threading.Event, answer_every: int = 5) -> None:
        """Two looks a second of every camera that is live, until `stop`."""
        tick = 60
        while not stop.wait(0.5):
            tick += 1
            for name, camera in self.cameras.items():
                if self._sources[name].status.state is not State.LIVE or camera.picture is None:
                    continue
                self.look(name, tick / 2)
                if (tick + len(name)) % answer_every == 0:
                    self.answer(name)

    def alarm(self, name: str, number: int) -> None:
        """An alarm is raised, with a picture and then a clip, as those of `/api/alerts` are named."""
        self._numbers[name] += 1
        alert = AlertRecord(
            rule=RULE, on=True, change="raised", number=number, probability=0.93, snapshot=_file(f"{name}/{number}.jpg")
        )
        answer = self.said(name, PERSON, "yes", self._numbers[name])
        self.hub.said(answer.model_copy(update={"alert": alert}))
        clip = _file(f"{name}/{number}.mp4")
        self.hub.said(
            AlertClip(stream=name, created=now(), question=PERSON, number=number, clip=clip, before=5.0, after=5.0)
        )

    def _output(self, *, key: bool) -> IncrementalOutput:
        scores = _smooth(self._random.random(_GROUPS).astype(np.float32))
        kept = np.ones(_GROUPS, bool) if key else scores >= np.sort(scores)[_GROUPS // 2]
        nothing = np.zeros((1, 1), np.float32)
        return IncrementalOutput(nothing, kept, scores, scores, nothing)

    def state(self) -> StateRecord:
        return StateRecord(
            bundle="site",
            model="site",
            default_keep=0.5,
            frames_per_second=2.0,
            looks_at_pictures=True,
            picture_formats="JPEG, PNG",
            clip_formats="MP4, MOV",
            random_weights=False,
            scorer=None,
            variants=[VariantRecord(name="clip", frames=16, keep=0.5, visual_tokens=576, kept=288)],
            limits=Limits(),
            searches=False,
            streams=[view.record() for view in self.hub.streams.values()],
        )


class _Answers:
    """Answers every question about a stream alike."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def answer(self, question: Any, _: Any) -> tuple[StreamAnswer, None]:
        return self._site.said(question.about.name, question.text, f"a car ({len(question.text)})", 0), None


@contextmanager
def shown(cameras: Sequence[Camera], *, playing: bool = True) -> Iterator[tuple[str, Site]]:
    """The address of the page, and what stands behind it."""
    site, stop, app = Site(cameras), threading.Event(), FastAPI()
    site.history()
    handle_errors(app, print)
    answers: Any = _Answers(site)
    settings = ServerSettings()
    app.include_router(page_routes(site.state, site.hub, answers, settings))

    @app.get("/api/alerts/{stream}/{name}")
    def alert_file(stream: str, name: str) -> Response:
        if name.endswith(".mp4"):
            return Response(site.clip, media_type="video/mp4")
        picture = cameras[0].picture
        assert picture is not None
        return Response(jpeg(picture(float(len(stream + name)))), media_type="image/jpeg")

    place = bound(Listen.model_construct(address="127.0.0.1", port=0))
    counter: Any = SimpleNamespace(labels=lambda *_: SimpleNamespace(inc=lambda: None))
    guarded = Guard(app, settings, None, counter, print)
    player = threading.Thread(target=site.play, args=(stop,), daemon=True)
    with HttpServer(guarded, place, stop.set, None):
        if playing:
            player.start()
        yield f"http://127.0.0.1:{place.getsockname()[1]}", site
        stop.set()
        site.hub.events.close()


def _source(camera: Camera) -> Any:
    status = Status(camera.state, camera.reason, clock.now() - camera.since_seconds)
    return SimpleNamespace(name=camera.source, live=True, status=status, reconnections=0)


def _file(place: str) -> AlertFile:
    return AlertFile(path=f"/var/lib/stts/{place}", bytes=1, url=f"/api/alerts/{place}")


def _clip() -> bytes:
    """Of a codec that every browser plays."""
    content = BytesIO()
    with av.open(content, "w", format="mp4") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width, stream.height = CLIP_SIZE
        for seconds in (0.0, 0.1, 0.2):
            frame = av.VideoFrame.from_ndarray(grey_picture(*CLIP_SIZE)(seconds), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return content.getvalue()


def _alert(camera: Camera) -> AlertRecord:
    on = camera.alarmed
    return AlertRecord(rule=RULE, on=on, change=None, number=int(on), probability=camera.probability)


def _smooth(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Groups that are kept lie together, as those of a scorer do."""
    square = scores.reshape(6, 6)
    around = square + np.roll(square, 1, 0) + np.roll(square, 1, 1)
    return np.ascontiguousarray(around.reshape(-1)).astype(np.float32)
