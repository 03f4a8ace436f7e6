"""The operators a target may lower as it likes, registered with torch.library.

Each is composite: in eager mode and in training it runs the plain PyTorch body given here and has that body's
gradient. On export, an operator named in the target's lowering table (`stts_export.lowering`) stays whole and becomes
what the table says; one that is not named is inlined into the operators of its body. So a new target is a new table,
and a body is written once.

This module knows nothing of checkpoints, configurations or ONNX.

Shape suffixes: B rows of a batch, M packed tokens, T frames, G groups a frame, K kept groups, L query tokens,
S cache slots, H heads, C = heads x head dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import Library

from stts_export.modules.projection import Projection

_LIBRARY = Library("stts", "DEF")

Result = TypeVar("Result")

# Dimensions of a cache whose heads are not split.
_FLAT = 3


def _split_heads(x_BMC: Tensor, heads: int) -> Tensor:
    rows, tokens, _ = x_BMC.shape
    return x_BMC.reshape(rows, tokens, heads, -1).transpose(1, 2)


def _by_head(x: Tensor, heads: int) -> Tensor:
    """A cache (B, S, C), or one that is (B, H, S, d) already -> (B, H, S, d)."""
    return _split_heads(x, heads) if x.dim() == _FLAT else x


def _merge_heads(x_BHMd: Tensor) -> Tensor:
    return x_BHMd.transpose(1, 2).flatten(2)


def _attention(q_BMC: Tensor, k_BSC: Tensor, v_BSC: Tensor, heads: int) -> Tensor:
    q, k, v = (_split_heads(x, heads) for x in (q_BMC, k_BSC, v_BSC))
    return _merge_heads(F.scaled_dot_product_attention(q, k, v))


def _key_biased_attention(q_BMC: Tensor, k_BMC: Tensor, v_BMC: Tensor, bias_BM: Tensor, heads: int) -> Tensor:
    q, k, v = (_split_heads(x, heads) for x in (q_BMC, k_BMC, v_BMC))
    return _merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=bias_BM[:, None, None, :]))


def _biased_self_attention(
    rows_MC: Tensor, q_CC: Tensor, q_bias_C: Tensor, k_CC: Tensor, v_CC: Tensor, bias_BN: Tensor, heads: int
) -> Tensor:
    projected = Projection(rows_MC, q_CC, q_bias_C, k_CC, v_CC).project()
    by_row = (x.unflatten(0, (bias_BN.shape[0], -1)) for x in projected)
    return key_biased_attention(*by_row, bias_BN, heads).flatten(0, 1)


def _channel_biased_attention(
    q_BMC: Tensor, k_BSC: Tensor, v_BSC: Tensor, bias_BS: Tensor, heads: int, spare: int
) -> Tensor:
    q, k, v = (_split_heads(x, heads)[..., :-spare] for x in (q_BMC, k_BSC, v_BSC))
    return _merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=bias_BS[:, None, None, :]))


def _prefix_attention(q_BMC: Tensor, k_BSC: Tensor, v_BSC: Tensor, lengths_B: Tensor, heads: int) -> Tensor:
    q, k, v = (_split_heads(x, heads) for x in (q_BMC, k_BSC, v_BSC))
    seen_BS = torch.arange(k_BSC.shape[1], device=q.device) < lengths_B[:, None]
    return _merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=seen_BS[:, None, None, :]))


def _masked_attention(q_BLC: Tensor, k: Tensor, v: Tensor, seen_LS: Tensor, heads: int, kv_heads: int) -> Tensor:
    q, k, v = _split_heads(q_BLC, heads), _by_head(k, kv_heads), _by_head(v, kv_heads)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen_LS, enable_gqa=heads != kv_heads)
    return _merge_heads(attended)


def _causal_attention(
    q_LC: Tensor,
    k_LC: Tensor,
    v_LC: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    eps: float,
    cos_Pr: Tensor,
    sin_Pr: Tensor,
    positions_L: Tensor,
    keys: Tensor,
    values: Tensor,
    last: Tensor,
    heads: int,
    kv_heads: int,
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (keys.shape[0], -1)
    cos, sin = (table.index_select(0, positions_L).unflatten(0, shape) for table in (cos_Pr, sin_Pr))

    def turned(x_LC: Tensor, weight: Tensor, count: int) -> Tensor:
        normed = rms_norm(x_LC.unflatten(-1, (-1, weight.shape[0])), weight, eps)
        return rotate(normed.flatten(1).unflatten(0, shape), cos, sin, count)

    tokens = q_LC.shape[0] // keys.shape[0]
    first = last.long() - (tokens - 1)
    slot_BL = first[:, None] + torch.arange(tokens, device=keys.device)
    seen_BLS = torch.arange(keys.shape[-2], device=keys.device) <= slot_BL[:, :, None]
    new_keys = cache_write(keys, turned(k_LC, k_norm, kv_heads), first)
    new_values = cache_write(values, v_LC.unflatten(0, shape), first)
    # Not every target takes a mask for each sequence, and one sequence needs none.
    seen = seen_BLS.unsqueeze(1) if keys.shape[0] > 1 else seen_BLS[0]
    attended = masked_attention(turned(q_LC, q_norm, heads), new_keys, new_values, seen, heads, kv_heads)
    return attended.flatten(0, 1), new_keys, new_values


def _group_mean(x_KPD: Tensor) -> Tensor:
    return x_KPD.mean(dim=1)


def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


def _cache_write(cache: Tensor, new_BLC: Tensor, start_B: Tensor) -> Tensor:
    if cache.shape[0] > 1:
        return _rows_write(cache, new_BLC, start_B)
    slots_L = start_B[0] + torch.arange(new_BLC.shape[1], device=cache.device)
    new = new_BLC if cache.dim() == _FLAT else _split_heads(new_BLC, cache.shape[1])
    return cache.index_copy(-2, slots_L, new)


def _rows_write(cache: Tensor, new_BLC: Tensor, start_B: Tensor) -> Tensor:
    """A sequence each, every one at a place of its own."""
    row_B1 = torch.arange(cache.shape[0], device=cache.device)[:, None]
    slots_BL = start_B[:, None] + torch.arange(new_BLC.shape[1], device=cache.device)
    if cache.dim() == _FLAT:
        return cache.index_put((row_B1, slots_BL), new_BLC)
    by_slot = cache.transpose(1, 2).index_put((row_B1, slots_BL), _split_heads(new_BLC, cache.shape[1]).transpose(1, 2))
    return by_slot.transpose(1, 2)


def _cache_merge(cache: Tensor, new_BLC: Tensor, row_S: Tensor, is_new_S: Tensor) -> Tensor:
    new = new_BLC if cache.dim() == _FLAT else _split_heads(new_BLC, cache.shape[1])
    return torch.where(is_new_S[:, None], new.index_select(-2, row_S), cache)


def _rotate(x_BLC: Tensor, cos_BLr: Tensor, sin_BLr: Tensor, heads: int) -> Tensor:
    first, second = x_BLC.unflatten(-1, (heads, -1)).chunk(2, dim=-1)
    cos, sin = cos_BLr.unsqueeze(-2), sin_BLr.unsqueeze(-2)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).flatten(-2)


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, weight.shape, weight, eps)


def _keep_highest(scores_n: Tensor, kept: int) -> Tensor:
    ascending = torch.sort(scores_n, dim=-1, stable=True).indices
    return torch.sort(ascending[..., scores_n.shape[-1] - kept :], dim=-1).values


def define(schema: str, body: Callable[..., Result]) -> Callable[..., Result]:
    """Registers a composite operator of the `stts` namespace and returns its overload, which tables are keyed by."""
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, body, "CompositeImplicitAutograd")
    overload: Callable[..., Result] = getattr(torch.ops.stts, name).default
    return overload


# Every query of a row sees every key of that row.
attention = define("attention(Tensor q, Tensor k, Tensor v, int heads) -> Tensor", _attention)

# The same, with a bias per key added to the scaled logits: the layer through which the scorer learns.
key_biased_attention = define(
    "key_biased_attention(Tensor q, Tensor k, Tensor v, Tensor bias, int heads) -> Tensor", _key_biased_attention
)

# The same from rows (B x N, C) that are yet to be projected, with one bias (B, N) for each of them; gives (B x N, C).
biased_self_attention = define(
    "biased_self_attention(Tensor rows, Tensor q, Tensor q_bias, Tensor k, Tensor v, Tensor bias, int heads) -> Tensor",
    _biased_self_attention,
)

# As `key_biased_attention`, of heads that end in `spare` channels of zeros, where an engine may put the bias:
# (B, M, heads x (head dimension + spare)) -> (B, M, heads x head dimension).
channel_biased_attention = define(
    "channel_biased_attention(Tensor q, Tensor k, Tensor v, Tensor bias, int heads, int spare) -> Tensor",
    _channel_biased_attention,
)

# Row b sees its first lengths[b] keys only; every length is at least 1.
prefix_attention = define(
    "prefix_attention(Tensor q, Tensor k, Tensor v, Tensor lengths, int heads) -> Tensor", _prefix_attention
)

# Query l sees slot s where seen[l, s]; kv_heads divides heads (grouped queries). Keys and values are (B, S, C), or by
# head (B, kv heads, S, head_dim), as the target keeps its caches. `seen` may also be (B, 1, L, S): a mask for each
# of several sequences.
masked_attention = define(
    "masked_attention(Tensor q, Tensor k, Tensor v, Tensor seen, int heads, int kv_heads) -> Tensor", _masked_attention
)

# The cache, of either layout, with `new` (B, L, C) in the slots from start[b] on; written in place where that works.
cache_write = define("cache_write(Tensor cache, Tensor new, Tensor start) -> Tensor", _cache_write)

# The same for engines that compute badly with shapes: slot s holds row row[s] of `new` where is_new[s], else what it
# held.
cache_merge = define("cache_merge(Tensor cache, Tensor new, Tensor row, Tensor is_new) -> Tensor", _cache_merge)

# All of a decoder layer's attention but its projections, for engines that have it in one: queries and keys (L, C) are
# normalised, as many channels at once as the norm is wide, and rotated by the rows of their positions in the tables
# (positions, head_dim / 2); keys and values are written into the caches, by head, so that the last token is in slot
# last[0] (int32); and each token sees all slots up to its own. Gives (L, C) and the caches. With caches of several
# rows, tokens are as many for each, one row after the other, and `last` has one for each.
causal_attention = define(
    "causal_attention(Tensor q, Tensor k, Tensor v, Tensor q_norm, Tensor k_norm, float eps, Tensor cos, Tensor sin, "
    "Tensor positions, Tensor keys, Tensor values, Tensor last, int heads, int kv_heads) -> (Tensor, Tensor, Tensor)",
    _causal_attention,
)

# The mean of each group's patches: (K, P, D) -> (K, D).
group_mean = define("group_mean(Tensor x) -> Tensor", _group_mean)

# silu(gate) * up.
gated = define("gated(Tensor gate, Tensor up) -> Tensor", _gated)

# Half-split rotary embedding; cos and sin are (B, L, head dimension / 2).
rotate = define("rotate(Tensor x, Tensor cos, Tensor sin, int heads) -> Tensor", _rotate)

# Root mean square norm over the last dimension.
rms_norm = define("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor", _rms_norm)

# Indices, ascending, of the `kept` highest of each row; among equals the lower index is dropped first.
keep_highest = define("keep_highest(Tensor scores, int kept) -> Tensor", _keep_highest)
