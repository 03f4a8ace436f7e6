"""Looks that are kept: a question about one is answered as it would be alone, and pays for nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stts_runtime.answering import Turn, alone, go_on
from stts_runtime.budget import KEY_FRAMES
from stts_runtime.bundle import Bundle
from stts_runtime.engines import choose_engine
from stts_runtime.errors import EngineError
from stts_runtime.records import Answer
from stts_runtime.serve.engine_worker import Asked, EngineWorker
from stts_runtime.serve.look_cache import LookCache
from stts_runtime.serve.looks import ReadLook
from stts_runtime.session import Session, Sessions
from stts_runtime.stream.assemble import incremental_engines
from stts_runtime.stream.config import StreamConfig
from stts_runtime.video import VideoFile, Window, window_of_file

pytestmark = pytest.mark.onnxruntime


def worker_of(bundle: Bundle, most_bytes: int = 10_000_000) -> EngineWorker:
    return EngineWorker(bundle, Sessions(bundle, "cpu"), None, LookCache(most_bytes))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Variants whose vision engine ran, in their order."""
    ran: list[str] = []
    see: Callable[..., Any] = Session.see

    def counted(session: Session, *arguments: Any) -> Any:
        ran.append(session.variant)
        return see(session, *arguments)

    monkeypatch.setattr(Session, "see", counted)
    return ran


@pytest.fixture
def window(clip: Path) -> Window:
    return window_of_file(VideoFile(str(clip)), 3, 2, 84)


def ask(worker: EngineWorker, look: ReadLook, text: str = "Who?", history: list[Turn] | None = None) -> Answer:
    conversation = worker._sessions.conversation
    work = worker.work(Asked(text, look, 6, history=history or []))
    answer = alone(conversation._language, work.course(conversation, go_on))
    assert isinstance(answer, Answer)
    return answer


def test_the_vision_engine_runs_once_a_look_and_no_answer_changes(
    micro_bundle: Bundle, window: Window, runs: list[str]
) -> None:
    worker = worker_of(micro_bundle)
    runs.clear()
    looks = [ReadLook(window, name, []) for name in ("clip-t3-k0.5", "full-t3")]
    answers = [ask(worker, look, text) for text in ("Who?", "What happens?") for look in (*looks, *looks)]
    assert runs == ["clip-t3-k0.5", "full-t3"]
    assert [one.reused_vision for one in answers] == [False] * 2 + [True] * 6
    for answer in answers:
        alone = ask(worker_of(micro_bundle, 0), ReadLook(window, answer.variant, []), answer.question)
        assert (alone.answer, alone.kept_per_frame) == (answer.answer, answer.kept_per_frame)
        assert alone.tokens.prompt == answer.tokens.prompt


def test_a_conversation_goes_on_in_the_cache_also_behind_another_clip(micro_bundle: Bundle, window: Window) -> None:
    worker = worker_of(micro_bundle)
    look, other = ReadLook(window, "clip-t3-k0.5", []), ReadLook(window, "full-t3", [])
    first = ask(worker, look)
    history = [Turn("Who?", first.answer)]
    going_on = ask(worker, look, "Why?", history)
    assert (first.tokens.cached, first.reused_prefix) == (0, False)
    assert first.tokens.prompt > going_on.tokens.cached > first.tokens.prompt - 20
    assert going_on.reused_prefix
    assert going_on.milliseconds.prefill_video == 0
    ask(worker, other)
    again = ask(worker, look, "Why?", history)
    assert (again.answer, again.tokens.cached, again.reused_vision) == (going_on.answer, 0, True)
    assert again.milliseconds.prefill_video > 0


def test_times_are_those_of_the_question(micro_bundle: Bundle, window: Window) -> None:
    """The same frames at other times have other words around them."""
    worker = worker_of(micro_bundle)
    later = Window("later", 9.0, window.times_seconds + 7, window.frames, 1.0)
    ask(worker, ReadLook(window, "clip-t3-k0.5", []))
    answer = ask(worker, ReadLook(later, "clip-t3-k0.5", ["a note"]))
    assert answer.window.times_seconds == [7, 8, 9]
    assert (answer.source, answer.notes[0], answer.reused_prefix) == ("later", "a note", False)


def test_what_was_answered_wrong_is_not_answered_from_again(
    micro_bundle: Bundle, window: Window, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, look = worker_of(micro_bundle), ReadLook(window, "clip-t3-k0.5", [])
    conversation = worker._sessions.conversation
    runs.clear()
    with monkeypatch.context() as patch:
        patch.setattr(conversation._language, "logits", lambda: np.full(9, np.nan, np.float32))
        with pytest.raises(EngineError, match="no numbers"):
            ask(worker, look)
    assert len(worker.cache) == 0
    assert not ask(worker, look).reused_vision
    assert runs == ["clip-t3-k0.5"] * 2


def test_a_picture_is_looked_at_once_by_the_graphs_of_streams(micro_bundle: Bundle) -> None:
    sessions = Sessions(micro_bundle, "cpu")
    config = StreamConfig.model_validate(
        {"bundle": micro_bundle.folder, "streams": [{"name": "a", "source": "x.mp4"}], "questions": ["Who?"]}
    )
    live = incremental_engines(config, micro_bundle, choose_engine(micro_bundle, "cpu", None), sessions.answers)
    worker = EngineWorker(micro_bundle, sessions, live, LookCache(1_000_000))
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    look = worker.picture(image)
    first, second = ask(worker, look), ask(worker, worker.picture(image))
    assert (first.variant, first.keep, first.kept_per_frame) == (KEY_FRAMES, 1.0, [4])
    assert first.answer == second.answer
    assert [one.reused_vision for one in (first, second)] == [False, True]
    assert second.tokens.cached > 0
    assert first.seen.size == (60, 40)
