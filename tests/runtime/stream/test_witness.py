"""Alarms with a picture and a clip: real recordings and the real pipeline, and an engine that says how bright it is."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from stts_runtime import clock
from stts_runtime.answering import FREE, AnswerForm, AnswerPool, Calls, OnToken, Reply, go_on
from stts_runtime.answering.choices import ScoredChoices
from stts_runtime.answering.generation import Generation
from stts_runtime.engines import IncrementalOutput, LanguageSlots
from stts_runtime.errors import SourceError
from stts_runtime.records import AlertClip, Record, StreamAnswer
from stts_runtime.sources.clips import Clips, Cut, Moment
from stts_runtime.sources.open import open_clips, open_source
from stts_runtime.sources.source import Frame
from stts_runtime.stream.alert_files import AlertFiles
from stts_runtime.stream.alert_store import AlertStore
from stts_runtime.stream.alerts import AlertRule
from stts_runtime.stream.channel import Channel, Look
from stts_runtime.stream.clip_writer import ClipWriter
from stts_runtime.stream.masks import Mask, masked
from stts_runtime.stream.orders import Gate, Orders
from stts_runtime.stream.pipeline import Events, Pipeline
from stts_runtime.stream.watcher import Ring, SeenFrame, StreamWindow
from stts_runtime.stream.witness import Archive, Witness
from tests.support.clips import level
from tests.support.recordings import write_recording
from tests.support.waiting import until


class Brightness:
    """In place of a watcher and its engines: yes is as likely as the newest frame is bright. It keeps the left half."""

    scorer = None

    def __init__(self) -> None:
        self.ring, self.engines, self.vision = Ring(frames=1, rows=100), self, self
        conversation: Any = self
        self.answers = AnswerPool([conversation], LanguageSlots([None]))
        self._share = 0.0

    def check_questions(self, questions: Sequence[str], form: AnswerForm = FREE, max_tokens: int = 64) -> None:
        """All can be asked."""

    def input_of(self, frame: Frame) -> Frame:
        return frame

    def run_many(self, frames: Sequence[Frame]) -> list[IncrementalOutput]:
        nothing, kept = np.zeros(4, np.float32), np.array([True, False, True, False])
        return [
            IncrementalOutput(np.zeros((2, 8)), kept, nothing, nothing, np.zeros((4, 2), np.float32)) for _ in frames
        ]

    def seen(self, frame: Frame, given: Frame, output: IncrementalOutput, milliseconds: float) -> SeenFrame:
        self._share = float(given.image.mean()) / 255
        seen = SeenFrame(output, frame.seconds, frame.captured, True, 0.0, milliseconds)
        self.ring.push(seen)
        return seen

    def window(self) -> StreamWindow:
        return StreamWindow(self.ring.frames)

    def watch(self, *_: object) -> None:
        """Nothing to prefill."""

    def asking(
        self, prefix: None, question: str, max_tokens: int, on_token: OnToken = go_on, form: AnswerForm = FREE
    ) -> Calls[Reply]:
        scored = ScoredChoices(("yes", "no"), (math.log(self._share + 1e-9), math.log(1 - self._share)), 1)
        spent = {"prefill_video": 0.0, "prefill_question": 0.0, "decode": 0.0}
        generation = Generation([1], True, spent, clock.now(), clock.now())
        return Reply(question, scored.choices[scored.likeliest], generation, 1, 0, spent, False, scored)
        yield  # It asks nothing of an engine.


def read(path: str) -> NDArray[np.uint8]:
    picture = cv2.imread(path)
    assert picture is not None
    return picture.astype(np.uint8)


class Heard:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.pictures_there: list[bool] = []

    def saw(self, channel: Channel, look: Look) -> None:
        """Records are what this is about."""

    def said(self, record: Record) -> None:
        self.records.append(record)
        if isinstance(record, StreamAnswer) and record.alert is not None and record.alert.snapshot is not None:
            self.pictures_there.append(Path(record.alert.snapshot.path).is_file())

    @property
    def raised(self) -> list[StreamAnswer]:
        answers = [one for one in self.records if isinstance(one, StreamAnswer)]
        return [one for one in answers if one.alert is not None and one.alert.change == "raised"]

    @property
    def clips(self) -> list[AlertClip]:
        return [one for one in self.records if isinstance(one, AlertClip)]


def watched(
    folder: Path,
    source: str,
    rule: str,
    questions: Sequence[str] = ("Is it bright?",),
    masks: Sequence[Mask] = (),
    told: list[str] | None = None,
) -> Heard:
    """What is said of a recording until its end; an alarm rises with the brightness."""
    heard, events = Heard(), Events()
    orders = Orders(questions, Gate(), 8, 2.0, alert=AlertRule.model_validate(rule))
    clips = None if masks else open_clips(source, 30, 10**8)
    store = AlertStore(AlertFiles(folder=folder), ([] if told is None else told).append)
    with closing(store), closing(ClipWriter(events.clip, store.prune)) as writer:
        assert orders.alert is not None
        archive = Archive(store, writer, events.clip, lambda place: f"/api/alerts/{place}")
        witness = Witness("gate", orders.alert, archive, clips)
        watcher: Any = Brightness()
        channel = Channel("gate", masked(open_source(source), masks), watcher, orders, witness=witness)
        Pipeline([channel], events, [heard]).run(threading.Event())
    return heard


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 s at 10 frames a second, H.264 with a key frame every 1.2 s; frame N has the brightness of `level(N)`."""
    return write_recording(tmp_path_factory.mktemp("film") / "a.mp4", "h264", frames=60)


def test_an_alarm_comes_with_its_picture_and_then_with_its_clip(tmp_path: Path, film: Path) -> None:
    heard = watched(tmp_path, str(film), "yes>0.8, once_per=1h, snapshot=plain, clip=1s")
    (raised,), (clip,) = heard.raised, heard.clips
    assert heard.pictures_there == [True]
    places = [place for place, one in enumerate(heard.records) if one is raised or one is clip]
    assert heard.records[places[0]] is raised
    seconds = raised.times_seconds[-1]
    assert raised.alert is not None
    assert raised.alert.snapshot is not None
    picture = read(raised.alert.snapshot.path)
    assert picture.shape == (64, 96, 3)
    assert abs(picture.mean() - level(round(seconds * 10))) < 3
    assert raised.alert.snapshot.bytes == Path(raised.alert.snapshot.path).stat().st_size
    assert raised.alert.snapshot.url == f"/api/alerts/gate/{Path(raised.alert.snapshot.path).name}"

    assert (clip.stream, clip.question, clip.number) == ("gate", raised.question, raised.alert.number)
    assert clip.clip is not None
    assert Path(clip.clip.path) == Path(raised.alert.snapshot.path).with_suffix(".mp4")
    with av.open(clip.clip.path) as file:
        levels = [float(frame.to_ndarray(format="rgb24").mean()) for frame in file.decode(video=0)]
    first = round((seconds - clip.before) * 10)
    assert 1.0 <= clip.before < 2.3
    assert 1.0 <= clip.after < 1.5
    whole = round((clip.before + 1.0) * 10) + 1
    assert levels[:whole] == pytest.approx([level(first + number) for number in range(whole)], abs=4)
    # Pictures that are shown later, to which those refer.
    assert len(levels) <= whole + 2


def test_what_was_dropped_is_dark_if_that_is_wanted(tmp_path: Path, film: Path) -> None:
    (raised,) = watched(tmp_path, str(film), "yes>0.8, once_per=1h, snapshot=kept").raised
    assert raised.alert is not None
    assert raised.alert.snapshot is not None
    left, right = np.split(read(raised.alert.snapshot.path), 2, axis=1)
    assert right.mean() < left.mean() / 3


def test_questions_about_one_frame_share_its_picture_and_its_clip(tmp_path: Path, film: Path) -> None:
    heard = watched(tmp_path, str(film), "yes>0.8, once_per=1h, snapshot=plain, clip=1s", ["Is it?", "Is it really?"])
    assert (
        [one.question for one in heard.raised] == ["Is it?", "Is it really?"] == [one.question for one in heard.clips]
    )
    assert len({one.alert.snapshot.path for one in heard.raised if one.alert and one.alert.snapshot}) == 1
    assert len({one.clip.path for one in heard.clips if one.clip}) == 1
    assert sorted(path.suffix for path in (tmp_path / "gate").iterdir()) == [".jpg", ".mp4"]


def test_alarms_go_on_where_nothing_can_be_written(tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    told: list[str] = []
    heard = watched(tmp_path, str(film), "yes>0.5, snapshot=plain, clip=1s, send=all", told=told)
    assert len(heard.raised) > 1
    assert all(one.alert is not None and one.alert.snapshot is None for one in heard.raised)
    assert all("cannot be written: the disk is full" in one.notes[0] for one in heard.raised)
    assert all(one.clip is None and "the disk is full" in str(one.reason) for one in heard.clips)
    assert len(told) == 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".written.jsonl"]


def test_what_is_masked_is_neither_seen_nor_stored(tmp_path: Path, film: Path) -> None:
    mask = Mask(rectangle=(0, 0, 0.5, 1))
    # Half of the picture is dark now: it never gets so bright.
    assert watched(tmp_path / "a", str(film), "yes>0.8, snapshot=plain", masks=[mask]).raised == []
    raised = watched(tmp_path / "b", str(film), "yes>0.4, once_per=1h, snapshot=plain, clip=1s", masks=[mask]).raised
    assert raised[0].alert is not None
    assert raised[0].alert.snapshot is not None
    picture = read(raised[0].alert.snapshot.path)
    assert picture[:, :44].max() < 12
    assert picture[:, 56:].mean() > 180
    assert [path.suffix for path in (tmp_path / "b" / "gate").iterdir()] == [".jpg"]


def test_records_leave_out_what_there_is_not(tmp_path: Path, film: Path) -> None:
    heard = watched(tmp_path, str(film), "yes>0.8, once_per=1h")
    fields = json.loads(heard.raised[0].model_dump_json())
    assert "snapshot" not in fields["alert"]
    assert heard.clips == []


class Waiting:
    """Clips of a live source, which are due after their seconds."""

    def __init__(self, after: Callable[[float], float]) -> None:
        self.asked: list[tuple[float, float, float]] = []
        self._after = after

    def due(self, moment: Moment, after: float) -> float:
        return moment.captured + self._after(after)

    def cut(self, moment: Moment, before: float, after: float) -> Cut:
        self.asked.append((clock.now() - moment.captured, before, after))
        raise SourceError("nothing of that moment is left")


def frame() -> tuple[Frame, SeenFrame]:
    seen: Any = None
    return Frame(np.zeros((4, 4, 3), np.uint8), 1.0, clock.now()), seen


@contextmanager
def archive(folder: Path, told: list[AlertClip]) -> Iterator[Archive]:
    store = AlertStore(AlertFiles(folder=folder), lambda _: None)
    with closing(store), closing(ClipWriter(told.append, store.prune)) as writer:
        yield Archive(store, writer, told.append, lambda _: None)


def alarm(witness: Witness, number: int = 1) -> None:
    witness.saw(*frame())
    assert witness.raised("Who?", number) is None
    witness.answered()


def witness_of(stream: str, clips: Clips, place: Archive) -> Witness:
    return Witness(stream, AlertRule.model_validate("yes>0.5, clip=0.2s"), place, clips)


def test_the_clip_of_a_live_source_waits_for_the_seconds_after(tmp_path: Path) -> None:
    told: list[AlertClip] = []
    clips = Waiting(lambda after: after)
    with archive(tmp_path, told) as place:
        alarm(witness_of("gate", clips, place), 3)
        assert told == []
        until(lambda: told)
    assert 0.2 <= clips.asked[0][0] < 2
    assert clips.asked[0][1:] == (0.2, 0.2)
    assert (told[0].clip, told[0].number, told[0].reason) == (None, 3, "nothing of that moment is left")


def test_a_stream_that_ends_gives_its_clips_at_once_and_others_keep_theirs(tmp_path: Path) -> None:
    told: list[AlertClip] = []
    clips = Waiting(lambda _: 3600.0)
    with archive(tmp_path, told) as place:
        witness, other = witness_of("gate", clips, place), witness_of("yard", clips, place)
        alarm(witness)
        alarm(other)
        witness.finish()
        assert [one.stream for one in told] == ["gate"]
    assert [one.stream for one in told] == ["gate", "yard"]


def test_an_alarm_that_flickers_does_not_fill_the_disk(tmp_path: Path) -> None:
    told: list[AlertClip] = []
    with archive(tmp_path, told) as place:
        witness = witness_of("gate", Waiting(lambda _: 3600.0), place)
        for number in range(30):
            alarm(witness, number)
    assert [one.number for one in told] == [*range(8, 30), *range(8)]
    assert {one.reason for one in told[:22]} == {"8 clips of this stream are under way"}
