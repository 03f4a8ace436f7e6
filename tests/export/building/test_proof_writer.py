"""The proof that a bundle gets: it has room, its prompt is a real question, and it follows the answer to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stts_export.building.proof_writer import about_proof
from stts_export.checkpoint import open_checkpoint
from stts_export.graphs.expect import Expectation, example_prompt, expect_language
from stts_export.molmo2.marks import prompt_record
from stts_runtime.budget import TokenBudget
from stts_runtime.prompt import PromptBuilder
from stts_runtime.references.arrays import write_arrays
from stts_runtime.references.geometry import Geometry
from stts_runtime.references.layout import COLOURS, specs_of
from stts_runtime.references.reference import MAX_PROOF_BYTES, PROOF

MOLMO2 = Geometry(378, 14, 81, 2560, 151_936, {}, {})
AskedOf = Callable[[int, list[int]], list[Expectation]]
"""What a context and ends of answers give."""


def molmo2_with(windows: list[TokenBudget]) -> Geometry:
    return replace(MOLMO2, windows={budget.name: budget for budget in windows})


def example_calls() -> list[Expectation]:
    visual = np.zeros((8, 2560), dtype=np.float32)
    visual[:3] = 1
    ids = [np.zeros(length, dtype=np.int64) for length in (8, 3, *[1] * 7)]
    rows = np.arange(3)
    return [Expectation({"token_ids": one, "visual_tokens": visual, "visual_rows": rows}, {}) for one in ids]


def test_a_proof_of_molmo2s_size_fits_in_two_megabytes(tmp_path: Path) -> None:
    keeps = (1, 0.7, 0.5, 0.3)
    geometry = molmo2_with([TokenBudget(frames, 81, keep) for frames in (64, 128) for keep in keeps])
    about = about_proof(geometry, "0" * 64, example_calls())
    assert about.vision == list(geometry.windows)
    rng = np.random.default_rng(0)
    arrays = {
        name: np.frombuffer(rng.bytes(spec.size_bytes), spec.dtype).reshape(spec.shape)
        for name, spec in specs_of(about, geometry).items()
    }
    write_arrays(tmp_path / PROOF, arrays)
    assert 1_000_000 < (tmp_path / PROOF).stat().st_size < MAX_PROOF_BYTES
    assert specs_of(about, geometry)[COLOURS].size_bytes / 128 < 150_000 / 64


def test_the_longest_windows_are_left_out_where_there_is_no_room() -> None:
    geometry = molmo2_with([TokenBudget(frames, 81, 1) for frames in (16, 1024)])
    values = about_proof(geometry, "0" * 64, example_calls()).values
    assert (values.left_out, values.frames) == (["full-t1024"], 16)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def asked_of_micro(micro_checkpoint: Path) -> AskedOf:
    checkpoint = open_checkpoint(micro_checkpoint)
    language, text, markers = checkpoint.load().language, checkpoint.text, checkpoint.config.markers
    prompt = prompt_record(text.opening, text.eos_ids, markers, "original", "tokenizer.json")
    shown = np.full((40, language.config.width), 1e6, dtype=np.float32)
    shown[0] = 0

    def asked(context: int, eos_ids: list[int]) -> list[Expectation]:
        prompted = example_prompt(PromptBuilder(text.tokenizer, prompt), shown, context)
        return expect_language(language, prompted, eos_ids, context, 40)

    return asked


@pytest.mark.parametrize(("room", "calls"), [(0, 1), (1, 2), (2, 3), (200, 9)])
def test_the_prompt_of_a_proof_is_a_question_about_the_models_own_visual_tokens(
    asked_of_micro: AskedOf, room: int, calls: int
) -> None:
    prefix = len(asked_of_micro(512, [])[0].inputs["token_ids"])
    expected = asked_of_micro(prefix + room, [])
    shown = expected[0].inputs["visual_tokens"]
    assert len(expected) == calls
    assert sum(len(call.inputs["token_ids"]) for call in expected) <= prefix + room
    assert expected[0].inputs["visual_rows"].max() == 31
    assert (shown[1:32] == 65504).all()
    assert not shown[[0, *range(32, len(shown))]].any()
    assert about_proof(MOLMO2, "0" * 64, expected).values.visual_rows == 32  # type: ignore[union-attr]


def test_a_proof_follows_an_answer_to_its_end_but_takes_in_one_token(asked_of_micro: AskedOf) -> None:
    answer = [call.outputs["next_token"].item() for call in asked_of_micro(512, [])[1:]]
    assert len(asked_of_micro(512, answer)) == 3
