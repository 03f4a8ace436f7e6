"""The schema of `manifest.json`, the one file that says what a bundle holds.

A bundle is untrusted input: every name in here is checked to stay inside the folder before anything is opened, and
numbers that sizes are made of are bounded. This module reads and writes no file.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stts_runtime.budget import IncrementalBudget, Scope, TokenBudget
from stts_runtime.bundle.contract import LANGUAGE, batch_part, vision_part
from stts_runtime.bundle.fields import Command, Count, FileName, Label, Layer, Sha256, Share, Small, TokenId, Version
from stts_runtime.errors import UserError

SCHEMA_VERSION: Final = 8
"""Raised whenever an older runtime could not use a newer bundle; older bundles keep working (`upgrade.py`).

1: the first. 2: variants with the budget `given`. 3: graphs in several lowerings. 4: a prefill
graph of its own, work that grows with the square of the tokens. 5: frames of a stream. 6: quantized graphs. 7: what
scores groups, features of a frame in fp16. 8: graphs of several frames, and of tokens of several answers, at once."""

Positions = Literal["original", "compact"]
Precision = Literal["fp32", "fp16", "bf16"]
ScorerName = Literal["trained", "change"]
"""`change` has no weights: what changed since the frame before is worth keeping."""
Format = Literal["int8", "fp8", "int4"]
"""In vision graphs (`int8`, `fp8`) of weights and activations; in the language model of weights alone, by blocks."""
FORMATS: tuple[Format, ...] = get_args(Format)
Backend = Literal["onnxruntime-cpu", "onnxruntime-cuda", "tensorrt"]
"""What this version can run graphs with, or compile them with; a newer bundle may name another."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FileRecord(_Record):
    """A file of the bundle as it was written."""

    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


class Work(_Record):
    """Multiplications counted in the graph, of a call with this many query tokens."""

    fixed: Annotated[int, Field(ge=0)]
    per_token: Annotated[int, Field(ge=0)] = 0
    per_token_squared: Annotated[int, Field(ge=0)] = 0

    def of(self, tokens: int) -> int:
        return self.fixed + tokens * self.per_token + tokens**2 * self.per_token_squared


class Graph(_Record):
    """One part of the model written down in one lowering, and what runs or compiles it."""

    backend: Label
    minimum_backend_version: Version
    precision: Precision
    wide: list[Label] = []
    """Modules that compute in bf16 where the rest is in fp16, since their values do not fit."""
    quantized: Format | None = None
    """What its products compute in where it is not `precision`, or what their weights are stored in."""
    opset: Small
    caches_in_place: bool = True
    """Whether the language graph writes into the caches that it is given; else new ones come out."""
    graph: FileName
    weights: FileName
    multiplications: Work


Graphs = Annotated[dict[Label, Graph], Field(min_length=1)]
"""By lowering; every part of a bundle is written for the same ones."""


class Batch(BaseModel):
    """Graphs of the same over the same weights for several rows at once: frames of streams, or tokens of answers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    size: Annotated[int, Field(ge=2, le=64)]
    graphs: Graphs


def compilable(graphs: Graphs) -> Graphs:
    """Those among the graphs of a part that TensorRT compiles."""
    return {name: graph for name, graph in graphs.items() if graph.backend == "tensorrt"}


def major_minor(version: str) -> tuple[int, ...]:
    """What a `minimum_backend_version` is compared by."""
    return tuple(int(part) for part in version.split(".")[:2])


class VisionVariant(_Record):
    """One vision graph: T frames in, K visual tokens out."""

    frames: Small
    keep: Annotated[float, Field(gt=0, le=1)]
    budget: Scope
    kept_groups: Count
    graphs: Graphs

    @property
    def is_pruned(self) -> bool:
        return self.keep < 1

    @property
    def is_control(self) -> bool:
        """It needs to be told what to keep, so it measures and does not answer."""
        return self.budget == "given"


class Scorer(_Record):
    """What scores groups, in variants that do not keep all of them."""

    kind: ScorerName
    trained: bool
    """Whether it has weights that were trained for it."""
    prune_at: Layer | None = None
    """The layer of the tower whose output it reads; None in bundles of before schema 7."""

    @model_validator(mode="after")
    def _fits(self) -> Scorer:
        if self.trained != (self.kind == "trained"):
            raise ValueError(f"a scorer of kind {self.kind!r} that is trained: {self.trained}")
        return self


class IncrementalVariant(_Record):
    """The vision graph of one frame of a stream: key frames have keep 1."""

    keep: Annotated[float, Field(gt=0, le=1)]
    kept_groups: Count
    graphs: Graphs
    batches: list[Batch] = []
    """For frames of several streams at once; some lowerings have none."""

    def graphs_of(self, size: int) -> Graphs:
        """Those for this many frames at once. Raises `KeyError` if there are none."""
        return {1: self.graphs, **{one.size: one.graphs for one in self.batches}}[size]


class Novelty(_Record):
    """What the novelty of a frame means, which depends on the scorer whose features it is made of."""

    news: Share = 0.2
    """Above it something came that is worth an answer."""
    jump: Share = 0.5
    """Above it the next frame is a key frame."""


class Live(_Record):
    """What looks at streams, a frame at a time: key frames, and at least one keep ratio for those between."""

    frames: Small
    """Frames of the longest window that the language model was built for."""
    key_every: Small
    """Two key frames are at least this many frames apart, or such a window does not fit the language model."""
    pooled_width: Count
    """Width of the features that a frame passes to the next: (groups, width)."""
    pooled_precision: Literal["fp32", "fp16"] = "fp32"
    """Data type of those features."""
    novelty: Novelty = Novelty()
    variants: Annotated[dict[Label, IncrementalVariant], Field(min_length=2)]


class LanguageModel(_Record):
    """The language model and what its inputs look like."""

    layers: Small
    kv_channels: Count
    context: Count
    visual_rows: Count
    visual_width: Count
    vocabulary: Count
    graphs: Graphs
    prefill: dict[Label, Graph] = {}
    """Graphs of the image prefix, of lowerings that have it apart; `graphs` then holds what comes after it."""
    batches: list[Batch] = []
    """For a token each of several answers at once; some lowerings have none."""


class VisionModel(_Record):
    """Geometry that all variants share."""

    image_size: Small
    patch_size: Small
    groups_per_side: Small
    pool: Small

    @model_validator(mode="after")
    def _fits(self) -> VisionModel:
        if self.image_size != self.patch_size * self.pool * self.groups_per_side:
            raise ValueError("the frame size is not patch size x pool x groups a side")
        return self

    @property
    def groups(self) -> int:
        return self.groups_per_side**2


class Prompt(_Record):
    """Token numbers and texts of the prompt."""

    opening: str
    eos_ids: Annotated[list[TokenId], Field(min_length=1)]
    image_patch_id: TokenId
    frame_start_id: TokenId
    frame_end_id: TokenId
    positions: Positions
    tokenizer: FileName


class Quantization(_Record):
    """How a quantized bundle came about."""

    source_manifest_sha256: Sha256
    """Hash of the manifest of the bundle that it was made from."""
    frames_sha256: Sha256
    """Hash of the pixels that ranges were measured on."""
    left_wide: list[Label]
    """Blocks of the vision tower that were not quantized, since that would change what is kept."""
    report: FileName


class Manifest(_Record):
    schema_version: Literal[8]
    created: str
    producer: str
    built_with: dict[str, str]
    build_command: Command
    checkpoint: str
    checkpoint_config_sha256: Sha256
    random_weights: bool
    default_keep: float
    max_fps: Annotated[float, Field(gt=0, le=1000)]
    vision: VisionModel
    scorer: Scorer | None = None
    """None where every variant keeps everything."""
    variants: Annotated[dict[Label, VisionVariant], Field(min_length=1)]
    live: Live | None = None
    language: LanguageModel
    prompt: Prompt
    quantization: Quantization | None = None
    files: dict[FileName, FileRecord]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        for name, variant in self.variants.items():
            self._check_variant(name, variant)
        self._check_live()
        if self.scorer is None and any(variant.is_pruned for variant in self.variants.values()):
            raise ValueError("there are pruned variants, and nothing that scores groups")
        if any(graphs.keys() != self.language.graphs.keys() for graphs in self.parts().values()):
            raise ValueError("its parts are not all written in the same lowerings")
        if not self.language.prefill.keys() <= self.language.graphs.keys():
            raise ValueError("a prefill graph is of a lowering that the language model is not written in")
        if self.default_keep not in {variant.keep for variant in self.variants.values() if not variant.is_control}:
            raise ValueError(f"no variant has the default keep {self.default_keep:g}")
        if max(variant.kept_groups for variant in self.variants.values()) > self.language.visual_rows:
            raise ValueError("a variant makes more visual tokens than the language graph takes")
        unlisted = set(self.used_files()) - self.files.keys()
        if unlisted:
            raise ValueError(f"files without a hash: {', '.join(sorted(unlisted))}")
        return self

    def _check_variant(self, name: str, variant: VisionVariant) -> None:
        try:
            budget = self.budget(variant)
        except UserError as error:
            raise ValueError(f"variant {name}: {error}") from None
        if variant.is_control and not variant.is_pruned:
            raise ValueError(f"variant {name}: a control that keeps everything controls nothing")
        if (name, variant.kept_groups) != (budget.name, budget.kept):
            raise ValueError(
                f"variant {name} with {variant.kept_groups} groups should be {budget.name} with {budget.kept}"
            )

    def _check_live(self) -> None:
        if self.live is None:
            return
        for name, variant in self.live.variants.items():
            budget = IncrementalBudget(self.vision.groups, variant.keep)
            if (name, variant.kept_groups) != (budget.name, budget.kept):
                raise ValueError(f"live variant {name} should be {budget.name} with {budget.kept} groups")
        if 1 not in {variant.keep for variant in self.live.variants.values()}:
            raise ValueError("there are frames of a stream and no key frames")

    def budget(self, variant: VisionVariant) -> TokenBudget:
        return TokenBudget(variant.frames, self.vision.groups, variant.keep, variant.budget)

    def parts(self) -> dict[str, Graphs]:
        """The graphs of every part: `vision.<variant>` for each variant, live ones included, and `language`."""
        graphs = {name: variant.graphs for name, variant in self.variants.items()}
        if self.live is not None:
            graphs |= {name: variant.graphs for name, variant in self.live.variants.items()}
        return {
            **{vision_part(name): of_variant for name, of_variant in graphs.items()},
            LANGUAGE: self.language.graphs,
        }

    def batches(self) -> dict[str, Graphs]:
        """The graphs of several rows, by the part and their number: `language.x4`, `vision.live-key.x2`."""
        of_parts = {LANGUAGE: self.language.batches}
        if self.live is not None:
            of_parts |= {vision_part(name): one.batches for name, one in self.live.variants.items()}
        return {batch_part(part, one.size): one.graphs for part, batches in of_parts.items() for one in batches}

    def rebuild_for(self, target: str) -> str:
        """The command that builds the bundle again with another target; it travelled, so its paths are names."""
        return f"{self.build_command} --target {target} --force (with your paths)"

    def used_files(self) -> list[str]:
        """Every file that some graph or the prompt needs."""
        parts = (*self.parts().values(), self.language.prefill, *self.batches().values())
        graphs = [graph for part in parts for graph in part.values()]
        reports = {self.quantization.report} if self.quantization else set()
        used = {name for graph in graphs for name in (graph.graph, graph.weights)}
        return sorted(used | {self.prompt.tokenizer} | reports)
