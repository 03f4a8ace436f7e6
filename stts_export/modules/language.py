"""The language model: a decoder (`decoder.py`) over a key/value cache of fixed size.

`forward` serves every call: the image prefix, the question after it, and single tokens. For engines whose fast kernels
want to know which of these it is, `prefill` and `step` are the two halves of it; `indexed` is for engines that compute
badly with shapes. `rows` and `step_rows` append one token to each of several sequences. Slots are places in the cache,
counted from 0 as they are written; positions are what rotary embedding sees and may skip (pruned tokens can keep their
place in the unpruned prompt).

Image tokens attend to each other in both directions, across frames too, so all of them must come in one call; later
calls are causal. This module knows nothing of prompts or sampling rules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stts_export.modules.config import MarkerIds, TextConfig
from stts_export.modules.decoder import AttendProjected, Decoder, Projected, RotaryAttention, turning
from stts_export.modules.layers import Attend
from stts_export.modules.operators import cache_merge, cache_write, causal_attention, masked_attention
from stts_export.modules.rotary import Rotary, rotary_of_layer_kinds
from stts_export.modules.slots import Indices, slots_from, slots_of

AttendOf = Callable[[int], Attend]
"""The attention of each layer."""
Past = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (B, S, kv channels)."""
Write = Callable[[Tensor, Tensor], Tensor]
"""A cache and its new entries -> the cache with them."""


class LanguageOutput(NamedTuple):
    next_token: Tensor
    """(1,) int64, the greedy choice after the last token; (B,) for B sequences."""
    logits: Tensor
    """(1, vocabulary) of the last token, in float32; (B, vocabulary) for B sequences."""
    caches: list[Tensor]
    """Keys and values of every layer in turn, of the layout that came in."""


class Language(nn.Module):
    """The language side of a checkpoint."""

    def __init__(self, config: TextConfig, markers: MarkerIds) -> None:
        super().__init__()
        self.config, self.markers = config, markers
        self.language_model = Decoder(config)
        self.lm_head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)

    def empty_caches(self, slots: int, by_head: bool = False, sequences: int = 1) -> list[Tensor]:
        """Zeroed keys and values for every layer: 2 x layers tensors (sequences, slots, kv channels).

        With `by_head`, the layout of some targets, they are (sequences, kv heads, slots, head_dim).
        """
        heads, width = self.config.kv_heads, self.config.head_dim
        shape = (sequences, heads, slots, width) if by_head else (sequences, slots, heads * width)
        reference = self.language_model.norm.weight
        return [reference.new_zeros(shape) for _ in range(2 * self.config.layers)]

    def forward(
        self, token_ids_L: Tensor, positions_L: Tensor, start: Tensor, visual_VW: Tensor, caches: list[Tensor]
    ) -> LanguageOutput:
        """Runs L tokens whose first goes to slot `start` (1,); all integers are int64; `caches` as `empty_caches`.

        `visual_VW` holds the visual tokens of the window in its first rows; the n-th image patch of this call is added
        the n-th row.
        """
        new_caches: list[Tensor] = []
        slots = slots_from(start, token_ids_L.shape[0], caches[0].shape[-2])
        seen_LS = slots.seen(self._two_way(token_ids_L))
        attend_of = self._cached(caches, partial(cache_write, start=start), seen_LS, new_caches)
        x = self._run_counting(token_ids_L, positions_L.unsqueeze(0), visual_VW, attend_of)
        return self._output(x[-1:], new_caches)

    def rows(self, token_ids_B: Tensor, positions_B: Tensor, start_B: Tensor, caches: list[Tensor]) -> LanguageOutput:
        """Appends one token without images to each of B sequences, to slot start[b] of its own row of the caches."""
        new_caches: list[Tensor] = []
        seen_BS = torch.arange(caches[0].shape[-2], device=start_B.device) <= start_B[:, None]
        attend_of = self._cached(caches, partial(cache_write, start=start_B), seen_BS[:, None, None, :], new_caches)
        x: Tensor = self.language_model.embed_tokens(token_ids_B)
        x = self._run(x, self._rotary(positions_B.unsqueeze(1), x.dtype), attend_of)
        return self._output(x, new_caches)

    def indexed(
        self,
        token_ids_L: Tensor,
        positions_L: Tensor,
        indices: Indices,
        visual_VW: Tensor,
        caches: list[Tensor],
        tables: dict[bool, Rotary],
    ) -> LanguageOutput:
        """As `forward`, without arithmetic on the number of tokens; `tables` are `rotary_tables`."""
        new_caches: list[Tensor] = []
        slots = slots_of(indices, caches[0].shape[-2])
        seen_LS = slots.seen(self._two_way(token_ids_L))
        write = partial(cache_merge, row=slots.row_S, is_new=slots.is_new_S)
        rotary = {scaled: table.rows(positions_L) for scaled, table in tables.items()}
        x = self._add_visual(token_ids_L, visual_VW, indices.visual_rows_L)
        x = self._run(x, rotary, self._cached(caches, write, seen_LS, new_caches))
        return self._output(x.index_select(0, indices.last - indices.start), new_caches)

    def prefill(
        self, token_ids_L: Tensor, positions_L: Tensor, slots_L: Tensor, visual_VW: Tensor, caches: list[Tensor]
    ) -> list[Tensor]:
        """Fills the first L slots, whose numbers `slots_L` holds, with a prefix that has images in it.

        Returns the caches. Which token comes next is not asked.
        """
        seen_LL = slots_L[None, :] <= slots_L[:, None]
        is_image_L = self._two_way(token_ids_L)
        if is_image_L is not None:
            seen_LL = seen_LL | (is_image_L[:, None] & is_image_L[None, :])
        new_caches: list[Tensor] = []

        def attend_of(layer: int) -> Attend:
            keys, values = caches[2 * layer : 2 * layer + 2]

            def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                new_caches.extend((cache_write(keys, k, slots_L[:1]), cache_write(values, v, slots_L[:1])))
                return masked_attention(q, k, v, seen_LL, self.config.heads, self.config.kv_heads)

            return attend

        self._run_counting(token_ids_L, positions_L.unsqueeze(0), visual_VW, attend_of)
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
        x, new_caches = self._stepped(token_ids_L, positions_L, last, caches, tables)
        return self._output(x[-1:], new_caches)

    def step_rows(
        self,
        token_ids_B: Tensor,
        positions_B: Tensor,
        last_B: Tensor,
        caches: list[Tensor],
        tables: dict[bool, Rotary],
    ) -> LanguageOutput:
        """As `step`, one token to each of B sequences, to slot last[b] (int32) of its own row of the caches."""
        return self._output(*self._stepped(token_ids_B, positions_B, last_B, caches, tables))

    def rotary_tables(self, positions: int) -> dict[bool, Rotary]:
        """Cosines and sines (positions, head_dim / 2) of layers with scaling (True) and of those without."""
        weight = self.language_model.norm.weight
        numbers = torch.arange(positions, device=weight.device).unsqueeze(0)
        by_kind = self._rotary(numbers, weight.dtype)
        return {scaled: Rotary(*(x.squeeze(0) for x in rotary)) for scaled, rotary in by_kind.items()}

    def sequences(
        self,
        token_ids_BL: Tensor,
        positions_BL: Tensor,
        visual: Tensor,
        seen_BLS: Tensor,
        before: Past | None = None,
        record: Past | None = None,
    ) -> Tensor:
        """Whole sequences at once, without a cache, as in training -> normalised rows (B * L, width).

        `visual` (rows, width) holds the visual tokens of all sequences, one after the other; `seen_BLS` says which
        tokens each token attends to: those of `before`, keys and values of every layer that an earlier call appended
        to its `record`, and then its own.
        """

        def attend_of(layer: int) -> Attend:
            return self._within(seen_BLS, None if before is None else before[layer], record)

        x = self._run_counting(token_ids_BL.flatten(), positions_BL, visual, attend_of)
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

    def _two_way(self, token_ids: Tensor) -> Tensor | None:
        return self.is_image(token_ids) if self.config.two_way_images else None

    def _run_counting(self, token_ids: Tensor, positions_BL: Tensor, visual: Tensor, attend_of: AttendOf) -> Tensor:
        """Embeddings and all layers; the n-th image patch gets row n of `visual`."""
        row = ((token_ids == self.markers.image_patch).long().cumsum(0) - 1).clamp(min=0)
        x = self._add_visual(token_ids, visual, row)
        return self._run(x, self._rotary(positions_BL, x.dtype), attend_of)

    def _run(self, x: Tensor, rotary: dict[bool, Rotary], attend_of: AttendOf) -> Tensor:
        """All layers; `attend_of` gives each its attention over (B, L, channels)."""
        scaled = self.config.rotary.scaled_layers
        for number, layer in enumerate(self.language_model.layers):
            x = layer(x, turning(rotary[number in scaled], attend_of(number)))
        return x

    def _stepped(
        self, token_ids: Tensor, positions: Tensor, last: Tensor, caches: list[Tensor], tables: dict[bool, Rotary]
    ) -> tuple[Tensor, list[Tensor]]:
        """Rows of all tokens after the last layer, and the caches."""
        new_caches: list[Tensor] = []
        scaled = self.config.rotary.scaled_layers
        x: Tensor = self.language_model.embed_tokens(token_ids)
        for number, layer in enumerate(self.language_model.layers):
            keys, values = caches[2 * number : 2 * number + 2]
            attend = self._stepping(positions, tables[number in scaled], keys, values, last, new_caches)
            x = layer(x, attend)
        return x, new_caches

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

    def _output(self, last: Tensor, caches: list[Tensor]) -> LanguageOutput:
        """`last` is the row (1, width) of the last token, or those of several sequences."""
        # ONNX Runtime on CUDA has no argmax of bfloat16; in float32 it is the same token.
        logits = self.logits(self.language_model.norm(last)).float()
        return LanguageOutput(logits.argmax(dim=-1), logits, caches)

    def _cached(self, caches: list[Tensor], write: Write, seen: Tensor, new_caches: list[Tensor]) -> AttendOf:
        """Attention of each layer over its caches; appends them, as `write` gives them, to `new_caches`. `seen` is
        (L, S), or (B, 1, 1, S) for a token each of several sequences.
        """

        def attend_of(layer: int) -> Attend:
            keys, values = caches[2 * layer : 2 * layer + 2]

            def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                new_keys, new_values = write(keys, k), write(values, v)
                new_caches.extend((new_keys, new_values))
                return masked_attention(q, new_keys, new_values, seen, self.config.heads, self.config.kv_heads)

            return attend

        return attend_of

    def _within(self, seen_BLS: Tensor, before: tuple[Tensor, Tensor] | None, record: Past | None) -> Attend:
        heads, kv_heads = self.config.heads, self.config.kv_heads

        def per_query_head(x: Tensor) -> Tensor:
            # torch has no fast kernel for grouped queries with a mask.
            by_head: Tensor = x.unflatten(-1, (kv_heads, -1))
            return by_head.repeat_interleave(heads // kv_heads, dim=-2).flatten(-2)

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            # Turning widens keys where products are narrower than weights.
            k = k.to(v.dtype)
            if record is not None:
                record.append((k, v))
            if before is not None:
                k, v = torch.cat((before[0], k), dim=1), torch.cat((before[1], v), dim=1)
            return masked_attention(q, per_query_head(k), per_query_head(v), seen_BLS.unsqueeze(1), heads, heads)

        return attend

    def _add_visual(self, token_ids: Tensor, visual: Tensor, row: Tensor) -> Tensor:
        """Embeddings of the tokens, with row `row` of `visual` added to each image patch."""
        is_patch = token_ids == self.markers.image_patch
        words: Tensor = self.language_model.embed_tokens(token_ids)
        return words + visual.index_select(0, row).to(words.dtype) * is_patch[:, None].to(words.dtype)

    def _rotary(self, positions_BL: Tensor, dtype: torch.dtype) -> dict[bool, Rotary]:
        return rotary_of_layer_kinds(self.config.rotary, self.config.head_dim, positions_BL, dtype)
