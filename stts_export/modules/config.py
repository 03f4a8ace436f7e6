"""The shape of a model, as small frozen dataclasses; `stts_export.checkpoint` fills them from a checkpoint's files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from stts_export.errors import CheckpointError

# The lowest factor that the bias layer multiplies a patch's attention by (arXiv 2603.18004).
RESCALE_MINIMUM = math.exp(-2.0)


@dataclass(frozen=True)
class VisionConfig:
    """A SigLIP-form vision tower over square frames.

    `layers` counts the layers that run; `feature_layers` are counted from 0, in the order of concatenation.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    grid: int
    """Patches along one side of a frame."""
    patch_values: int
    """Values in one flattened patch: side x side x 3."""
    feature_layers: tuple[int, ...]
    pool: int = 3
    """Patches along one side of a pooling group."""
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise CheckpointError(f"the vision width {self.width} does not divide into {self.heads} heads")
        if self.grid % self.pool:
            raise CheckpointError(
                f"a frame's grid of {self.grid}x{self.grid} patches does not divide into pooling groups of "
                f"{self.pool}x{self.pool}; the frame size over the patch size must be a multiple of {self.pool}"
            )
        if any(not 0 <= layer < self.layers for layer in self.feature_layers):
            raise CheckpointError(f"feature layers {list(self.feature_layers)} are not all among {self.layers} layers")

    @property
    def patch_size(self) -> int:
        """Pixels along one side of a patch."""
        return math.isqrt(self.patch_values // 3)

    @property
    def frame_size(self) -> int:
        """Pixels along one side of a frame."""
        return self.grid * self.patch_size

    @property
    def patches(self) -> int:
        """N, patches a frame."""
        return self.grid**2

    @property
    def groups_per_side(self) -> int:
        return self.grid // self.pool

    @property
    def groups(self) -> int:
        """G, pooling groups a frame."""
        return self.groups_per_side**2

    @property
    def patches_per_group(self) -> int:
        return self.pool**2

    @property
    def last_prune_at(self) -> int:
        """The last layer to prune at, after which no layer sees kept patches alone. A model that was not trained with
        pruning answers best with that (docs/accuracy.md).
        """
        return max(self.layers - 2, 0)


@dataclass(frozen=True)
class PruningConfig:
    """What all scorers have in common: they read the output of layer `prune_at`, and layers after `prune_at + 1` see
    kept patches only.
    """

    prune_at: int
    feature_precision: ClassVar[Literal["fp32", "fp16"]]
    """Data type of what a frame passes to the next."""

    def feature_width(self, vision: VisionConfig) -> int:
        """Values that a frame hands on to the next, a group."""
        raise NotImplementedError

    def check_against(self, vision: VisionConfig) -> None:
        if not 0 <= self.prune_at < vision.layers - 1:
            raise CheckpointError(
                f"prune_at is {self.prune_at}, but pruning needs a layer after it that still sees every patch, "
                f"and this vision tower runs layers 0 to {vision.layers - 1}"
            )


@dataclass(frozen=True)
class ScorerConfig(PruningConfig):
    """The trained token scorer."""

    feature_precision = "fp32"
    mlp_width: int
    trained_prune_fraction: float
    """p, the fraction of groups that the checkpoint was trained to drop."""
    rescale_minimum: float = RESCALE_MINIMUM

    def feature_width(self, vision: VisionConfig) -> int:
        return vision.width


@dataclass(frozen=True)
class ChangeConfig(PruningConfig):
    """A scorer without weights: what changed since the frame before is worth keeping."""

    feature_precision = "fp16"

    def feature_width(self, vision: VisionConfig) -> int:
        return vision.patches_per_group * vision.width


@dataclass(frozen=True)
class ConnectorConfig:
    """Attention pooling of one group over all feature layers, then SwiGLU to the language model's width."""

    heads: int
    head_dim: int
    pooled_width: int
    mlp_width: int
    text_width: int


@dataclass(frozen=True)
class LinearScaling:
    """Every rotary frequency divided by `factor`."""

    factor: float


@dataclass(frozen=True)
class YarnScaling:
    """Slow rotary frequencies divided by `factor`, fast ones left, a ramp between (arXiv 2309.00071)."""

    factor: float
    original_context: int
    amplitude: float
    """What cosine and sine are multiplied by."""
    beta_fast: float = 32.0
    """Turns within the original context from which on a frequency is left as it is."""
    beta_slow: float = 1.0
    """Turns below which it is divided by the whole factor."""
    truncate: bool = True
    """Whether the ramp begins and ends at whole dimensions."""


@dataclass(frozen=True)
class Llama3Scaling:
    """The same idea with a ramp over turns instead of dimensions."""

    factor: float
    original_context: int
    low_turns: float
    high_turns: float


RotaryScaling = LinearScaling | YarnScaling | Llama3Scaling


@dataclass(frozen=True)
class RotaryConfig:
    """Rotary positions, half-split; layers in `scaled_layers` apply `scaling`, the others do not."""

    theta: float
    scaling: RotaryScaling | None = None
    scaled_layers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class TextConfig:
    """A decoder in the form of Qwen3, or of OLMo 3 with `norm_after` and `norm_whole_projection`.

    Its embedding has `extra_vocab` more rows than its logits have entries.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    vocab: int
    extra_vocab: int
    rotary: RotaryConfig
    norm_eps: float = 1e-6
    qkv_bias: bool = False
    tied: bool = False
    norm_after: bool = False
    """Norms come after attention and MLP, not before."""
    norm_whole_projection: bool = False
    """Queries and keys are normalised over all heads at once, not every head by itself."""
    two_way_images: bool = True
    """Image tokens attend to each other in both directions during prefill."""

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise CheckpointError(f"{self.heads} attention heads do not divide into {self.kv_heads} key/value heads")


@dataclass(frozen=True)
class MarkerIds:
    """Token numbers of the marks that a video prompt is made of."""

    image_patch: int
    frame_start: int
    frame_end: int


@dataclass(frozen=True)
class ModelConfig:
    vision: VisionConfig
    connector: ConnectorConfig
    text: TextConfig
    markers: MarkerIds
    scorer: ScorerConfig | ChangeConfig | None
    """None: a plain Molmo2, which runs at keep 1 only."""
