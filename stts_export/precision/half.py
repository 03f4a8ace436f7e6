"""Turning the modules into 16 bits, in place."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stts_export.checkpoint.lazy_weights import cast
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_export.options import Half

DTYPES: dict[Half, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}

SCORER = "temporal_token_scorer"
LANGUAGE_MODEL = "language_model"
"""The language model changes its format as a whole: its caches have one."""


@dataclass(frozen=True)
class PrecisionPlan:
    """`half` everywhere, but bf16 in the modules named `wide`: blocks of the tower, the connector, the language model.

    The scorer computes in float32 in any case: which groups are kept hangs on small differences of its scores.
    """

    half: Half
    wide: tuple[str, ...] = ()

    @property
    def vision_wide(self) -> list[str]:
        return [name for name in self.wide if name != LANGUAGE_MODEL]

    @property
    def language(self) -> Half:
        return "bf16" if LANGUAGE_MODEL in self.wide else self.half


def to_half(vision: Vision, language: Language, plan: PrecisionPlan) -> None:
    """Converts weights and placeholders in place."""
    vision_dtype, language_dtype = DTYPES[plan.half], DTYPES[plan.language]
    cast(vision, {"": vision_dtype, **dict.fromkeys(plan.vision_wide, torch.bfloat16), SCORER: torch.float32})
    cast(language, {"": language_dtype})
