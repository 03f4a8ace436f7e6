"""The decoder of the language model, in the form of Qwen3 or OLMo 3: embedding, layers, norm.

Who sees whom and where keys and values are kept is told to each layer by its caller, `language.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stts_export.modules.config import TextConfig
from stts_export.modules.layers import Attend, GatedMlp, RmsNorm
from stts_export.modules.operators import rotate
from stts_export.modules.rotary import Rotary


class Embedding(nn.Module):
    """A base vocabulary and extra rows for the marks, which only ever come in."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.zeros(config.vocab, config.width))
        self.extra = nn.Parameter(torch.zeros(config.extra_vocab, config.width))

    def forward(self, token_ids: Tensor) -> Tensor:
        """Token numbers of any number -> rows (tokens, width)."""
        vocab, extra = self.base.shape[0], self.extra.shape[0]
        base = self.base.index_select(0, token_ids.clamp(max=vocab - 1))
        if extra == 0:
            return base
        marks = self.extra.index_select(0, (token_ids - vocab).clamp(min=0))
        return torch.where((token_ids < vocab)[:, None], base, marks)


class Projected(NamedTuple):
    """Raw queries, keys and values of a layer: rows (B * L, channels)."""

    q: Tensor
    k: Tensor
    v: Tensor


AttendProjected = Callable[["RotaryAttention", Projected], Tensor]
"""A layer's attention and its projections -> rows (B * L, channels)."""


class RotaryAttention(nn.Module):
    """Attention with grouped queries and rotary positions; `attend` knows the cache and who sees whom.

    It gets the raw projections, and `turned` makes of them what attends.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        channels, kv_channels = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.q_proj = nn.Linear(config.width, channels, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.width, kv_channels, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.width, kv_channels, bias=config.qkv_bias)
        self.o_proj = nn.Linear(channels, config.width, bias=False)
        whole = config.norm_whole_projection
        self.q_norm = RmsNorm(channels if whole else config.head_dim, config.norm_eps)
        self.k_norm = RmsNorm(kv_channels if whole else config.head_dim, config.norm_eps)

    def forward(self, x: Tensor, attend: AttendProjected) -> Tensor:
        """Rows (B * L, width) -> rows."""
        attended: Tensor = self.o_proj(attend(self, Projected(self.q_proj(x), self.k_proj(x), self.v_proj(x))))
        return attended

    def turned(self, projected: Projected, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, normalised and rotated, and values: each (B, L, channels)."""
        q = rotate(self._normed(projected.q, self.q_norm, rotary), rotary.cos, rotary.sin, self.heads)
        k = rotate(self._normed(projected.k, self.k_norm, rotary), rotary.cos, rotary.sin, self.kv_heads)
        return q, k, _by_sequence(projected.v, rotary)

    def _normed(self, projected: Tensor, norm: RmsNorm, rotary: Rotary) -> Tensor:
        """Norms as many channels of rows at once as the norm is wide: (B, L, C)."""
        normed: Tensor = norm(projected.unflatten(-1, (-1, norm.weight.shape[0])))
        return _by_sequence(normed.flatten(1), rotary)


def turning(rotary: Rotary, attend: Attend) -> AttendProjected:
    """Attention over queries and keys that are normalised and rotated first: (B, L, channels) each."""

    def attend_turned(attention: RotaryAttention, projected: Projected) -> Tensor:
        return attend(*attention.turned(projected, rotary)).flatten(0, 1)

    return attend_turned


def _by_sequence(rows: Tensor, rotary: Rotary) -> Tensor:
    by_sequence: Tensor = rows.unflatten(0, (rotary.cos.shape[0], -1))
    return by_sequence


class DecoderLayer(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(config.width, config.norm_eps)
        self.self_attn = RotaryAttention(config)
        self.post_attention_layernorm = RmsNorm(config.width, config.norm_eps)
        self.mlp = GatedMlp(config.width, config.mlp_width, config.width)
        self.norm_after = config.norm_after

    def forward(self, x: Tensor, attend: AttendProjected) -> Tensor:
        if self.norm_after:
            x = x + self.input_layernorm(self.self_attn(x, attend))
            change: Tensor = self.post_attention_layernorm(self.mlp(x))
        else:
            x = x + self.self_attn(self.input_layernorm(x), attend)
            change = self.mlp(self.post_attention_layernorm(x))
        return x + change


class Decoder(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = RmsNorm(config.width, config.norm_eps)
