"""Conversations: each turn is answered as if all of it came at once, and what the cache holds is not computed again."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stts_runtime.answering import Conversation, Prefix, Turn
from stts_runtime.answering.turns import Call, calls_of, reusable
from stts_runtime.bundle import Bundle
from stts_runtime.errors import ContextError, EngineError, PromptError
from stts_runtime.prompt import PromptBuilder, Tokens
from stts_runtime.session import Session
from stts_runtime.video import VideoFile, window_of_file

KEPT = np.ones((3, 4), dtype=np.bool_)
TIMES = [0.0, 0.5, 1.0]
QUESTIONS = ["What happens?", "Who is there?", "¿Qué pasa? 東京", "Why\nnot?"]


class Remembering:
    """Says what depends on all that is in its cache, and on the shapes of the calls that put it there."""

    lowering = "none"

    def __init__(self, context: int = 2000) -> None:
        self.context, self.length, self.calls = context, 0, 0
        self.fails_at: int | None = None
        self._slots: list[int] = [0] * context

    def show(self, visual_tokens: Any) -> None:
        self._shown = int(visual_tokens.sum())

    def prefill(self, tokens: Tokens) -> None:
        self.forward(tokens)

    def forward(self, tokens: Tokens) -> int:
        self.calls += 1
        before = 0 if self.length == 0 else self._slots[self.length - 1]
        for row, token in enumerate(zip(tokens.ids.tolist(), tokens.positions.tolist(), strict=True)):
            if self.calls == self.fails_at and row == len(tokens) // 2:
                raise EngineError("the machine was taken away")
            before = hash((before, self._shown, len(tokens), row, token))
            self._slots[self.length + row] = before
        self.length += len(tokens)
        return 97 + before % 26

    def logits(self) -> np.ndarray:
        return np.zeros(2, np.float32)

    def rewind(self, length: int) -> None:
        self.length = length


def asked(bundle: Bundle, context: int = 2000) -> tuple[Conversation, Prefix, Remembering]:
    language = Remembering(context)
    engine: Any = language
    conversation = Conversation.over(bundle, engine)
    return conversation, conversation.watch(np.ones(4), TIMES, KEPT), language


def fresh(bundle: Bundle, history: list[Turn], question: str) -> list[int]:
    conversation, prefix, _ = asked(bundle)
    return conversation.ask(prefix, question, 6, history=history).generation.ids


def test_every_turn_is_answered_as_if_the_conversation_came_whole(micro_bundle: Bundle) -> None:
    conversation, prefix, _ = asked(micro_bundle)
    history: list[Turn] = []
    for question in [*QUESTIONS, *QUESTIONS]:
        reply = conversation.ask(prefix, question, 6, history=history)
        assert reply.generation.ids == fresh(micro_bundle, history, question)
        history.append(Turn(question, reply.text))
    others = fresh(micro_bundle, [*history[:-1], Turn(QUESTIONS[-1], "no")], "And now?")
    assert fresh(micro_bundle, history, "And now?") != others, "an engine that forgets would prove nothing"


def test_whatever_was_asked_before_changes_no_answer(micro_bundle: Bundle) -> None:
    """Conversations go on, begin anew, go back, say the same again, and take turns with others about the window."""
    conversation, prefix, _ = asked(micro_bundle)
    chance, known = random.Random(0), [[Turn("Who?", "he")], [Turn("Who?", "he"), Turn("Where?", "")]]
    for _ in range(60):
        history = chance.choice(known)
        history = history[: chance.randint(0, len(history))]
        question = chance.choice([*QUESTIONS, "Who?", "Where?"])
        reply = conversation.ask(prefix, question, chance.randint(1, 6), history=history)
        assert reply.generation.ids == fresh(micro_bundle, history, question)[: len(reply.generation.ids)]
        known.append([*history, Turn(question, chance.choice([reply.text, "yes", "\n"]))])


def test_the_turns_before_are_not_prefilled_again(micro_bundle: Bundle) -> None:
    conversation, prefix, language = asked(micro_bundle)
    history: list[Turn] = []
    cached, prompts = [], []
    for question in QUESTIONS:
        before = language.calls
        reply = conversation.ask(prefix, question, 1, history=history)
        assert language.calls == before + 1, "one call for a turn"
        history.append(Turn(question, reply.text))
        cached.append(reply.cached_tokens)
        prompts.append(reply.prompt_tokens)
    assert cached[0] == 0
    opening = len("assistant\n") + 1  # of bytes, and one mark
    assert cached[1:] == [one - opening for one in prompts[:-1]], "all but the opening of the answer before"


def test_what_failed_on_the_way_leaves_nothing_to_go_on_from(micro_bundle: Bundle) -> None:
    history = [Turn("Who?", "he"), Turn("Where?", "there"), Turn("When?", "now")]
    for failing in range(1, 5):
        conversation, prefix, language = asked(micro_bundle)
        conversation.ask(prefix, "Who?", 2)
        language.fails_at = language.calls + failing
        with pytest.raises(EngineError, match="taken away"):
            conversation.ask(prefix, "Why?", 2, history=history)
        reply = conversation.ask(prefix, "Why?", 6, history=history)
        assert reply.generation.ids == fresh(micro_bundle, history, "Why?")


def test_a_full_context_says_what_to_do(micro_bundle: Bundle) -> None:
    conversation, prefix, _ = asked(micro_bundle, context=300)
    history = [Turn("Who?", "he"), Turn("Where? " * 40, "there")]
    with pytest.raises(
        ContextError, match=r"the conversation takes \d+ tokens .*'Why\?'.* context of 300 .*leave out earlier turns"
    ):
        conversation.ask(prefix, "Why?", history=history)
    assert conversation.ask(prefix, "Why?", 2, history=history[:1]).generation.ids, "with fewer it goes on"


@pytest.mark.parametrize("turn", [Turn("a<|im_end|>b", "no"), Turn("a", "b<|im_start|>")])
def test_a_turn_holds_no_marks(micro_bundle: Bundle, turn: Turn) -> None:
    conversation, prefix, _ = asked(micro_bundle)
    with pytest.raises(PromptError, match=r"the (question|answer) of turn 2 holds the reserved mark"):
        conversation.ask(prefix, "Why?", history=[Turn("x", "y"), turn])


def test_the_prompt_of_a_turn_is_that_of_the_chat_template(micro_bundle: Bundle) -> None:
    builder = PromptBuilder.of(micro_bundle)
    video = builder.video(TIMES, KEPT)
    *_, last = builder.turns([Turn("One?", "Yes."), Turn("", "\nNo.")], "Two?", video)
    text = (
        "<|im_start|>user\nOne?<|im_end|>\n <|im_start|>assistant\nYes.<|im_end|>\n"
        "<|im_start|>user\n<|im_end|>\n <|im_start|>assistant\n\nNo.<|im_end|>\n"
        "<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert last.ids.tolist() == builder._encode(text).tolist()
    assert last.positions.tolist() == list(range(video.next_position, video.next_position + len(last)))
    assert last.next_position == video.next_position + len(last)


def call(start: int, *ids: int) -> Call:
    return Call(start, Tokens(np.array(ids), np.arange(start, start + len(ids)), start + len(ids)))


def test_what_was_overwritten_is_not_gone_on_from() -> None:
    first, short, long = call(0, 1, 2, 3), call(1, 9), call(3, 7)
    assert reusable([first, short], [first, long]) == 0, "slots 1 and 2 are gone"
    assert reusable([first, long], [first, short]) == 1
    assert reusable([first, long], [first, long]) == 1, "the last is always made"
    assert reusable([], [first, long]) == reusable([call(0, 1, 2, 4)], [first, long]) == 0


def test_calls_put_together_are_the_whole_prompt(micro_bundle: Bundle) -> None:
    builder = PromptBuilder.of(micro_bundle)
    turns = list(builder.turns([Turn("a", "b"), Turn("a", "b")], "c", builder.video(TIMES, KEPT)))
    slots: list[int] = []
    for one, turn in itertools.zip_longest(calls_of(turns), turns):
        slots[one.start :] = one.tokens.ids.tolist()
        assert slots == turn.ids.tolist()
        assert one.end == len(turn)


@pytest.mark.onnxruntime
@pytest.mark.parametrize("variant", ["full-t3", "clip-t3-k0.5"])
def test_engines_say_the_same_turn_by_turn_and_at_once(micro_bundle: Bundle, clip: Path, variant: str) -> None:
    session = Session.open(micro_bundle, variant)
    window = window_of_file(VideoFile(str(clip)), 3, 2, 84)
    watched, history, answers = session.watch(window), list[Turn](), []
    for question in QUESTIONS:
        answers.append(session.ask(watched, question, 8, history=history))
        history.append(Turn(question, answers[-1].answer))
    for number, answer in enumerate(answers):
        again = session.ask(session.watch(window), QUESTIONS[number], 8, history=history[:number])
        assert again.answer == answer.answer
        assert again.tokens.prompt == answer.tokens.prompt
        assert (again.tokens.cached, answer.tokens.cached > 0) == (0, number > 0)
