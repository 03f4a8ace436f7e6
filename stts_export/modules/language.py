"""The language model: a decoder in the form of Qwen3 or OLMo 3 over a key/value cache of fixed size.

`forward` serves every call: the image prefix, the question after it, and single tokens. For engines whose fast kernels
want to know which of these it is, `prefill` and `step` are the two halves of it. Slots are places in the cache, counted
from 0 as they are written; positions are what rotary embedding sees and may skip (pruned tokens can keep their place in
the unpruned prompt).

Image tokens attend to each other in both directions, across frames too, so all of them must come in one call; later
calls are causal. This module knows nothing of prompts or sampling rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stts_export.modules.config import MarkerIds, TextConfig
from stts_export.modules.layers import Attend, GatedMlp, RmsNorm
from stts_export.modules.operators import cache_write, causal_attention, masked_attention, rotate
from stts_export.modules.rotary import Rotary, rotary_of_layer_kinds


class LanguageOutput(NamedTuple):
    next_token: Tensor
    """(1,) int64, the greedy choice after the last token."""
    logits: Tensor
    """(1, vocabulary) of the last token, in float32."""
    caches: list[Tensor]
    """Keys and values of every layer in turn, of the layout that came in."""


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
        channels, kv_channels = config.heads * config.head_width, config.kv_heads * config.head_width
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.q_proj = nn.Linear(config.width, channels, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.width, kv_channels, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.width, kv_channels, bias=config.qkv_bias)
        self.o_proj = nn.Linear(channels, config.width, bias=False)
        whole = config.norm_whole_projection
        self.q_norm = RmsNorm(channels if whole else config.head_width, config.norm_eps)
        self.k_norm = RmsNorm(kv_channels if whole else config.head_width, config.norm_eps)

    def forward(self, x: Tensor, attend: AttendProjected) -> Tensor:
        """Rows (B * L, width) -> rows."""
        attended: Tensor = self.o_proj(attend(self, Projected(self.q_proj(x), self.k_proj(x), self.v_proj(x))))
        return attended

    def turned(self, projected: Projected, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, normed and turned, and values: each (B, L, channels)."""
        q = rotate(self._normed(projected.q, self.q_norm, rotary), rotary.cos, rotary.sin, self.heads)
        k = rotate(self._normed(projected.k, self.k_norm, rotary), rotary.cos, rotary.sin, self.kv_heads)
        return q, k, _by_sequence(projected.v, rotary)

    def _normed(self, projected: Tensor, norm: RmsNorm, rotary: Rotary) -> Tensor:
        """Norms as many channels of rows at once as the norm is wide: (B, L, C)."""
        normed: Tensor = norm(projected.unflatten(-1, (-1, norm.weight.shape[0])))
        return _by_sequence(normed.flatten(1), rotary)


def _turning(rotary: Rotary, attend: Attend) -> AttendProjected:
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


class Language(nn.Module):
    """The language side of a checkpoint."""

    def __init__(self, config: TextConfig, markers: MarkerIds) -> None:
        super().__init__()
        self.config, self.markers = config, markers
        self.language_model = Decoder(config)
        self.lm_head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)

    def empty_caches(self, slots: int, by_head: bool = False) -> list[Tensor]:
        """Zeroed keys and values for every layer: 2 x layers tensors (1, slots, kv channels).

        With `by_head`, the layout of some targets, they are (1, kv heads, slots, head width).
        """
        heads, width = self.config.kv_heads, self.config.head_width
        shape = (1, heads, slots, width) if by_head else (1, slots, heads * width)
        reference = self.language_model.norm.weight
        return [reference.new_zeros(shape) for _ in range(2 * self.config.layers)]

    def forward(
        self, token_ids_L: Tensor, positions_L: Tensor, start: Tensor, visual_VW: Tensor, caches: list[Tensor]
    ) -> LanguageOutput:
        """Runs L tokens whose first goes to slot `start` (1,); all integers are int64; `caches` as `empty_caches`.

        `visual_VW` holds the visual tokens of the window in its first rows; the n-th image patch of this call is added
        the n-th row.
        """
        seen_LS = self._seen(token_ids_L, start, slots=caches[0].shape[-2])
        new_caches: list[Tensor] = []

        def attend_of(layer: int) -> Attend:
            keys, values = caches[2 * layer : 2 * layer + 2]
            return self._cached(keys, values, start, seen_LS, new_caches)

        x = self._run(self._embed(token_ids_L, visual_VW), positions_L.unsqueeze(0), attend_of)
        return self._output(x, new_caches)

    def prefill(
        self, token_ids_L: Tensor, positions_L: Tensor, slots_L: Tensor, visual_VW: Tensor, caches: list[Tensor]
    ) -> list[Tensor]:
        """Fills the first L slots, whose numbers `slots_L` holds, with a prefix that has images in it.

        Returns the caches. Which token comes next is not asked.
        """
        seen_LL = slots_L[None, :] <= slots_L[:, None]
        if self.config.two_way_images:
            is_image_L = self.is_image(token_ids_L)
            seen_LL = seen_LL | (is_image_L[:, None] & is_image_L[None, :])
        new_caches: list[Tensor] = []

        def attend_of(layer: int) -> Attend:
            keys, values = caches[2 * layer : 2 * layer + 2]

            def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                new_caches.extend((cache_write(keys, k, slots_L[:1]), cache_write(values, v, slots_L[:1])))
                return masked_attention(q, k, v, seen_LL, self.config.heads, self.config.kv_heads)

            return attend

        self._run(self._embed(token_ids_L, visual_VW), positions_L.unsqueeze(0), attend_of)
        return new_caches

    def step(
        self,
        token_ids_L: Tensor,
        positions_L: Tensor,
        last: Tensor,
        caches: list[Tensor],
        tables: dict[bool, Rotary],
    ) -> LanguageOutput:
        """Appends L tokens without images, the last of them to slot last[0] (int32); `caches` are by head.

        `tables` are `rotary_tables`, with a row for every position.
        """
        new_caches: list[Tensor] = []
        scaled = self.config.rotary.scaled_layers
        x = self.language_model.embed_tokens(token_ids_L)
        for number, layer in enumerate(self.language_model.layers):
            keys, values = caches[2 * number : 2 * number + 2]
            attend = self._stepping(positions_L, tables[number in scaled], keys, values, last, new_caches)
            x = layer(x, attend)
        return self._output(x, new_caches)

    def rotary_tables(self, positions: int) -> dict[bool, Rotary]:
        """Cosines and sines (positions, head width / 2) of layers with scaling (True) and of those without."""
        weight = self.language_model.norm.weight
        numbers = torch.arange(positions, device=weight.device).unsqueeze(0)
        by_kind = self._rotary(numbers, weight.dtype)
        return {scaled: Rotary(*(x.squeeze(0) for x in rotary)) for scaled, rotary in by_kind.items()}

    def sequences(self, token_ids_BL: Tensor, positions_BL: Tensor, visual: Tensor, seen_BLL: Tensor) -> Tensor:
        """Whole sequences at once, without a cache, as in training -> normed rows (B * L, width).

        `visual` (rows, width) holds the visual tokens of all sequences, one after the other; `seen_BLL` says which
        tokens each token attends to.
        """
        x = self._run(self._embed(token_ids_BL.flatten(), visual), positions_BL, lambda _: self._within(seen_BLL))
        normed: Tensor = self.language_model.norm(x)
        return normed

    def is_image(self, token_ids: Tensor) -> Tensor:
        """Which tokens see each other in both directions: patches and the marks around a frame."""
        marks = self.markers
        return (token_ids == marks.image_patch) | (token_ids == marks.frame_start) | (token_ids == marks.frame_end)

    def logits(self, x: Tensor) -> Tensor:
        """Normed rows (rows, width) -> (rows, vocabulary)."""
        head = self.language_model.embed_tokens.base if self.lm_head is None else self.lm_head.weight
        return F.linear(x, head)

    def _run(self, x: Tensor, positions_BL: Tensor, attend_of: Callable[[int], Attend]) -> Tensor:
        """All layers; `attend_of` gives each its attention over (B, L, channels)."""
        rotary, scaled = self._rotary(positions_BL, x.dtype), self.config.rotary.scaled_layers
        for number, layer in enumerate(self.language_model.layers):
            x = layer(x, _turning(rotary[number in scaled], attend_of(number)))
        return x

    def _stepping(
        self, positions_L: Tensor, table: Rotary, keys: Tensor, values: Tensor, last: Tensor, new_caches: list[Tensor]
    ) -> AttendProjected:
        """Appends the layer's caches with the new slots to `new_caches`."""

        def attend(attention: RotaryAttention, projected: Projected) -> Tensor:
            attended, *written = causal_attention(
                *projected,
                attention.q_norm.weight,
                attention.k_norm.weight,
                attention.q_norm.eps,
                *table,
                positions_L,
                keys,
                values,
                last,
                self.config.heads,
                self.config.kv_heads,
            )
            new_caches.extend(written)
            return attended

        return attend

    def _output(self, x: Tensor, caches: list[Tensor]) -> LanguageOutput:
        # ONNX Runtime on CUDA has no argmax of bfloat16; in float32 it is the same token.
        logits = self.logits(self.language_model.norm(x[-1:])).float()
        return LanguageOutput(logits.argmax(dim=-1), logits, caches)

    def _cached(self, keys: Tensor, values: Tensor, start: Tensor, seen_LS: Tensor, new_caches: list[Tensor]) -> Attend:
        """Appends the layer's caches with the new slots to `new_caches`."""

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            new_keys, new_values = cache_write(keys, k, start), cache_write(values, v, start)
            new_caches.extend((new_keys, new_values))
            return masked_attention(q, new_keys, new_values, seen_LS, self.config.heads, self.config.kv_heads)

        return attend

    def _within(self, seen_BLL: Tensor) -> Attend:
        heads, kv_heads = self.config.heads, self.config.kv_heads

        def per_query_head(x: Tensor) -> Tensor:
            # torch has no fast kernel for grouped queries with a mask.
            by_head: Tensor = x.unflatten(-1, (kv_heads, -1))
            return by_head.repeat_interleave(heads // kv_heads, dim=-2).flatten(-2)

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return masked_attention(q, per_query_head(k), per_query_head(v), seen_BLL.unsqueeze(1), heads, heads)

        return attend

    def _embed(self, token_ids: Tensor, visual: Tensor) -> Tensor:
        is_patch = token_ids == self.markers.image_patch
        row = (is_patch.long().cumsum(0) - 1).clamp(min=0)
        words: Tensor = self.language_model.embed_tokens(token_ids)
        return words + visual.index_select(0, row).to(words.dtype) * is_patch[:, None].to(words.dtype)

    def _rotary(self, positions_BL: Tensor, dtype: torch.dtype) -> dict[bool, Rotary]:
        return rotary_of_layer_kinds(self.config.rotary, self.config.head_width, positions_BL, dtype)

    def _seen(self, token_ids_L: Tensor, start: Tensor, slots: int) -> Tensor:
        """(L, slots) bool: which slots each token attends to."""
        slot_L = start + torch.arange(token_ids_L.shape[0], device=start.device)
        causal_LS = torch.arange(slots, device=start.device)[None, :] <= slot_L[:, None]
        if not self.config.two_way_images:
            return causal_LS
        is_image_L = self.is_image(token_ids_L)
        token_of_slot_S = torch.arange(slots, device=start.device) - start
        in_this_call_S = (token_of_slot_S >= 0) & (token_of_slot_S < token_ids_L.shape[0])
        nearest_S = token_of_slot_S.clamp(min=0, max=token_ids_L.shape[0] - 1)
        image_slot_S = is_image_L.index_select(0, nearest_S) & in_this_call_S
        return causal_LS | (is_image_L[:, None] & image_slot_S[None, :])
