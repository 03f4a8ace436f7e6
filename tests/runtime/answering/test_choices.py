"""Probabilities of choices: what they sum to, that they are those of their tokens one by one, and how many calls."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import stts_runtime
from stts_runtime.answering.calls import alone
from stts_runtime.answering.choices import MOST_CALLS, ScoredChoices, check_choices, log_softmax, score_choices
from stts_runtime.answering.form import AnswerForm, checked_choices
from stts_runtime.bundle import Bundle
from stts_runtime.engines import LanguageEngine, load_language
from stts_runtime.errors import EngineError, PromptError, UserError
from stts_runtime.prompt import PromptBuilder, Tokens
from stts_runtime.record_parts import ChoiceRecord
from tests.support.places import DATA
from tests.support.stand_ins import LanguageOfChance

ASKED = Tokens(np.arange(5), np.arange(5), 5)
END = [7, 8]


def forced(engine: LanguageEngine, asked: Tokens, ids: list[int], and_ends: bool, eos_ids: list[int]) -> float:
    """Log probability of tokens that are given one by one behind what was asked."""
    engine.rewind(0)
    engine.forward(asked)
    total, position = 0.0, asked.next_position
    for token in ids:
        total += float(log_softmax(engine.logits())[token])
        engine.forward(Tokens(np.array([token]), np.array([position]), position + 1))
        position += 1
    return total + and_ends * math.log(np.exp(log_softmax(engine.logits())[eos_ids]).sum())


@pytest.mark.parametrize(
    ("choices", "calls"),
    [
        ([[1], [2], [3]], 0),
        ([[1, 2], [1, 3]], 1),
        ([[1, 2, 3], [1, 2, 4], [5, 2], [6]], 3),
        ([[1], [1, 2], [1, 2, 3]], 2),
        ([[4, 4, 4, 4], [5]], 3),
    ],
)
def test_a_choice_is_as_likely_as_its_tokens_one_by_one(choices: list[list[int]], calls: int) -> None:
    engine = LanguageOfChance(30, 10)
    engine.forward(ASKED)
    before = engine.calls
    scored = alone(engine, score_choices(engine, ASKED.next_position, choices, END, lambda: True))
    assert scored is not None
    assert scored[1] == engine.calls - before == calls, "a call for every beginning that goes on"
    for ids, logprob in zip(choices, scored[0], strict=True):
        begins_another = any(other[: len(ids)] == ids and other != ids for other in choices)
        assert logprob == pytest.approx(forced(engine, ASKED, ids, begins_another, END), abs=1e-9)


def test_no_answer_counts_twice_and_probabilities_sum_to_one() -> None:
    engine = LanguageOfChance(30, 10)
    engine.forward(ASKED)
    choices = [[1], [1, 2], [2], [3], [4], [5], [6], [7], [8], [9], [0]]
    scored = alone(engine, score_choices(engine, ASKED.next_position, choices, [9], lambda: True))
    assert scored is not None
    result = ScoredChoices(tuple(map(str, choices)), tuple(scored[0]), scored[1])
    assert sum(result.probabilities) == pytest.approx(1)
    begins_with_one = 1 - sum(math.exp(one) for one in scored[0][2:])
    assert math.exp(scored[0][0]) + math.exp(scored[0][1]) < begins_with_one
    assert result.covered < 1


def test_very_unlikely_choices_have_probabilities_all_the_same() -> None:
    scored = ScoredChoices(("a", "b"), (-2000.0, -2001.0), 1)
    assert scored.probabilities == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e)])
    assert scored.covered == 0


class Odd(LanguageOfChance):
    """Has one number in place of the logit of token 1 behind more tokens than the question's."""

    def __init__(self, logit: float) -> None:
        super().__init__(30, 10)
        self._logit = logit

    def logits(self) -> np.ndarray:
        logits = super().logits()
        if self.length > len(ASKED):
            logits[1] = self._logit
        return logits


def test_what_is_no_number_in_a_branch_is_an_error() -> None:
    engine = Odd(math.nan)
    engine.forward(ASKED)
    with pytest.raises(EngineError, match="logits are no numbers"):
        alone(engine, score_choices(engine, 5, [[2, 3], [4]], END, lambda: True))


@pytest.mark.parametrize("choices", [[[2, 1], [4]], [[2, 1], [3, 1]]])
def test_a_record_of_what_cannot_be_is_read_again(choices: list[list[int]]) -> None:
    engine = Odd(-math.inf)
    engine.forward(ASKED)
    scored = alone(engine, score_choices(engine, 5, choices, END, lambda: True))
    assert scored is not None
    record = ChoiceRecord.of(ScoredChoices(("a", "b"), tuple(scored[0]), 1))
    assert record.logprobs["a"] == -9999
    assert sum(record.probabilities.values()) == 1
    assert ChoiceRecord.model_validate_json(record.model_dump_json()) == record


def test_choices_that_take_too_many_calls_are_refused_with_their_number() -> None:
    alike = [*range(MOST_CALLS - 2)]
    check_choices({"a": [*alike, 1, 2], "b": [*alike, 1, 3]})
    with pytest.raises(PromptError, match=r"these choices take 257 calls .* at most 256 are made"):
        check_choices({"a": [*alike, 1, 2], "b": [*alike, 1, 3], "c": [500, 1]})
    with pytest.raises(PromptError, match="these choices take 23,041 calls"):
        check_choices({str(first): [first] + 360 * [0] for first in range(64)})


def test_choices_of_the_same_tokens_are_refused() -> None:
    with pytest.raises(PromptError, match="the choices 'b' and 'c' are the same tokens to the model; leave out one"):
        check_choices({"a": [1], "b": [1, 2], "c": [1, 2]})


def test_whoever_gave_the_question_up_waits_for_no_more_calls() -> None:
    engine = LanguageOfChance(30, 10)
    engine.forward(ASKED)
    assert alone(engine, score_choices(engine, 5, [[1, 2], [3, 4]], END, lambda: False)) is None
    assert engine.calls == 1


@pytest.mark.onnxruntime
def test_an_engine_answers_with_the_likeliest_of_the_choices_and_reuses_the_video(
    micro_bundle: Bundle, clip: Path
) -> None:
    model = stts_runtime.load(micro_bundle.folder, engine="cpu")
    first, second = model.ask(clip, ["Who?", "What?"], choices=["top left", "top right", "no"])
    for answer in (first, second):
        assert answer.choices is not None
        assert list(answer.choices.probabilities) == ["top left", "top right", "no"]
        assert sum(answer.choices.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert answer.choices.probabilities[answer.answer] == max(answer.choices.probabilities.values())
        assert answer.finish == "end"
    assert second.reused_prefix
    assert model.ask(clip, "Who?").choices is None


@pytest.mark.onnxruntime
def test_whole_choices_are_as_likely_as_their_tokens_on_a_real_engine(micro_bundle: Bundle) -> None:
    engine, prompts = load_language(micro_bundle, "cpu"), PromptBuilder.of(micro_bundle)
    eos_ids = micro_bundle.manifest.prompt.eos_ids
    asked = prompts.question("Where?", Tokens(np.zeros(0, np.int64), np.zeros(0, np.int64), 0))
    choices = [prompts.answer(text) for text in ("top left", "top right", "no", "no one")]
    engine.forward(asked)
    scored = alone(engine, score_choices(engine, asked.next_position, choices, eos_ids, lambda: True))
    assert scored is not None
    for ids, logprob in zip(choices, scored[0], strict=True):
        begins_another = any(other[: len(ids)] == ids and other != ids for other in choices)
        assert logprob == pytest.approx(forced(engine, asked, ids, begins_another, eos_ids), abs=1e-4)


@pytest.mark.onnxruntime
@pytest.mark.parametrize("folder", sorted(DATA.glob("bundle-v*")), ids=lambda folder: folder.name)
def test_bundles_of_every_version_answer_with_choices(folder: Path) -> None:
    model = stts_runtime.load(folder, engine="cpu")
    frames = min(one.frames for one in model.bundle.answering.values())
    answer = model.ask(np.zeros((frames, 48, 64, 3), np.uint8), "Who?", frames=frames, choices="yes,no")
    assert answer.answer in ("yes", "no")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], r"choices should have from 2 to 64 of them, as yes,no has; got 0"),
        ("yes", r"choices should have from 2 to 64 of them, as yes,no has; got 1"),
        ("yes,yes ", r"choices\[1\] is 'yes', which choices\[0\] is already; name each once"),
        ("yes,,no", r"choices\[1\] is empty; a choice has at least one character"),
        ([str(number) for number in range(65)], r"choices should have from 2 to 64 of them, as yes,no has; got 65"),
        (["yes", 5], r"choices\[1\] should be text, got int"),
        (["a", "b" * 401], r"choices\[1\] has 401 characters, and a choice may have 400"),
        ([True, False], r"choices\[0\] should be text in quotes, for YAML reads yes and no as true and false"),
        (5, r"choices should be a list of texts, or a text such as yes,no"),
    ],
)
def test_wrong_choices_are_refused_with_their_place(given: object, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        checked_choices(given)


def test_choices_from_a_text_lose_their_blanks() -> None:
    assert checked_choices(" yes , not yet") == ("yes", "not yet")


@pytest.mark.parametrize(
    ("choice", "message"),
    [("<|im_end|>", "holds the reserved mark <|im_end|>"), ("漢" * 400, "these choices take 1,201 calls")],
)
@pytest.mark.onnxruntime
def test_choices_that_cannot_be_said_are_refused_before_the_video_is_looked_at(
    micro_bundle: Bundle, clip: Path, choice: str, message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        stts_runtime.load(micro_bundle.folder, engine="cpu").ask(clip, "Who?", choices=["no", choice])


def test_choices_exclude_what_would_change_them() -> None:
    with pytest.raises(UserError, match="leave out logprobs"):
        AnswerForm(choices=("yes", "no"), top_logprobs=1)
