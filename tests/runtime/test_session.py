"""Sessions: reuse of the video prefix, budgets of tokens and context, and the order of what engines are asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.engines import VisionOutput, load_language
from stts_runtime.errors import EngineError, PromptError, UserError
from stts_runtime.prompt import Tokens
from stts_runtime.session import Session
from stts_runtime.video import VideoFile, Window, window_of_file

VARIANT = "clip-t3-k0.5"


class FakeVision:
    """Keeps the first frame and the first groups after it."""

    def run(self, frames: np.ndarray, given: np.ndarray | None = None) -> VisionOutput:
        kept = np.zeros((len(frames), 4), dtype=np.bool_)
        kept.reshape(-1)[:6] = True
        return VisionOutput(np.zeros((6, 48), dtype=np.float32), kept, None)


class FakeLanguage:
    """Says a fixed text, one token per call, and keeps a list of what it was given."""

    def __init__(self, says: list[int], context: int = 200) -> None:
        self.says, self.context, self.length = says, context, 0
        self.calls: list[tuple[int, int]] = []
        self.positions: list[int] = []
        self.broken_from: float = float("inf")
        """The call from which on logits are no numbers."""

    def show(self, visual_tokens: Any) -> None:
        pass

    def prefill(self, tokens: Tokens) -> None:
        self.forward(tokens)

    def forward(self, tokens: Tokens) -> int:
        self.calls.append((self.length, len(tokens)))
        self.positions += tokens.positions.tolist()
        self.length += len(tokens)
        return self.says[len(self.calls) - 2] if 2 <= len(self.calls) < len(self.says) + 2 else 0

    def logits(self) -> np.ndarray:
        return np.array([0.0, np.nan if len(self.calls) >= self.broken_from else -np.inf], np.float32)

    def rewind(self, length: int) -> None:
        self.length = length


def fake_session(bundle: Bundle, says: list[int], context: int = 200) -> tuple[Session, FakeLanguage]:
    language = FakeLanguage(says, context)
    vision: Any = FakeVision()
    engine: Any = language
    return Session(bundle, VARIANT, vision, Conversation.over(bundle, engine)), language


@pytest.fixture
def window(clip: Path) -> Window:
    return window_of_file(VideoFile(str(clip)), 3, 2, 84)


def test_an_answer_ends_at_the_end_of_text(micro_bundle: Bundle, window: Window) -> None:
    end = micro_bundle.manifest.prompt.eos_ids[0]
    session, language = fake_session(micro_bundle, [40, 41, end])
    answer = session.ask(session.watch(window), "Who?", 10)
    assert (answer.finish, answer.tokens.generated) == ("end", 3)
    assert [length for _, length in language.calls[2:]] == [1, 1], "the end of text is not fed back"


def test_an_answer_stops_at_its_token_budget(micro_bundle: Bundle, window: Window) -> None:
    session, _ = fake_session(micro_bundle, [40] * 50)
    answer = session.ask(session.watch(window), "Who?", 5)
    assert (answer.finish, answer.tokens.generated) == ("length", 5)


def test_an_answer_stops_when_the_context_is_full(micro_bundle: Bundle, window: Window) -> None:
    session, language = fake_session(micro_bundle, [40] * 500, context=90)
    answer = session.ask(session.watch(window), "Who?", 400)
    assert answer.finish == "length"
    assert max(start + length for start, length in language.calls) == 90


def test_positions_go_on_without_a_gap(micro_bundle: Bundle, window: Window) -> None:
    session, language = fake_session(micro_bundle, [40] * 50)
    watched = session.watch(window)
    session.ask(watched, "Who?", 5)
    after_video = language.positions[len(watched.prefix) :]
    first = watched.prefix.tokens.next_position
    assert after_video == list(range(first, first + len(after_video)))


def test_a_second_question_starts_from_the_end_of_the_video(micro_bundle: Bundle, window: Window) -> None:
    session, language = fake_session(micro_bundle, [40] * 50)
    watched = session.watch(window)
    first = session.ask(watched, "Who?", 2)
    second = session.ask(watched, "Who?", 2)
    starts = [start for start, length in language.calls if length > 1]
    assert starts == [0, len(watched.prefix), len(watched.prefix)]
    assert (first.reused_prefix, second.reused_prefix) == (False, True)
    assert second.milliseconds.vision == second.milliseconds.prefill_video == 0
    assert first.milliseconds.vision > 0


def test_a_window_that_is_no_longer_in_the_cache_is_not_asked(micro_bundle: Bundle, window: Window) -> None:
    session, _ = fake_session(micro_bundle, [40] * 50)
    first = session.watch(window)
    session.ask(session.watch(window), "Who?", 2)
    with pytest.raises(UserError, match="no longer in the cache"):
        session.ask(first, "Who?", 2)


def test_an_answer_that_was_broken_off_leaves_no_trace(micro_bundle: Bundle, window: Window) -> None:
    session, language = fake_session(micro_bundle, [40] * 50)
    watched = session.watch(window)
    language.length += 7
    session.ask(watched, "Who?", 2)
    assert language.calls[1][0] == len(watched.prefix)


def test_a_question_longer_than_the_context_is_refused(micro_bundle: Bundle, window: Window) -> None:
    session, language = fake_session(micro_bundle, [40])
    watched = session.watch(window)
    with pytest.raises(PromptError, match=r"question takes \d+ tokens"):
        session.ask(watched, "why " * 100)
    assert language.length == len(watched.prefix), "the video is still there for a shorter question"
    assert session.ask(watched, "Who?", 1).tokens.generated == 1


def test_a_video_longer_than_the_context_is_refused(micro_bundle: Bundle, window: Window) -> None:
    session, _ = fake_session(micro_bundle, [40], context=20)
    with pytest.raises(PromptError, match="the context holds 20"):
        session.watch(window)


def test_an_answer_of_no_tokens_is_refused(micro_bundle: Bundle, window: Window) -> None:
    session, _ = fake_session(micro_bundle, [40])
    with pytest.raises(UserError, match="at least 1 token"):
        session.ask(session.watch(window), "Who?", 0)


def test_an_answer_chosen_among_what_is_no_number_is_never_heard(micro_bundle: Bundle, window: Window) -> None:
    session, language = fake_session(micro_bundle, [40] * 50)
    heard: list[int] = []
    language.broken_from = 0

    def hear(ids: Sequence[int]) -> bool:
        heard.append(len(ids))
        return True

    with pytest.raises(EngineError, match=r"the language model's logits are no numbers .*stts-runtime check BUNDLE"):
        session.ask(session.watch(window), "Who?", 5, hear)
    assert not heard


def test_logits_that_become_no_numbers_on_the_way_fail_the_answer(micro_bundle: Bundle, window: Window) -> None:
    session, language = fake_session(micro_bundle, [40] * 50)
    language.broken_from = 5
    assert session.ask(session.watch(window), "Who?", 2).tokens.generated == 2
    language.calls.clear()
    with pytest.raises(EngineError, match="are no numbers"):
        session.ask(session.watch(window), "Who?", 5)


def test_groups_chosen_by_what_is_no_number_fail_the_window(
    micro_bundle: Bundle, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _ = fake_session(micro_bundle, [40])
    chosen = FakeVision().run(window.frames)
    scores = np.full(chosen.kept.shape, np.nan, np.float32)
    monkeypatch.setattr(FakeVision, "run", lambda *_: VisionOutput(chosen.visual_tokens, chosen.kept, scores))
    with pytest.raises(EngineError, match="the token scorer's scores are no numbers"):
        session.watch(window)


@pytest.mark.onnxruntime
@pytest.mark.parametrize("variant", ["full-t3", "clip-t3-k0.5", "frame-t3-k0.5"])
def test_reusing_the_prefix_changes_no_answer(micro_bundle: Bundle, window: Window, variant: str) -> None:
    session = Session.open(micro_bundle, variant)
    watched = session.watch(window)
    questions = ["What happens?", "Who is there?", "What happens?"]
    reused = [session.ask(watched, question, 8).answer for question in questions]
    fresh = [session.ask(session.watch(window), question, 8).answer for question in questions]
    assert reused == fresh
    assert reused[0] == reused[2]


@pytest.mark.onnxruntime
def test_the_record_says_what_was_kept(micro_bundle: Bundle, window: Window) -> None:
    session = Session.open(micro_bundle, "frame-t3-k0.5")
    answer = session.ask(session.watch(window), "Who?", 2)
    assert answer.kept_per_frame == [4, 2, 2]
    assert (answer.tokens.visual_in, answer.tokens.visual_kept) == (12, 8)
    assert answer.window.times_seconds == [0, 1, 2]
    assert any("random weights" in note for note in answer.notes)


@pytest.mark.onnxruntime
def test_the_cache_is_written_in_place(micro_bundle: Bundle) -> None:
    """One buffer serves as past and present; a copy per call would double memory and cost time."""
    language: Any = load_language(micro_bundle)
    ids = np.array([1, 2, 3], dtype=np.int64)
    language.forward(Tokens(ids, np.arange(3), 3))
    first = [value.data_ptr() for value in language._bound._binding.get_outputs()[:-2]]
    language.forward(Tokens(ids, np.arange(3, 6), 6))
    assert [value.data_ptr() for value in language._bound._binding.get_outputs()[:-2]] == first
    assert len(set(first)) == len(first), "every layer needs a buffer of its own"
