"""Clips -> batches: frames, and every question of a clip in one sequence behind its video.

All questions of a clip share its visual tokens, so one pass of the vision side teaches them all. They lie one after the
other, each in a segment of its own; the model is shown which tokens may see which (`objective`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from stts_calib.clips import Clip, Split
from stts_export.modules.config import VisionConfig
from stts_export.training.recipe import Recipe, TrainingSetting
from stts_export.training.writer import Writer
from stts_runtime.prompt import Tokens

IGNORED = -100
_PAD_TO = 16


class Batch(NamedTuple):
    """Shape suffixes: B clips, T frames, P tokens of the unpruned video prefix, Q tokens of questions and answers."""

    setting: TrainingSetting
    frames_BTHWC: Tensor
    prefix_P: Tensor
    text_places: Tensor
    """Where in the prefix text and marks stand; below, one place for each group of each frame."""
    patch_places: Tensor
    tokens_BQ: Tensor
    offsets_BQ: Tensor
    """Positions from the end of the prefix on."""
    segments_BQ: Tensor
    """1 for a clip's first question, and so on; 0 for padding."""
    targets_BQ: Tensor
    """The token that comes next, where an answer is to be learned; else `IGNORED`."""
    kinds: list[list[str]]
    """The kinds of each clip's questions."""


class Batches(Dataset[Batch]):
    """Batch `step` of a run: clips `step * clips` and following, whichever worker makes it."""

    def __init__(self, recipe: Recipe, vision: VisionConfig, tokenizer: Tokenizer) -> None:
        self._recipe, self._vision, self._tokenizer = recipe, vision, tokenizer.to_str()

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, step: int) -> Batch:
        cv2.setNumThreads(1)
        recipe = self._recipe
        first = (recipe.seed * recipe.steps + step) * recipe.clips_per_step
        clips = [Clip.make(Split.train, first + number) for number in range(recipe.clips_per_step)]
        return batch_of(clips, self._vision, recipe.setting(step), Writer(Tokenizer.from_str(self._tokenizer)))


def batch_of(clips: list[Clip], vision: VisionConfig, setting: TrainingSetting, writer: Writer) -> Batch:
    """A batch of these clips with all of their questions."""
    prefix = writer.prefix(setting.frames, vision.groups)
    rows = [_question_row(clip, prefix, writer) for clip in clips]
    length = -(-max(len(row[0]) for row in rows) // _PAD_TO) * _PAD_TO
    padding = (0, 0, 0, IGNORED)
    tokens, offsets, segments, targets = (
        torch.from_numpy(np.stack([_padded(row[part], length, padding[part]) for row in rows])) for part in range(4)
    )
    frames = np.stack([clip.window(setting.frames, vision.frame_size).frames for clip in clips])
    return Batch(
        setting=setting,
        frames_BTHWC=torch.from_numpy(frames),
        prefix_P=torch.from_numpy(prefix.ids),
        text_places=torch.from_numpy(np.flatnonzero(prefix.ids != writer.image_patch)),
        patch_places=torch.from_numpy(np.flatnonzero(prefix.ids == writer.image_patch)),
        tokens_BQ=tokens,
        offsets_BQ=offsets,
        segments_BQ=segments,
        targets_BQ=targets,
        kinds=[[question.kind for question in clip.questions] for clip in clips],
    )


def _question_row(clip: Clip, prefix: Tokens, writer: Writer) -> list[list[int]]:
    """Tokens, offsets, segments and targets of one clip's questions."""
    row: list[list[int]] = [[], [], [], []]
    for number, question in enumerate(clip.questions, start=1):
        asked, answer = writer.question(question.text, prefix).tolist(), writer.answer(question.answer)
        # The closing mark is learned, and nothing comes after it.
        tokens = [*asked, *answer[:-1]]
        row[0] += tokens
        row[1] += range(len(tokens))
        row[2] += [number] * len(tokens)
        row[3] += [*[IGNORED] * (len(asked) - 1), *answer]
    return row


def _padded(values: list[int], length: int, filler: int) -> NDArray[Any]:
    return np.array([*values, *[filler] * (length - len(values))], dtype=np.int64)
