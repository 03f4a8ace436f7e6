"""A tokenizer for what the small model reads and says: whole words of the questions, bytes for all else."""

from __future__ import annotations

import json

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from stts_calib.clips import DURATION_SECONDS, Clip, ClipSet, Split
from stts_calib.clips.pointing import PLACES
from stts_tools.checkpoints.byte_tokenizer import byte_level_tokenizer

_CLIPS = 400
"""Clips of each set."""
_MERGES = 480


def learned_tokenizer() -> Tokenizer:
    """Byte pairs merged as the questions, answers and times of training clips have them; always the same."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + _MERGES, initial_alphabet=alphabet, min_frequency=2, show_progress=False
    )
    learner.train_from_iterator(_texts(), trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return byte_level_tokenizer(merges=[(first, second) for first, second in merges])


def _texts() -> list[str]:
    clips = [Clip.make(Split.train, number, clip_set) for number in range(_CLIPS) for clip_set in ClipSet]
    spoken = [text for clip in clips for question in clip.questions for text in (question.text, question.answer)]
    times = [text for second in range(int(DURATION_SECONDS) + 1) for text in (f"{second}", f" {second}.0 ")]
    # Each place that a point can have is a word, however rare it is.
    places = [f" {place}" for place in PLACES]
    return [*spoken, *times * 10, *places * 40, *["user\n", "assistant\n"] * 10]
