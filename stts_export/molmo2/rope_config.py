"""The rotary part of a `config.json`, both generations of keys -> `RotaryConfig`.

Source: transformers' `modeling_rope_utils.py` (5.23) for the keys and their defaults.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AliasChoices, Field

from stts_export.errors import CheckpointError
from stts_export.json_files import Section
from stts_export.modules.config import LinearScaling, Llama3Scaling, RotaryConfig, RotaryScaling, YarnScaling

Positive = Annotated[float, Field(gt=0)]
Context = Annotated[int, Field(ge=1, le=1 << 30)]


class RopeSection(Section):
    """`rope_parameters`, or `rope_scaling` of the older generation."""

    rope_type: str | None = Field(None, validation_alias=AliasChoices("rope_type", "type"))
    rope_theta: Annotated[float, Field(gt=1)] | None = None
    factor: Positive | None = None
    original_max_position_embeddings: Context | None = None
    attention_factor: Positive | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    beta_fast: Positive | None = None
    beta_slow: Positive | None = None
    truncate: bool | None = None
    low_freq_factor: Positive | None = None
    high_freq_factor: Positive | None = None

    def scaling(self) -> RotaryScaling | None:
        """None for plain positions; raises `CheckpointError` for a scaling that is unknown or incomplete."""
        if self.rope_type in (None, "default"):
            return None
        if self.rope_type == "linear":
            return LinearScaling(self._need("factor"))
        if self.rope_type == "yarn":
            return self._yarn()
        if self.rope_type == "llama3":
            low, high = self._need("low_freq_factor"), self._need("high_freq_factor")
            if not low < high:
                raise CheckpointError(f"config.json: rotary low_freq_factor {low:g} is not below {high:g}")
            return Llama3Scaling(self._need("factor"), self._original_context(), low, high)
        raise CheckpointError(
            f"config.json: rotary embedding of type {self.rope_type!r} is not supported; there is default, linear, "
            "yarn and llama3"
        )

    def _yarn(self) -> YarnScaling:
        factor = self._need("factor")
        return YarnScaling(
            factor=factor,
            original_context=self._original_context(),
            amplitude=self.attention_factor or self._amplitude(factor),
            beta_fast=self.beta_fast or 32.0,
            beta_slow=self.beta_slow or 1.0,
            truncate=self.truncate is not False,
        )

    def _amplitude(self, factor: float) -> float:
        """What YaRN's authors found to fit where the configuration does not say."""

        def fitted(strength: float) -> float:
            return 1.0 if factor <= 1 else 0.1 * strength * math.log(factor) + 1.0

        if self.mscale and self.mscale_all_dim:
            return fitted(self.mscale) / fitted(self.mscale_all_dim)
        return fitted(1.0)

    def _need(self, name: str) -> float:
        value: float | None = getattr(self, name)
        if value is None:
            raise CheckpointError(f"config.json: rotary embedding of type {self.rope_type!r} needs {name}")
        return value

    def _original_context(self) -> int:
        return int(self._need("original_max_position_embeddings"))


def rotary_config(
    parts: list[RopeSection], theta: float | None, scaled_layers: list[int] | None, layers: int
) -> RotaryConfig:
    """`theta` is that of the text section, which the older generation has; no list of scaled layers means all."""
    thetas = [part.rope_theta for part in parts if part.rope_theta is not None]
    found = thetas[0] if thetas else theta
    if found is None:
        raise CheckpointError("config.json: text_config gives neither rope_theta nor rope_parameters.rope_theta")
    scalings = [scaling for part in parts if (scaling := part.scaling()) is not None]
    if not scalings:
        return RotaryConfig(found)
    listed = range(layers) if scaled_layers is None else scaled_layers
    if not all(0 <= layer < layers for layer in listed):
        raise CheckpointError(
            f"config.json: rope_scaling_layers {scaled_layers} are not among the {layers} text layers"
        )
    return RotaryConfig(found, scalings[0], frozenset(listed))
