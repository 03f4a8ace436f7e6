"""Live windows on fake sources: what is looked at, what is asked and when, who comes first, what is said of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stts_runtime import clock
from stts_runtime.answering import AnswerPool
from stts_runtime.bundle import Bundle
from stts_runtime.engines import IncrementalOutput, load_incremental, load_language
from stts_runtime.errors import BundleError, PromptError, UserError
from stts_runtime.records import Record, StreamAnswer, StreamEvent
from stts_runtime.sources.source import Frame, State, Status
from stts_runtime.stream.channel import Channel, Look
from stts_runtime.stream.orders import Gate, Orders
from stts_runtime.stream.pipeline import Events, Pipeline
from stts_runtime.stream.watcher import Engines, KeyRule, Ring, SeenFrame, StreamWindow, Watcher, novelty
from tests.support.installed import HAS_ONNXRUNTIME
from tests.support.stand_ins import IncrementalStandIn, LanguageStandIn

GROUPS = 4
RULE = KeyRule(every=3, at_least=2, jump=0.9)
ALWAYS = Gate()


class FakeSource:
    """Hands on the pictures it was made with; the number of a picture is its brightness."""

    name = "fake"
    reconnections = 0

    def __init__(self, seconds: Iterable[float], live: bool = False, age: float = 0.0, same: bool = False) -> None:
        self.live, self._age, self._same = live, age, same
        self._left = list(enumerate(seconds))
        self.status = Status(State.LIVE, "", 0.0)
        self.drops: dict[str, int] = {"late": 1000}
        self.asked_to_close = self.closed = False

    def take(self, timeout_seconds: float) -> Frame | None:
        if not self._left:
            self.status = Status(State.ENDED, "the end", 0.0)
            return None
        number, seconds = self._left.pop(0)
        image = np.random.default_rng(0 if self._same else number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        return Frame(image, seconds, clock.now() - self._age)

    def ask_to_close(self) -> None:
        self.asked_to_close = True

    def close(self) -> None:
        self.closed = True


class Heard:
    def __init__(self) -> None:
        self.frames: list[tuple[str, SeenFrame]] = []
        self.records: list[Record] = []

    def saw(self, channel: Channel, look: Look) -> None:
        self.frames.append((channel.name, look.seen))

    def said(self, record: Record) -> None:
        self.records.append(record)

    @property
    def answers(self) -> list[StreamAnswer]:
        return [record for record in self.records if isinstance(record, StreamAnswer)]


@pytest.fixture(scope="module")
def engines(micro_bundle: Bundle) -> Engines:
    if HAS_ONNXRUNTIME:
        return Engines.of(micro_bundle, load_incremental(micro_bundle, 0.5), load_language(micro_bundle))
    language: Any = LanguageStandIn(micro_bundle.manifest.language.context)
    return Engines.of(micro_bundle, IncrementalStandIn(), language)


def channel(
    engines: Engines,
    source: FakeSource,
    gate: Gate = ALWAYS,
    name: str = "gate",
    frames: int = 3,
    deadline: float = math.inf,
) -> Channel:
    orders = Orders(["What happens?"], gate, max_tokens=2, frames_per_second=2.0, deadline=deadline)
    return Channel(name, source, Watcher(engines, frames, RULE), orders)


def run(*channels: Channel) -> Heard:
    heard = Heard()
    Pipeline(channels, Events(), [heard]).run(threading.Event())
    assert all(one.source.closed for one in channels)  # type: ignore[attr-defined]
    return heard


def seen(kept: int, key: bool = False) -> SeenFrame:
    mask = np.arange(GROUPS) < kept
    nothing = np.zeros(GROUPS, dtype=np.float32)
    output = IncrementalOutput(np.zeros((kept, 8)), mask, nothing, nothing, np.zeros((GROUPS, 2), dtype=np.float32))
    return SeenFrame(output, 0.0, 0.0, key, 0.0, 0.0)


def test_novelty_looks_at_the_ninth_that_changed_most() -> None:
    change = np.zeros(36, dtype=np.float32)
    change[:4] = 0.8
    assert novelty(change) == pytest.approx(0.8)
    change[:3] = 0
    assert novelty(change) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("newest", "pause", "expected"),
    [
        (0.9, 1.9, None),
        (0.9, 2.0, "novelty 0.90 > 0.3"),
        (0.3, 5.0, None),
        (0.0, 10.0, "nothing new for 10.0 s"),
    ],
)
def test_the_gate_opens_for_novelty_between_its_two_pauses(newest: float, pause: float, expected: str | None) -> None:
    assert Gate(0.3, 2, 10).reason(newest, pause) == expected


def test_pauses_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(UserError, match="at most the longest"):
        Gate(0.3, 10, 2)


def test_key_frames_come_regularly_and_behind_a_jump_and_never_too_near() -> None:
    rule = KeyRule(every=8, at_least=4, jump=0.5)
    assert rule.is_key(None, 0.0)
    assert [count for count in range(1, 9) if rule.is_key(count, 0.0)] == [8]
    assert [count for count in range(1, 9) if rule.is_key(count, 0.6)] == [4, 5, 6, 7, 8]


def test_the_ring_never_holds_more_rows_than_the_language_model_takes() -> None:
    ring, generator = Ring(frames=6, rows=16), np.random.default_rng(0)
    for _ in range(200):
        ring.push(seen(int(generator.integers(1, GROUPS + 1))))
        kept = StreamWindow(ring.frames).kept.sum()
        assert sum(len(one.output.visual_tokens) for one in ring.frames) == kept <= 16
        assert len(ring.frames) <= 6
    for _ in range(6):
        ring.push(seen(1))
    assert ring.is_full


def test_a_file_is_looked_at_twice_a_second_and_loses_nothing(engines: Engines) -> None:
    source = FakeSource(np.arange(50) / 10)
    heard = run(channel(engines, source, Gate(shortest_pause=1.0)))
    assert [frame.seconds for _, frame in heard.frames] == pytest.approx(np.arange(10) / 2)
    assert [frame.is_key for _, frame in heard.frames] == [number % 3 == 0 for number in range(10)]
    assert [answer.times_seconds[-1] for answer in heard.answers] == [1.0, 2.0, 3.0, 4.0]
    assert [answer.number for answer in heard.answers] == [1, 2, 3, 4]
    assert all(answer.dropped == {} for answer in heard.answers)
    assert heard.answers[0].tokens.visual_kept == sum(heard.answers[0].kept_per_frame) == GROUPS + 2 * (GROUPS // 2)


def test_a_live_source_says_which_looks_were_missed(engines: Engines) -> None:
    """Its own count of fresher frames is no loss: it shows more than are due."""
    source = FakeSource([0.0, 0.52, 1.0, 4.1, 4.5], live=True)
    source.drops["corrupt"] = 3
    heard = run(channel(engines, source))
    assert [answer.times_seconds for answer in heard.answers] == [[0, 0.52, 1.0], [0.52, 1.0, 4.1], [1.0, 4.1, 4.5]]
    assert [answer.dropped for answer in heard.answers] == [{"corrupt": 3}, {"late": 5}, {}]


def test_nothing_is_asked_about_a_picture_that_stays(engines: Engines) -> None:
    source = FakeSource(np.arange(40) / 2, same=True)
    one = channel(engines, source, Gate(above=0.3, longest_pause=6.0))
    heard = run(one)
    assert [answer.trigger for answer in heard.answers] == [
        "the first window", "nothing new for 6.0 s", "nothing new for 6.0 s", "nothing new for 6.0 s"
    ]  # fmt: skip
    assert one.skipped == 38 - 4, "full windows without an answer"


def test_a_source_that_ends_before_a_window_is_full_is_answered_about_all_the_same(engines: Engines) -> None:
    heard = run(channel(engines, FakeSource([0.0, 0.5])))
    (answer,) = heard.answers
    assert answer.trigger == "the source ended before a window was full"
    assert answer.times_seconds == [0.0, 0.5]
    assert not run(channel(engines, FakeSource([]))).records


def test_a_planted_delay_shows_as_it_is(engines: Engines) -> None:
    late, prompt = (run(channel(engines, FakeSource([0, 0.5, 1], age=age))).answers[0] for age in (0.25, 0.0))
    assert late.age_ms.at_first_token >= 250
    assert prompt.age_ms.at_first_token < late.age_ms.at_first_token
    assert late.age_ms.at_last_token >= late.age_ms.at_first_token


def test_who_waited_longest_is_answered_first_and_nobody_is_left_out(engines: Engines) -> None:
    names = ["a", "b", "c"]
    heard = run(*(channel(engines, FakeSource(np.arange(9) / 2), name=name) for name in names))
    order = [answer.stream for answer in heard.answers]
    assert order == names * 7
    assert [name for name, _ in heard.frames][:9] == names * 3, "one look each, whoever is answered"
    times = [answer.times_seconds[-1] for answer in heard.answers if answer.stream == "c"]
    assert times == [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0], "a file waits for its answers"


def test_a_live_stream_is_looked_at_while_another_is_answered(engines: Engines) -> None:
    names = ["a", "b", "c"]
    heard = run(*(channel(engines, FakeSource(np.arange(9) / 2, live=True), name=name) for name in names))
    assert [name for name, _ in heard.frames] == names * 9
    order = [answer.stream for answer in heard.answers]
    assert all(set(order[start : start + 3]) == set(names) for start in range(0, len(order), 3))


def test_an_answer_that_had_to_wait_is_about_the_window_as_it_is_then(engines: Engines) -> None:
    sources = [FakeSource(np.arange(6) / 2, live=True), FakeSource(np.arange(6) / 2, live=True)]
    heard = run(*(channel(engines, source, name=str(number)) for number, source in enumerate(sources)))
    assert next(answer.times_seconds[-1] for answer in heard.answers if answer.stream == "1") == 1.5


def test_an_answer_that_cannot_begin_by_its_deadline_is_left_out_and_counted(engines: Engines) -> None:
    late, prompt = (
        channel(engines, FakeSource([0, 0.5, 1, 1.5], live=True, age=age), deadline=1.0) for age in (2.0, 0.0)
    )
    assert not run(late).answers
    assert late.missed == 2
    assert len(run(prompt).answers) == 2
    assert prompt.missed == 0


def test_who_has_the_least_time_left_is_answered_first(engines: Engines) -> None:
    sources = [FakeSource(np.arange(3) / 2, live=True) for _ in range(3)]
    deadlines = {"patient": math.inf, "soon": 3.0, "sooner": 2.0}
    channels = [
        channel(engines, source, name=name, deadline=deadline)
        for source, (name, deadline) in zip(sources, deadlines.items(), strict=True)
    ]
    assert [answer.stream for answer in run(*channels).answers] == ["sooner", "soon", "patient"]


@pytest.mark.onnxruntime
def test_streams_that_go_together_are_answered_as_each_alone(engines: Engines, micro_bundle: Bundle) -> None:
    def answers(engines: Engines, names: str, on_batch: Callable[[str, int], None]) -> dict[str, list[str]]:
        heard = Heard()
        channels = [channel(engines, FakeSource(np.arange(4) / 2 + 0.01 * number), name=name)
                    for number, name in enumerate(names)]  # fmt: skip
        Pipeline(channels, Events(), [heard], on_batch=on_batch).run(threading.Event())
        return {name: [one.answer for one in heard.answers if one.stream == name] for name in names}

    batches: set[tuple[str, int]] = set()
    together = Engines(micro_bundle, load_incremental(micro_bundle, 0.5, most=4), AnswerPool.open(micro_bundle, 4))
    got = answers(together, "abcd", lambda kind, size: batches.add((kind, size)))
    assert got == answers(engines, "abcd", lambda *_: None)
    assert {("looks", 4), ("answers", 1)} <= batches


class Endless:
    """Answers under way that never end."""

    def __init__(self, has_room: bool) -> None:
        self.has_room, self.steps = has_room, 0

    def step(self) -> int:
        self.steps += 1
        return 1


@pytest.mark.parametrize(
    ("streams", "has_room", "few"), [(8, True, True), (9, True, True), (8, False, False), (7, True, False)]
)
def test_answers_get_few_tokens_a_round_when_more_frames_wait_and_another_could_begin(
    engines: Engines, streams: int, has_room: bool, few: bool
) -> None:
    orders = Orders([], ALWAYS, max_tokens=2, frames_per_second=2.0)
    channels = [
        Channel(f"stream-{number}", FakeSource([0.0, 0.5], live=True), Watcher(engines, 3, RULE), orders)
        for number in range(streams)
    ]
    answers: Any = Endless(has_room)
    Pipeline(channels, Events(), [], answers=answers).step()
    assert (answers.steps == 2) == few


def test_a_stop_ends_after_what_is_being_done(engines: Engines) -> None:
    stop, one = threading.Event(), channel(engines, FakeSource(np.arange(1000) / 2))

    class Stopper(Heard):
        def said(self, record: Record) -> None:
            super().said(record)
            stop.set()

    heard = Stopper()
    Pipeline([one], Events(), [heard]).run(stop)
    assert len(heard.answers) == 1
    assert one.source.closed  # type: ignore[attr-defined]


def test_all_sources_are_asked_to_close_before_one_is_waited_for(engines: Engines) -> None:
    """Each camera that hangs takes a second or two, and a service manager's patience is that of a few dozen."""

    class Hung(FakeSource):
        def close(self) -> None:
            assert all(one.source.asked_to_close for one in channels)  # type: ignore[attr-defined]
            super().close()

    channels = [channel(engines, Hung([], live=True), name=name) for name in ("gate", "yard", "door")]
    Pipeline(channels, Events(), []).close()
    assert all(one.source.closed for one in channels)  # type: ignore[attr-defined]


def test_sources_are_closed_when_an_engine_fails(engines: Engines) -> None:
    one = channel(engines, FakeSource([0.0, 0.5]))

    def broken(*_: Any, **__: Any) -> IncrementalOutput:
        raise RuntimeError("out of memory")

    one.watcher.engines = replace(engines, vision=type("V", (), {"run_many": broken})())
    with pytest.raises(RuntimeError):
        Pipeline([one], Events(), []).run(threading.Event())
    assert one.source.closed  # type: ignore[attr-defined]


def test_changes_of_state_come_out_in_order_from_any_thread(engines: Engines) -> None:
    events, heard = Events(), Heard()
    states = [State.CONNECTING, State.LIVE, State.STALLED, State.RECONNECTING, State.LIVE]

    def tell() -> None:
        for state in states:
            events.of("cam", Status(state, "why", 0.0))

    teller = threading.Thread(target=tell)
    teller.start()
    teller.join()
    Pipeline([channel(engines, FakeSource([]))], events, [heard]).run(threading.Event())
    assert all(isinstance(record, StreamEvent) for record in heard.records)
    assert [record.state for record in heard.records] == [one.value for one in states]  # type: ignore[union-attr]


def test_a_question_that_cannot_be_asked_is_found_before_the_first_frame(engines: Engines) -> None:
    watcher = Watcher(engines, 3, RULE)
    for question, message in (("", "empty"), ("x" * 3000, "leaves"), ("<im_patch>", "reserved mark")):
        with pytest.raises(PromptError, match=message):
            Channel("a", FakeSource([]), watcher, Orders([question], ALWAYS, 4, 2.0))


def test_a_window_longer_than_the_bundle_was_built_for_names_the_option(engines: Engines) -> None:
    with pytest.raises(BundleError, match=r"a window of 7 frames .* whose longest is 6; .*--budget frame --frames 7"):
        Watcher(engines, 7, RULE)


def test_the_fullest_window_fits_the_language_model(engines: Engines) -> None:
    """Two key frames, as near as the rule lets them, and an answer."""
    live = engines.bundle.manifest.live
    assert live is not None
    watcher = Watcher(engines, live.frames, KeyRule(live.key_every, live.key_every, 1.0))
    for number in range(2 * live.frames):
        watcher.see(Frame(np.full((40, 40, 3), number * 20, dtype=np.uint8), number / 2, 0.0))
        assert len(watcher.ring.frames) == min(number + 1, live.frames), "none had to go for lack of rows"
    watcher.check_questions(["What happens?"])
    conversation = engines.answers.conversations[0]
    assert conversation.ask(watcher.window().prefilled(conversation), "What happens?", 3).generation.ids
