"""Stored weights -> the weights of our modules, whole and exact: missing, extra and mis-shaped ones are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from stts_export.checkpoint.names import own_name
from stts_export.checkpoint.weight_files import WeightFiles
from stts_export.errors import CheckpointError
from stts_export.modules.config import ModelConfig

_NAMES_SHOWN = 4
_VIT_LAYER = re.compile(r"^vision_tower\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Stored:
    """One of our weights, as it can be had from the files."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]


def stored_weights(files: WeightFiles, config: ModelConfig) -> dict[str, Stored]:
    """All weights of the files under our names, with fused ones split."""
    found: dict[str, Stored] = {}
    for stored in files:
        for name, weight in _unfused(own_name(stored), stored, files, config):
            if name in found:
                raise CheckpointError(f"weight {name} is stored twice, the second time as {stored}")
            found[name] = weight
    return found


def _unfused(name: str, stored: str, files: WeightFiles, config: ModelConfig) -> list[tuple[str, Stored]]:
    text, shape = config.text, files.shape(stored)
    queries, keys = text.heads * text.head_width, text.kv_heads * text.head_width

    def split(parts: list[tuple[str, int]]) -> list[tuple[str, Stored]]:
        if not shape or sum(size for _, size in parts) != shape[0]:
            sizes = " + ".join(str(size) for _, size in parts)
            raise CheckpointError(f"weight {stored} has shape {list(shape)}, expected {sizes} rows")
        rows, start = [], 0
        for part, size in parts:
            rows.append((part, Stored((size, *shape[1:]), partial(files.read, stored, slice(start, start + size)))))
            start += size
        return rows

    if ".self_attn.att_proj." in name:
        return split([(name.replace("att_proj", f"{x}_proj"), queries if x == "q" else keys) for x in "qkv"])
    if ".mlp.ff_proj." in name:
        return split([(name.replace("ff_proj", f"{x}_proj"), text.mlp_width) for x in ("up", "gate")])
    if name == "language_model.embed_tokens.weight":
        base = name.removesuffix(".weight")
        return split([(f"{base}.base", text.vocab), (f"{base}.extra", text.extra_vocab)])
    return [(name, Stored(shape, partial(files.read, stored)))]


def checked(found: dict[str, Stored], wanted: Mapping[str, Tensor], config: ModelConfig) -> list[str]:
    """Notes on weights that are ignored. Raises `CheckpointError` unless all others are wanted, and fit exactly."""
    ignored, notes = _ignorable(found, config)
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys() - ignored)
    misshaped = [
        f"{name} is {list(found[name].shape)}, expected {list(wanted[name].shape)}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name].shape != tuple(wanted[name].shape)
    ]
    complaints = [
        f"{len(names)} {what}: {', '.join(names[:_NAMES_SHOWN])}{', ...' if len(names) > _NAMES_SHOWN else ''}"
        for what, names in (("missing", missing), ("unknown", extra), ("of the wrong shape", misshaped))
        if names
    ]
    if complaints:
        raise CheckpointError(f"the checkpoint's weights do not fit its config.json: {'; '.join(complaints)}")
    return notes


def _ignorable(found: Mapping[str, Stored], config: ModelConfig) -> tuple[set[str], list[str]]:
    """Weights that a whole checkpoint may hold and this model does not need."""
    deeper = {
        name for name in found if (match := _VIT_LAYER.match(name)) and int(match.group(1)) >= config.vision.layers
    }
    scorer = {name for name in found if config.scorer is None and name.startswith("temporal_token_scorer.")}
    notes = []
    if deeper:
        notes.append(f"ignored {len(deeper)} weights of vision layers deeper than {config.vision.layers - 1}")
    if scorer:
        notes.append("ignored the scorer's weights, since config.json asks for no pruning")
    tied = {"lm_head.weight"} & found.keys() if config.text.tied else set()
    if tied and not torch.equal(found["lm_head.weight"].read(), found["language_model.embed_tokens.base"].read()):
        raise CheckpointError(
            "config.json ties the output head to the embedding, but the stored lm_head.weight differs"
        )
    return deeper | scorer | tied, notes
