"""Prompts of pruned windows: which tokens go, and which positions the others have."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from stts_runtime.bundle import Bundle
from stts_runtime.errors import BundleError, PromptError
from stts_runtime.prompt import PromptBuilder

TIMES = [0.0, 0.5, 12.25]
KEPT = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], dtype=np.bool_)


def builder(bundle: Bundle, positions: str = "original") -> PromptBuilder:
    prompt = bundle.manifest.prompt.model_copy(update={"positions": positions})
    return PromptBuilder((bundle.folder / prompt.tokenizer).read_bytes(), prompt)


def test_a_pruned_prompt_lacks_the_dropped_patches_alone(micro_bundle: Bundle) -> None:
    prompts, patch = builder(micro_bundle), micro_bundle.manifest.prompt.image_patch_id
    full = prompts.video(TIMES, np.ones_like(KEPT))
    pruned = prompts.video(TIMES, KEPT)
    assert (full.ids == patch).sum() == 12
    assert (pruned.ids == patch).sum() == 6
    assert pruned.ids[pruned.ids != patch].tolist() == full.ids[full.ids != patch].tolist()


def test_a_frame_with_nothing_kept_keeps_its_time_and_marks(micro_bundle: Bundle) -> None:
    prompt = micro_bundle.manifest.prompt
    ids = builder(micro_bundle).video(TIMES, KEPT).ids.tolist()
    starts = [place for place, token in enumerate(ids) if token == prompt.frame_start_id]
    assert len(starts) == 3
    assert ids[starts[1] + 1] == prompt.frame_end_id


def test_original_positions_are_those_of_the_unpruned_prompt(micro_bundle: Bundle) -> None:
    prompts = builder(micro_bundle)
    full, pruned = prompts.video(TIMES, np.ones_like(KEPT)), prompts.video(TIMES, KEPT)
    assert (full.ids[pruned.positions] == pruned.ids).all()
    assert pruned.next_position == len(full)
    asked = prompts.question("Who?", pruned)
    assert asked.positions[0] == len(full)
    assert (np.diff(asked.positions) == 1).all()


def test_compact_positions_have_no_gaps(micro_bundle: Bundle) -> None:
    prompts = builder(micro_bundle, "compact")
    pruned = prompts.video(TIMES, KEPT)
    assert pruned.positions.tolist() == list(range(len(pruned)))
    assert prompts.question("Who?", pruned).positions[0] == len(pruned)


def test_limits_that_were_saved_with_a_tokenizer_do_not_cut_prompts(micro_bundle: Bundle) -> None:
    prompt = micro_bundle.manifest.prompt
    limited = Tokenizer.from_file(str(micro_bundle.folder / prompt.tokenizer))
    limited.enable_truncation(16)
    limited.enable_padding(length=300)
    free, bound = builder(micro_bundle), PromptBuilder(limited.to_str().encode(), prompt)
    assert bound.video(TIMES, KEPT).ids.tolist() == free.video(TIMES, KEPT).ids.tolist()


def test_marks_that_the_tokenizer_does_not_know_are_refused(micro_bundle: Bundle) -> None:
    prompt = micro_bundle.manifest.prompt.model_copy(update={"image_patch_id": 7})
    with pytest.raises(BundleError, match="disagree about the prompt's marks"):
        PromptBuilder((micro_bundle.folder / prompt.tokenizer).read_bytes(), prompt).video(TIMES, KEPT)


@pytest.mark.parametrize("question", ["", "  \n", "a <im_patch> b", "x<|im_end|>y", "\udcff"])
def test_empty_questions_and_reserved_marks_are_refused(micro_bundle: Bundle, question: str) -> None:
    prompts = builder(micro_bundle)
    with pytest.raises(PromptError, match=r"empty|reserved mark|not valid UTF-8"):
        prompts.question(question, prompts.video(TIMES, KEPT))


def test_a_tokenizer_whose_patterns_never_end_is_told(micro_bundle: Bundle) -> None:
    prompt = micro_bundle.manifest.prompt
    content = json.loads((micro_bundle.folder / prompt.tokenizer).read_text())
    pattern = {"Regex": "(a+)+$"}
    content["pre_tokenizer"] = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    hostile = PromptBuilder(json.dumps(content).encode(), prompt)
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot split this text: .*retry-limit"):
        hostile.check_question("a" * 40 + "!")
