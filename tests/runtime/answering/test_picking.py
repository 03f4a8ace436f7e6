"""Which tokens are taken: greedy as ever, drawn with a seed, and how likely each was."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stts_runtime
from stts_runtime.answering import AnswerForm, Sampling
from stts_runtime.answering.choices import log_softmax
from stts_runtime.answering.picking import Picker
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_runtime.model import Model
from stts_runtime.prompt import PromptBuilder


class Fixed:
    """An engine with one distribution. Whoever asks for it is counted."""

    def __init__(self, probabilities: list[float]) -> None:
        self._logits = np.log(np.array(probabilities, np.float32)) + 4
        self.asked = 0

    def logits(self) -> np.ndarray:
        self.asked += 1
        return self._logits


def taken(form: AnswerForm, probabilities: list[float], count: int = 2000) -> tuple[Counter[int], Fixed]:
    engine: Any = Fixed(probabilities)
    picker, likeliest = Picker(form), int(np.argmax(probabilities))
    return Counter(picker.take(engine, likeliest, 10)[0] for _ in range(count)), engine


@pytest.fixture(scope="module")
def model(micro_bundle: Bundle) -> Model:
    return stts_runtime.load(micro_bundle.folder, engine="cpu")


def test_free_text_asks_the_engine_for_no_logits() -> None:
    counts, engine = taken(AnswerForm(), [0.1, 0.6, 0.3], 5)
    assert counts == {1: 5}
    assert engine.asked == 0


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    counts, _ = taken(AnswerForm(Sampling(1.0, seed=1)), [0.1, 0.6, 0.3], 4000)
    assert [counts[token] / 4000 for token in range(3)] == pytest.approx([0.1, 0.6, 0.3], abs=0.03)


def test_a_temperature_flattens_or_sharpens() -> None:
    counts, _ = taken(AnswerForm(Sampling(0.5, seed=1)), [0.2, 0.8], 4000)
    assert counts[0] / 4000 == pytest.approx(0.04 / 0.68, abs=0.02)


def test_top_p_leaves_the_unlikely_out() -> None:
    counts, _ = taken(AnswerForm(Sampling(1.0, top_p=0.8, seed=1)), [0.1, 0.6, 0.3])
    assert set(counts) == {1, 2}
    assert set(taken(AnswerForm(Sampling(2.0, top_p=0.4, seed=1)), [0.1, 0.6, 0.3])[0]) == {1}
    assert set(taken(AnswerForm(Sampling(2.0, top_p=0.0)), [0.1, 0.6, 0.3])[0]) == {1}


@pytest.mark.parametrize("temperature", [1e-5, 1e-50, 5e-324])
def test_the_lowest_temperatures_take_the_likeliest(temperature: float) -> None:
    assert set(taken(AnswerForm(Sampling(temperature, seed=1)), [0.1, 0.6, 0.3], 50)[0]) == {1}


@pytest.mark.parametrize("seed", [0, -5, 1 << 80])
def test_the_same_seed_draws_the_same(seed: int) -> None:
    form = AnswerForm(Sampling(2.0, seed=seed))
    drawn = [[Picker(form)._picked(Fixed([0.2, 0.3, 0.5]), 2)] for _ in range(2)]  # type: ignore[arg-type]
    assert drawn[0] == drawn[1]


@pytest.mark.onnxruntime
def test_temperature_0_is_the_greedy_text_and_a_seed_gives_the_same_text_twice(model: Model, clip: Path) -> None:
    plain = model.ask(clip, "What happens?", max_tokens=12)
    assert model.ask(clip, "What happens?", max_tokens=12, temperature=0).answer == plain.answer
    one, again, other = (
        model.ask(clip, "What happens?", max_tokens=12, temperature=1.5, seed=seed).answer for seed in (3, 3, 4)
    )
    assert one == again
    assert len({one, other, plain.answer}) == 3


@pytest.mark.onnxruntime
def test_log_probabilities_are_those_of_the_answers_tokens(model: Model, clip: Path) -> None:
    answer = model.ask(clip, "What happens?", max_tokens=6, top_logprobs=3)
    assert answer.answer == model.ask(clip, "What happens?", max_tokens=6).answer
    assert answer.logprobs is not None
    assert len(answer.logprobs) == answer.tokens.generated - (answer.finish == "end")
    for one in answer.logprobs:
        assert one.token == one.top_logprobs[0].token, "greedy"
        assert one.logprob == one.top_logprobs[0].logprob >= one.top_logprobs[1].logprob
        assert len(one.top_logprobs) == 3
        assert sum(math.exp(top.logprob) for top in one.top_logprobs) <= 1 + 1e-6
    said = b"".join(bytes(one.bytes) for one in answer.logprobs)
    assert said.decode(errors="replace").strip() == answer.answer


def test_a_tokens_bytes_are_what_it_adds_to_the_text(micro_bundle: Bundle) -> None:
    prompts = PromptBuilder.of(micro_bundle)
    for text in ("top left", "a  b\n", "Füße 漢字 🚲", '{"a": 1}'):
        assert b"".join(prompts.token_bytes(one) for one in prompts.answer(text)).decode() == text
    assert prompts.token_bytes(micro_bundle.manifest.prompt.frame_start_id) == b"<frame_start>"


def test_log_softmax_takes_logits_of_any_size() -> None:
    assert np.exp(log_softmax(np.array([1e4, 1e4 - 1, -1e30], np.float32))).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 2.5}, "temperature should be a number from 0 to 2, got 2.5"),
        ({"temperature": math.nan}, "temperature should be a number from 0 to 2, got nan"),
        ({"temperature": 10**400}, "temperature should be a number from 0 to 2, got inf"),
        ({"temperature": "hot"}, "temperature should be a number, got 'hot'"),
        ({"top_p": -1}, "top_p should be a number from 0 to 1, got -1"),
        ({"seed": 1.5}, "seed should be a whole number, got 1.5"),
        ({"top_logprobs": 21}, "top_logprobs should be a number from 0 to 20, got 21"),
        ({"tempature": 1}, "there is no setting 'tempature' for an answer; there are choices, schema, "),
    ],
)
def test_settings_out_of_range_are_refused(micro_bundle: Bundle, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Model(micro_bundle, "cpu").forms.of(settings)
    assert str(caught.value).startswith(message)
