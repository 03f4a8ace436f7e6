"""The shape of a decoder as the kernels see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Form = Literal["qwen3", "olmo3"]
"""Qwen3's: norms ahead of products, queries and keys normed by head. OLMo 3's: norms behind products, queries and keys
normed whole.
"""
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class DecoderShape:
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    eps: float = 1e-6
    form: Form = "qwen3"

    @property
    def channels(self) -> int:
        """Channels of all query heads."""
        return self.heads * self.head_dim

    @property
    def raw_channels(self) -> int:
        """Channels of queries, keys and values together."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim

    @property
    def heads_of_key(self) -> int:
        """Query heads that share a key head."""
        return self.heads // self.kv_heads

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of a layer's."""
        return {
            "qkv": (self.raw_channels, self.width),
            "output": (self.width, self.channels),
            "gate": (self.mlp_width, self.width),
            "up": (self.mlp_width, self.width),
            "down": (self.width, self.mlp_width),
        }

    def misfit(self) -> str | None:
        """Why the kernels cannot run it; None if they can."""
        if self.head_dim not in HEAD_WIDTHS:
            return f"heads are {self.head_dim} wide, and the kernels know {' and '.join(map(str, HEAD_WIDTHS))}"
        if self.heads % self.kv_heads or self.heads_of_key > MAX_HEADS_OF_KEY:
            return (
                f"{self.heads} query heads for {self.kv_heads} key heads, and at most {MAX_HEADS_OF_KEY} may share one"
            )
        for name, columns in (("width", self.width), ("mlp width", self.mlp_width)):
            if columns % COLUMN_STEP:
                return f"the {name} {columns} is not a multiple of {COLUMN_STEP}"
        return None


HEAD_WIDTHS = (64, 128)
MAX_HEADS_OF_KEY = 8
COLUMN_STEP = 32
MAX_BATCH = 8
