"""Clips -> batches: frames, and every question of a clip in one sequence after its video.

All questions of a clip share its visual tokens, so one pass of the vision side teaches them all. They lie one after the
other, each in a segment of its own; the model is shown which tokens may see which (`objective`).
"""

from __future__ import annotations

import math
from multiprocessing.sharedctypes import Synchronized
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from stts_calib.clips import DURATION_SECONDS, Clip, ClipSet, Split
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
    worth_BTG: Tensor
    """How much there is to see in each group that the ground does not tell, 0 to 1 (`stts_calib.clips.motion`)."""
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


class TrainingBatches(Dataset[Batch]):
    """Batch `step` of a run, whichever worker makes it; `done` says how much of the run is over for the loop."""

    def __init__(self, recipe: Recipe, vision: VisionConfig, tokenizer: Tokenizer, done: Synchronized[float]) -> None:
        self._recipe, self._vision, self._tokenizer, self._done = recipe, vision, tokenizer.to_str(), done

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, step: int) -> Batch:
        setting = self._recipe.setting(step, self._done.value)
        return _made(self._recipe.clips(step, setting), self._vision, setting, self._tokenizer)


class ValidationBatches(Dataset[Batch]):
    """The same clips of both sets in every setting that is validated, a step's worth of them at a time."""

    def __init__(self, recipe: Recipe, vision: VisionConfig, tokenizer: Tokenizer) -> None:
        self._vision, self._tokenizer = vision, tokenizer.to_str()
        both = [(number, clip_set) for number in range(recipe.validation_clips) for clip_set in ClipSet]
        settings = dict.fromkeys(s if recipe.pruned else s._replace(keep=1.0) for s in recipe.validated_settings)
        self._parts = [
            (setting, both[start : start + recipe.clips_of(setting)])
            for setting in settings
            for start in range(0, len(both), recipe.clips_of(setting))
        ]

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Batch:
        setting, numbers = self._parts[index]
        clips = [Clip.make(Split.validation, number, clip_set) for number, clip_set in numbers]
        return _made(clips, self._vision, setting, self._tokenizer)


def _made(clips: list[Clip], vision: VisionConfig, setting: TrainingSetting, tokenizer: str) -> Batch:
    cv2.setNumThreads(1)
    return batch_of(clips, vision, setting, Writer(Tokenizer.from_str(tokenizer)))


def batch_of(clips: list[Clip], vision: VisionConfig, setting: TrainingSetting, writer: Writer) -> Batch:
    """A batch of these clips with all of their questions."""
    prefix = writer.prefix(setting.frames, vision.groups)
    rows = [_question_row(clip, prefix, writer) for clip in clips]
    length = -(-max(len(row[0]) for row in rows) // _PAD_TO) * _PAD_TO
    padding = (0, 0, 0, IGNORED)
    tokens, offsets, segments, targets = (
        torch.from_numpy(np.stack([_padded(row[part], length, padding[part]) for row in rows])) for part in range(4)
    )
    times = np.linspace(0, DURATION_SECONDS, setting.frames).tolist()
    return Batch(
        setting=setting,
        frames_BTHWC=_rendered(clips, times, vision.frame_size),
        worth_BTG=torch.from_numpy(np.stack([clip.worth(times, vision.groups_per_side) for clip in clips])),
        prefix_P=torch.from_numpy(prefix.ids),
        text_places=torch.from_numpy(np.flatnonzero(prefix.ids != writer.image_patch)),
        patch_places=torch.from_numpy(np.flatnonzero(prefix.ids == writer.image_patch)),
        tokens_BQ=tokens,
        offsets_BQ=offsets,
        segments_BQ=segments,
        targets_BQ=targets,
        kinds=[[question.kind for question in clip.questions] for clip in clips],
    )


def _rendered(clips: list[Clip], times_seconds: list[float], size: int) -> Tensor:
    """(B, T, size, size, 3) uint8, drawn where it stays: copying it costs as much as drawing."""
    shape = (len(clips), len(times_seconds), size, size, 3)
    # What a worker process makes is read from shared memory; torch's own collation makes it there in the same way.
    new = torch.UntypedStorage if get_worker_info() is None else torch.UntypedStorage._new_shared  # noqa: SLF001
    frames: Tensor = torch.empty(0, dtype=torch.uint8).set_(new(math.prod(shape))).view(shape)
    for clip, pictures in zip(clips, frames.numpy(), strict=True):
        clip.pictures(times_seconds, size, pictures)
    return frames


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
