"""The taught checkpoint on disk: every weight as it was stored, the new scorer, and how it was taught."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from stts_export.checkpoint import Checkpoint
from stts_export.checkpoint.importing import files_of
from stts_export.checkpoint.lazy_weights import placeholder
from stts_export.checkpoint.tokenizer import read_tokenizer
from stts_export.checkpoint.write import write_checkpoint
from stts_export.modules.config import ScorerConfig
from stts_export.molmo2.config_json import config_json
from stts_export.molmo2.marks import mark_ids
from stts_export.molmo2.names import SCORER
from stts_export.scorer_training.frozen import without_scorer
from stts_runtime.bundle.manifest import Positions
from stts_runtime.bundle.publish import Replaceable
from stts_runtime.tell import TellStep


def write_taught(
    checkpoint: Checkpoint,
    scorer: ScorerConfig,
    weights: Mapping[str, Tensor],
    positions: Positions,
    out: Path,
    beside: Mapping[str, bytes],
    replaceable: Replaceable,
    tell: TellStep,
) -> None:
    """A Hugging Face folder of the newer generation. `weights` are the scorer's, which are written in float32; all
    others come out of the files that they are in, one at a time, in the types that they are stored in.
    """
    plain = without_scorer(checkpoint).lazy()
    shapes = {**plain.vision.state_dict(), **plain.language.state_dict()}
    like: dict[str, Tensor] = {name: placeholder(one.shape, plain.dtypes[name]) for name, one in shapes.items()}
    stored_as = str(like["vision_tower.positional_embedding"].dtype).removeprefix("torch.")
    taught = {f"{SCORER}{name}": weight.detach().to("cpu", torch.float32) for name, weight in weights.items()}
    like |= taught
    counter = itertools.count(1)

    def read(name: str) -> Tensor:
        tell("writing weights", next(counter), len(like))
        return taught[name] if name in taught else plain.read(name)

    config = config_json(
        replace(plain.vision.config, scorer=scorer),
        mark_ids(read_tokenizer(checkpoint.tokenizer)),
        stored_as,
        positions,
        checkpoint.hf_config.random_weights,
    )
    write_checkpoint(out, config, like, read, {**files_of(checkpoint), **beside}, replaceable)
