"""Clips and their questions as tokens: unpruned prefixes side by side, and all questions of a clip in one row.

After each question there is room for its answer, which the unpruned model writes (`lesson`). Prefixes differ in
length, since times do; what is padded has the segment `PADDING`, which nothing else sees.

Shape suffixes: B clips, P tokens of the longest prefix, V image patches of a prefix, Q tokens of the questions' row,
n questions of all clips together.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stts_export.checkpoint import Checkpoint
from stts_export.molmo2.marks import prompt_record
from stts_export.scorer_training.batches import Clips
from stts_runtime.bundle.manifest import Positions
from stts_runtime.prompt import PromptBuilder, Tokens

PADDING = -1
ANSWER = 16
"""Tokens of an answer, at most."""


class Prefixes(NamedTuple):
    ids_BP: Tensor
    is_text_BP: Tensor
    """Everything but image patches and padding."""
    patch_places_BV: Tensor
    segments_BP: Tensor
    """0, or `PADDING`."""


class Asked(NamedTuple):
    ids_BQ: Tensor
    """With room for answers."""
    positions_BQ: Tensor
    segments_BQ: Tensor
    """1 for a clip's first question, and so on, or `PADDING`."""
    last_n: Tensor
    """Where, in the flattened rows, each question ends: what is predicted there opens the answer."""


class Prompts:
    """Writes for one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, positions: Positions) -> None:
        text, markers = checkpoint.text, checkpoint.config.markers
        record = prompt_record(text.opening, text.eos_ids, markers, positions, "tokenizer.json")
        self._prompts = PromptBuilder(text.tokenizer, record)
        self._groups, self._patch = checkpoint.config.vision.groups, markers.image_patch
        self.ends = torch.tensor(text.eos_ids)
        # Clips of one length share their times, and writing thousands of marks takes its time.
        self._video = functools.lru_cache(maxsize=256)(self._unpruned)

    def check(self, question: str) -> None:
        """Raises `PromptError` for a question that cannot be asked."""
        self._prompts.check_question(question)

    def of(self, clips: Clips) -> tuple[Prefixes, Asked]:
        videos = [self._video(tuple(times)) for times in clips.times_seconds]
        prefixes = self._prefixes([torch.from_numpy(video.ids) for video in videos])
        rows = [
            [torch.from_numpy(self._prompts.question(text, video).ids) for text in questions]
            for questions, video in zip(clips.questions, videos, strict=True)
        ]
        return prefixes, _asked(rows, [video.next_position for video in videos])

    def _unpruned(self, times_seconds: tuple[float, ...]) -> Tokens:
        return self._prompts.video(times_seconds, np.ones((len(times_seconds), self._groups), dtype=np.bool_))

    def _prefixes(self, rows: list[Tensor]) -> Prefixes:
        ids_BP, is_there_BP = _padded(rows, 0), _padded([torch.ones_like(row) for row in rows], 0).bool()
        is_patch_BP = ids_BP == self._patch
        places_BV = torch.stack([is_patch.nonzero().flatten() for is_patch in is_patch_BP])
        segments_BP = torch.where(is_there_BP, 0, PADDING)
        return Prefixes(ids_BP, is_there_BP & ~is_patch_BP, places_BV, segments_BP)


def _asked(rows: list[list[Tensor]], first_positions: list[int]) -> Asked:
    """`rows` has the questions of each clip, and `first_positions` where text continues after its video."""
    room = torch.zeros(ANSWER - 1, dtype=torch.long)
    with_room = [[torch.cat((question, room)) for question in row] for row in rows]
    segments = [
        torch.cat([torch.full_like(question, number) for number, question in enumerate(row, start=1)])
        for row in with_room
    ]
    positions = [
        torch.cat([first + torch.arange(len(question)) for question in row])
        for row, first in zip(with_room, first_positions, strict=True)
    ]
    ids_BQ = _padded([torch.cat(row) for row in with_room], 0)
    ends = [
        clip * ids_BQ.shape[1] + end - ANSWER
        for clip, row in enumerate(with_room)
        for end in np.cumsum([len(question) for question in row]).tolist()
    ]
    return Asked(ids_BQ, _padded(positions, 0), _padded(segments, PADDING), torch.tensor(ends))


def _padded(rows: list[Tensor], filler: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=filler)


def kept_prefixes(prefixes: Prefixes, kept_BK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The kept tokens: ids, places in the unpruned prefix (also their positions), and segments."""
    patches_BK = prefixes.patch_places_BV.gather(1, kept_BK)
    stays_BP = prefixes.is_text_BP.scatter(1, patches_BK, value=True)
    most = int(stays_BP.sum(dim=1).max())
    # Those that stay come first, in their order.
    places_BS = (~stays_BP).byte().argsort(dim=1, stable=True)[:, :most]
    segments_BS = torch.where(stays_BP.gather(1, places_BS), 0, PADDING)
    # A dropped patch in the padding would be counted as an image.
    ids_BS = torch.where(segments_BS == 0, prefixes.ids_BP.gather(1, places_BS), 0)
    return ids_BS, places_BS, segments_BS
