"""A LoRA adapter as PEFT saves it -> what it makes of each weight that it changes.

Source: peft 0.21, `tuners/lora/layer.py` and `dora.py` for the arithmetic, `utils/save_and_load.py` for the names. It
knows no checkpoint: modules have the names that they had in training.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from stts_export.checkpoint.safetensors_files import SafetensorsFiles
from stts_export.checkpoint.weight_source import WeightSource
from stts_export.errors import CheckpointError
from stts_export.json_files import Section, read_json
from stts_runtime.places import check_folder, is_there, shown

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_REFUSED = (
    "lora_bias", "use_qalora", "alora_invocation_tokens", "layer_replication", "target_parameters",
    "trainable_token_indices", "use_bdlora", "arrow_config", "monteclora_config", "kasa_config",
)  # fmt: skip
"""Settings that make something else of an adapter than a product added to a weight."""
_KEEPS_THE_BASE = (True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights`; with others the training began by taking something off the base's weights."""
_WRAPPED = re.compile(r"\.(?:base_layer|modules_to_save)\b")
_LOW_RANK = re.compile(r"(.+)\.lora_(A|B|embedding_A|embedding_B|magnitude_vector)(?:\.weight)?")


class AdapterConfig(Section):
    """`adapter_config.json`. Which modules were targets, and where, the tensors tell."""

    model_config = ConfigDict(extra="allow")

    peft_type: str
    base_model_name_or_path: str | None = None
    r: Annotated[int, Field(ge=1)] = 8
    lora_alpha: float = 8
    use_rslora: bool = False
    use_dora: bool = False
    rank_pattern: dict[str, Annotated[int, Field(ge=1)]] | None = None
    alpha_pattern: dict[str, float] | None = None
    init_lora_weights: bool | str | None = True

    def check_mergeable(self, path: Path) -> None:
        """Raises `CheckpointError` for what is more, or other, than products added to weights."""
        if self.peft_type != "LORA":
            raise CheckpointError(f"{path}: peft_type {self.peft_type} cannot be merged, only LORA can")
        if asked := [name for name in _REFUSED if (self.model_extra or {}).get(name)]:
            raise CheckpointError(f"{path}: an adapter with {asked[0]} cannot be merged")
        if self.init_lora_weights is not None and self.init_lora_weights not in _KEEPS_THE_BASE:
            raise CheckpointError(
                f"{path}: init_lora_weights {self.init_lora_weights!r} began by changing the base's weights, so the "
                "adapter cannot be merged into the base; let peft convert it: "
                "save_pretrained(..., path_initial_model_for_weight_conversion=...)"
            )

    def rank(self, module: str) -> int:
        return int(_of_pattern(self.rank_pattern or {}, module, self.r))

    def scaling(self, module: str) -> float:
        rank = self.rank(module)
        return _of_pattern(self.alpha_pattern or {}, module, self.lora_alpha) / (
            math.sqrt(rank) if self.use_rslora else rank
        )


def _of_pattern(patterns: dict[str, int] | dict[str, float], module: str, default: float) -> float:
    """As peft's `get_pattern_key`: the first pattern that is the module's name, or its end from a dot on."""
    try:
        return next((value for one, value in patterns.items() if re.match(rf"(.*\.)?({one})$", module)), default)
    except re.error as error:
        raise CheckpointError(f"{CONFIG}: the pattern {error.pattern!r} is not a regular expression: {error}") from None


@dataclass(frozen=True)
class LowRank:
    """A product that is added to a weight, by the names of its matrices in the file."""

    down: str
    """(rank, in)"""
    up: str
    """(out, rank)"""
    scaling: float
    magnitude: str | None
    """(out): what rows are scaled to after that, of DoRA."""
    is_embedding: bool
    """The weight has a row for each input."""


@dataclass(frozen=True)
class Change:
    """What becomes of one weight."""

    files: WeightSource
    shape: tuple[int, ...]
    replacement: str | None
    """The name in the file of what takes the weight's place."""
    low_rank: LowRank | None

    def applied(self, weight: Tensor, rows: slice) -> Tensor:
        """`weight` are those rows of the base, float32; so is the result."""
        if self.replacement is not None:
            weight = self.files.read(self.replacement, rows)
        if self.low_rank is None:
            return weight
        down, up = self.files.read(self.low_rank.down), self.files.read(self.low_rank.up)
        product = (up @ down[:, rows]).T if self.low_rank.is_embedding else up[rows] @ down
        merged = weight + product * self.low_rank.scaling
        if self.low_rank.magnitude is None:
            return merged
        lengths: Tensor = torch.linalg.norm(merged, dim=1, keepdim=True)
        return self.files.read(self.low_rank.magnitude).flatten()[rows, None] / lengths * merged


@dataclass(frozen=True)
class Adapter:
    folder: Path
    config: AdapterConfig
    changes: dict[str, Change]
    """By the name of the weight in the model that was trained."""


def open_adapter(folder: Path) -> Adapter:
    """Raises `CheckpointError` for what is no adapter, is damaged, or cannot be merged, by name."""
    check_folder(folder, CheckpointError, "an adapter, which is a folder")
    if not is_there(folder / CONFIG, CheckpointError):
        raise CheckpointError(f"{shown(folder)} is not an adapter: it holds no {CONFIG}")
    config = read_json(folder / CONFIG, AdapterConfig)
    config.check_mergeable(folder / CONFIG)
    if not is_there(folder / WEIGHTS, CheckpointError) and is_there(folder / "adapter_model.bin", CheckpointError):
        raise CheckpointError(
            f"{shown(folder)} holds adapter_model.bin, a pickle, which is not read; write it as safetensors: "
            "save_pretrained(..., safe_serialization=True)"
        )
    return Adapter(folder, config, _changes(SafetensorsFiles(folder, WEIGHTS), config))


def _changes(files: WeightSource, config: AdapterConfig) -> dict[str, Change]:
    replacements: dict[str, str] = {}
    matrices: dict[str, dict[str, str]] = {}
    for name in files:
        plain = _WRAPPED.sub("", name).removeprefix("base_model.model.")
        if found := _LOW_RANK.fullmatch(plain):
            matrices.setdefault(found[1], {})[found[2]] = name
        elif ".lora_" in plain:
            raise CheckpointError(f"{WEIGHTS} holds {name}, which cannot be merged")
        else:
            replacements[plain] = name
    products = {f"{module}.weight": _low_rank(module, parts, files, config) for module, parts in matrices.items()}
    if not products and not replacements:
        raise CheckpointError(f"{WEIGHTS} holds no weights")
    return {
        name: Change(files, _shape(name, products, replacements, files), replacements.get(name), products.get(name))
        for name in sorted(products.keys() | replacements.keys())
    }


def _low_rank(module: str, parts: dict[str, str], files: WeightSource, config: AdapterConfig) -> LowRank:
    is_embedding = "embedding_A" in parts or "embedding_B" in parts
    kinds = ("embedding_A", "embedding_B") if is_embedding else ("A", "B")
    if missing := [kind for kind in kinds if kind not in parts]:
        raise CheckpointError(f"{WEIGHTS} holds no {module}.lora_{missing[0]}, though the other matrix is there")
    if config.use_dora != ("magnitude_vector" in parts) or (config.use_dora and is_embedding):
        raise CheckpointError(f"{module}: use_dora is {config.use_dora}, which does not go with its matrices")
    down, up = (files.shape(parts[kind]) for kind in kinds)
    rank = config.rank(module)
    if not (len(down) == len(up) == 2 and down[0] == up[1] == rank):
        raise CheckpointError(f"{module}: matrices of shape {list(down)} and {list(up)} are not a LoRA of rank {rank}")
    magnitude = parts.get("magnitude_vector")
    if magnitude and math.prod(files.shape(magnitude)) != up[0]:
        raise CheckpointError(f"{module}: {list(files.shape(magnitude))} magnitudes for {up[0]} rows")
    return LowRank(parts[kinds[0]], parts[kinds[1]], config.scaling(module), magnitude, is_embedding)


def _shape(
    name: str, products: dict[str, LowRank], replacements: dict[str, str], files: WeightSource
) -> tuple[int, ...]:
    """Shape of the weight that is changed."""
    found = {files.shape(replacements[name])} if name in replacements else set()
    if product := products.get(name):
        out, into = files.shape(product.up)[0], files.shape(product.down)[1]
        found.add((into, out) if product.is_embedding else (out, into))
    if len(found) > 1:
        raise CheckpointError(f"{WEIGHTS} holds {name} and a LoRA of another shape for it")
    return found.pop()
