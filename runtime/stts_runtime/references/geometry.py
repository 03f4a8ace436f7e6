"""Sizes of a bundle, which decide what shape everything in a reference has."""

from __future__ import annotations

from dataclasses import dataclass

from stts_runtime.budget import IncrementalBudget, TokenBudget
from stts_runtime.bundle.manifest import Manifest


@dataclass(frozen=True)
class Geometry:
    """A model's sizes and its variants."""

    image_size: int
    patch_size: int
    groups: int
    visual_width: int
    vocabulary: int
    windows: dict[str, TokenBudget]
    live: dict[str, IncrementalBudget]
    live_frames: int = 0
    """Frames of the longest live window."""
    pooled_width: int = 0

    @classmethod
    def of(cls, manifest: Manifest) -> Geometry:
        live, vision = manifest.live, manifest.vision
        return cls(
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            groups=vision.groups,
            visual_width=manifest.language.visual_width,
            vocabulary=manifest.language.vocabulary,
            windows={name: manifest.budget(variant) for name, variant in manifest.variants.items()},
            live={name: IncrementalBudget(vision.groups, one.keep) for name, one in live.variants.items()}
            if live
            else {},
            live_frames=live.frames if live else 0,
            pooled_width=live.pooled_width if live else 0,
        )

    @property
    def grid(self) -> int:
        return self.image_size // self.patch_size

    @property
    def streamed(self) -> dict[str, TokenBudget]:
        """By the names of the variants between key frames: the longest window made of them, after one key frame."""
        return {
            name: TokenBudget(self.live_frames, self.groups, budget.keep, "frame")
            for name, budget in self.live.items()
            if not budget.is_key
        }

    def positions(self, context: int) -> int:
        """All rotary positions are below: a pruned prompt can skip as many as there are groups."""
        return context + max(budget.visual_tokens for budget in self.windows.values())
