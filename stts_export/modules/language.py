"""The language model: a Qwen3-form decoder over a key/value cache of fixed size.

One module serves every call: the image prefix, the question after it, and single tokens. Slots are places in the
cache, counted from 0 as they are written; positions are what rotary embedding sees and may skip (pruned tokens can
keep their place in the unpruned prompt).

Image tokens attend to each other in both directions, across frames too, so all of them must come in one call; later
calls are causal. This module knows nothing of prompts or sampling rules.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stts_export.modules.config import MarkerIds, TextConfig
from stts_export.modules.layers import GatedMlp, RmsNorm
from stts_export.modules.operators import cache_write, masked_attention, rotate


class LanguageOutput(NamedTuple):
    next_token: Tensor
    """(1,) int64, the greedy choice after the last token."""
    logits: Tensor
    """(1, vocabulary) of the last token."""
    caches: list[Tensor]
    """Keys and values of every layer in turn, each (1, slots, kv channels)."""


class Step(NamedTuple):
    """What every layer of one call shares."""

    cos: Tensor
    sin: Tensor
    seen_LS: Tensor
    start: Tensor


class Embedding(nn.Module):
    """A base vocabulary and extra rows for the marks, which only ever come in."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.zeros(config.vocab, config.width))
        self.extra = nn.Parameter(torch.zeros(config.extra_vocab, config.width))

    def forward(self, token_ids_L: Tensor) -> Tensor:
        vocab, extra = self.base.shape[0], self.extra.shape[0]
        base = self.base.index_select(0, token_ids_L.clamp(max=vocab - 1))
        if extra == 0:
            return base
        marks = self.extra.index_select(0, (token_ids_L - vocab).clamp(min=0))
        return torch.where((token_ids_L < vocab)[:, None], base, marks)


class CachedAttention(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        channels, kv_channels = config.heads * config.head_width, config.kv_heads * config.head_width
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.q_proj = nn.Linear(config.width, channels, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.width, kv_channels, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.width, kv_channels, bias=config.qkv_bias)
        self.o_proj = nn.Linear(channels, config.width, bias=False)
        self.q_norm = RmsNorm(config.head_width, config.norm_eps)
        self.k_norm = RmsNorm(config.head_width, config.norm_eps)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (L, width) and the layer's caches -> rows, caches with the new slots."""
        q = rotate(_normed(self.q_proj(x), self.q_norm, self.heads), step.cos, step.sin, self.heads)
        k = rotate(_normed(self.k_proj(x), self.k_norm, self.kv_heads), step.cos, step.sin, self.kv_heads)
        keys = cache_write(keys, k, step.start)
        values = cache_write(values, self.v_proj(x).unsqueeze(0), step.start)
        attended = masked_attention(q, keys, values, step.seen_LS, self.heads, self.kv_heads)
        return self.o_proj(attended.squeeze(0)), keys, values


def _normed(projected: Tensor, norm: RmsNorm, heads: int) -> Tensor:
    """Norms every head of rows (L, C) by itself and adds the batch dimension: (1, L, C)."""
    by_head: Tensor = norm(projected.unflatten(-1, (heads, -1)))
    return by_head.flatten(1).unsqueeze(0)


class DecoderLayer(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(config.width, config.norm_eps)
        self.self_attn = CachedAttention(config)
        self.post_attention_layernorm = RmsNorm(config.width, config.norm_eps)
        self.mlp = GatedMlp(config.width, config.mlp_width, config.width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        attended, keys, values = self.self_attn(self.input_layernorm(x), keys, values, step)
        x = x + attended
        return x + self.mlp(self.post_attention_layernorm(x)), keys, values


class Decoder(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = RmsNorm(config.width, config.norm_eps)


class Language(nn.Module):
    """The language side of a checkpoint."""

    def __init__(self, config: TextConfig, markers: MarkerIds) -> None:
        super().__init__()
        self.config, self.markers = config, markers
        self.language_model = Decoder(config)
        self.lm_head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)

    def empty_caches(self, slots: int) -> list[Tensor]:
        """Zeroed keys and values for every layer: 2 x layers tensors (1, slots, kv channels)."""
        channels = self.config.kv_heads * self.config.head_width
        reference = self.language_model.norm.weight
        return [reference.new_zeros(1, slots, channels) for _ in range(2 * self.config.layers)]

    def forward(
        self, token_ids_L: Tensor, positions_L: Tensor, start: Tensor, visual_VW: Tensor, caches: list[Tensor]
    ) -> LanguageOutput:
        """Runs L tokens whose first goes to slot `start` (1,); all integers are int64.

        `visual_VW` holds the visual tokens of the window in its first rows; the n-th image patch of this call is added
        the n-th row.
        """
        x = self._embed(token_ids_L, visual_VW)
        step = self._step(token_ids_L, positions_L, start, slots=caches[0].shape[1], dtype=x.dtype)
        new_caches: list[Tensor] = []
        for number, layer in enumerate(self.language_model.layers):
            x, keys, values = layer(x, caches[2 * number], caches[2 * number + 1], step)
            new_caches += [keys, values]
        logits = self._logits(self.language_model.norm(x[-1:]))
        return LanguageOutput(logits.argmax(dim=-1), logits, new_caches)

    def _embed(self, token_ids_L: Tensor, visual_VW: Tensor) -> Tensor:
        is_patch_L = token_ids_L == self.markers.image_patch
        row_L = (is_patch_L.long().cumsum(0) - 1).clamp(min=0)
        visual = visual_VW.index_select(0, row_L) * is_patch_L[:, None].to(visual_VW.dtype)
        embedded: Tensor = self.language_model.embed_tokens(token_ids_L) + visual
        return embedded

    def _step(self, token_ids_L: Tensor, positions_L: Tensor, start: Tensor, slots: int, dtype: torch.dtype) -> Step:
        half = self.config.head_width // 2
        exponent = torch.arange(half, dtype=torch.float32, device=start.device) / half
        angle_Lr = positions_L.float()[:, None] * self.config.rope_theta**-exponent
        cos, sin = (wave.unsqueeze(0).to(dtype) for wave in (angle_Lr.cos(), angle_Lr.sin()))
        return Step(cos, sin, self._seen(token_ids_L, start, slots), start)

    def _seen(self, token_ids_L: Tensor, start: Tensor, slots: int) -> Tensor:
        """(L, slots) bool: which slots each token attends to."""
        slot_L = start + torch.arange(token_ids_L.shape[0], device=start.device)
        causal_LS = torch.arange(slots, device=start.device)[None, :] <= slot_L[:, None]
        if not self.config.two_way_images:
            return causal_LS
        marks = (self.markers.image_patch, self.markers.frame_start, self.markers.frame_end)
        is_image_L = (token_ids_L == marks[0]) | (token_ids_L == marks[1]) | (token_ids_L == marks[2])
        token_of_slot_S = torch.arange(slots, device=start.device) - start
        in_this_call_S = (token_of_slot_S >= 0) & (token_of_slot_S < token_ids_L.shape[0])
        nearest_S = token_of_slot_S.clamp(min=0, max=token_ids_L.shape[0] - 1)
        image_slot_S = is_image_L.index_select(0, nearest_S) & in_this_call_S
        return causal_LS | (is_image_L[:, None] & image_slot_S[None, :])

    def _logits(self, x: Tensor) -> Tensor:
        head = self.language_model.embed_tokens.base if self.lm_head is None else self.lm_head.weight
        return F.linear(x, head)
