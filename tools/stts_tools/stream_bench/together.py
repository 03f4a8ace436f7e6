"""Frames and answers that go together, compared with the same alone: whether they agree, and what a row more costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from stts_runtime.answering import Conversation
from stts_runtime.engines import FrameInput, IncrementalOutput, LanguageSlots
from stts_runtime.engines.frames import IncrementalVision
from stts_runtime.prompt import Tokens
from stts_runtime.proof.streamed import widen
from stts_runtime.stream.watcher import Engines, StreamWindow
from stts_tools.stream_bench.trial import ANSWER_TOKENS, LOOKS_A_SECOND, Plan, filled

_QUESTION_TOKENS = 12
_ROUNDS = 20
_SETTLING = 4
_LOAD = 0.7


class Together(BaseModel):
    """What rows cost, and how far they are from those alone."""

    look_ms: dict[int, float]
    """Time for this many frames at once; medians."""
    step_ms: dict[int, float]
    """Time for one token of each of this many answers, after a window and a question; medians."""
    prefill_ms: float
    """Prefill of a window and a question, with the first token."""
    window_tokens: int
    groups_that_differ: int
    """Groups that only one side kept."""
    visual_error: float
    """Largest, of the norm, over frames with equal groups."""
    logits_error: float
    """Largest, of the norm, as long as the tokens before are the same."""
    answers_that_differ: int
    """In some token."""

    def streams(self, every: float, size: int) -> int:
        """How many streams these times leave room for, with this many at once and some time to spare."""
        looks, tokens = (self._a_row(times, size) for times in (self.look_ms, self.step_ms))
        spent = every * LOOKS_A_SECOND * looks + self.prefill_ms + ANSWER_TOKENS * tokens
        return int(_LOAD * every * 1000 / spent)

    @staticmethod
    def _a_row(times: dict[int, float], size: int) -> float:
        largest = max(one for one in times if one <= size)
        return times[largest] / largest


def compare(engines: Engines, slots: LanguageSlots, plan: Plan) -> Together:
    """`slots` are those of the engines' answers."""
    vision, conversations = engines.vision, engines.answers.conversations
    assert isinstance(vision, IncrementalVision)
    seen = [watcher.window() for watcher in filled(engines, max(*vision.sizes, len(slots.engines)), plan)]
    looks = [
        FrameInput(np.ascontiguousarray(plan.pictures[place][..., ::-1]), window.newest.output.pooled)
        for place, window in enumerate(seen)
    ]
    alone, many = [vision.run_many([look])[0] for look in looks], vision.run_many(looks)
    prompts = [_prompted(conversation, window) for conversation, window in zip(conversations, seen, strict=False)]
    wanted = [_answers(slots, {0: _begun(slots, 0, prompts[0]._replace(window=one.window))}) for one in prompts]
    begun = {slot: _begun(slots, slot, one) for slot, one in enumerate(prompts)}
    got = _answers(slots, begun)
    errors, different = [], 0
    for slot in begun:
        same = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(got[slot].ids, wanted[slot][0].ids, strict=True))
        )
        different += same < ANSWER_TOKENS
        pairs = zip(got[slot].logits[:same], wanted[slot][0].logits, strict=False)
        errors += [_error(one, other) for one, other in pairs]
    return Together(
        look_ms={size: _median(partial(vision.run_many, looks[:size])) for size in vision.sizes},
        step_ms={size: _median(partial(_step, slots, begun, size)) for size in slots.sizes},
        prefill_ms=_median(partial(_begun, slots, 0, prompts[0])),
        window_tokens=len(prompts[0].prefix),
        groups_that_differ=sum(int((one.kept != other.kept).sum()) for one, other in zip(alone, many, strict=True)),
        visual_error=max(_visual_error(one, other) for one, other in zip(alone, many, strict=True)),
        logits_error=max(errors, default=0.0),
        answers_that_differ=different,
    )


class _Prompt(NamedTuple):
    conversation: Conversation
    window: StreamWindow
    prefix: Tokens


class _Said(NamedTuple):
    ids: list[int]
    logits: list[NDArray[np.float32]]


def _prompted(conversation: Conversation, window: StreamWindow) -> _Prompt:
    return _Prompt(conversation, window, window.prefilled(conversation).tokens)


def _begun(slots: LanguageSlots, slot: int, prompt: _Prompt) -> tuple[int, int]:
    """A window and a question in a slot: the first token of the answer, and its position."""
    prompt = _prompted(prompt.conversation, prompt.window)
    first = prompt.prefix.next_position
    asked = np.arange(first, first + _QUESTION_TOKENS)
    token = slots.engines[slot].forward(Tokens(np.ones(_QUESTION_TOKENS, np.int64), asked, first + _QUESTION_TOKENS))
    return token, first + _QUESTION_TOKENS


def _answers(slots: LanguageSlots, begun: dict[int, tuple[int, int]]) -> dict[int, _Said]:
    """Greedy tokens, and what each was chosen from, as all of them go on together."""
    said = {slot: _Said([], []) for slot in begun}
    tokens = {slot: token for slot, (token, _) in begun.items()}
    for number in range(ANSWER_TOKENS):
        tokens = slots.forward({slot: _one(tokens[slot], begun[slot][1] + number) for slot in begun})
        for slot, token in tokens.items():
            said[slot].ids.append(token)
            said[slot].logits.append(slots.engines[slot].logits().copy())
    return said


def _one(token: int, position: int) -> Tokens:
    return Tokens(np.array([token], np.int64), np.array([position]), position + 1)


def _step(slots: LanguageSlots, begun: dict[int, tuple[int, int]], size: int) -> None:
    slots.forward({slot: _one(*begun[slot]) for slot in range(size)})
    for engine in slots.engines[:size]:
        engine.rewind(engine.length - 1)


def _median(work: Callable[[], object]) -> float:
    for _ in range(_SETTLING):
        work()
    spent = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        work()
        spent.append(1000 * (time.perf_counter() - began))
    return round(float(np.median(spent)), 3)


def _visual_error(one: IncrementalOutput, other: IncrementalOutput) -> float:
    if (one.kept != other.kept).any():
        return 0.0
    return _error(*(widen(output.visual_tokens) for output in (other, one)))


def _error(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
