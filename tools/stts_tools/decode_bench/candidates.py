"""What the benchmark may choose from: tilings of each product kernel, and forms of attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stts_runtime.cuda_decode.variants import (
    PRODUCTS,
    Held,
    Module,
    ProductName,
    Tiling,
    WeightKind,
    attention_module,
    products_module,
)

# Warps, tiles and steps ahead; "s" is for weights that are under way in shared memory; after a slash, the warps that
# an SM's registers are to be enough for, if not 16. With many tiles a block, all blocks run at once: at Molmo2-4B's
# size `qkv` has 128 of 3 tiles and `gated` 122 of 5 pairs; `output` and `down` have 160 of one. Of int4 their columns
# are 20, 20, 32 and 76 steps (qkv, gated, output, down), of float8 twice and of dense four times as many: warps that
# divide them have the same number each.
_OF_DENSE = (
    "8.1.4 8.1.8 4.1.8 16.1.4 8.2.4 8.2.5 8.1.6s 8.1.10s 8.1.16s 4.1.10s 4.1.16s 8.2.6s 16.1.6s "
    "8.3.3s 8.3.4s 8.3.6s 8.5.1s 10.3.4s 16.3.2s 8.1.8s/32 8.1.12s/32 10.1.8s/30 8.1.16s/24"
)
_OF_FLOAT8 = (
    "8.1.2 8.1.4 8.1.5 4.1.5 8.2.3 8.2.2 8.1.4s 8.1.8s 4.1.8s 4.1.12s 8.2.4s 16.1.4s "
    "8.3.3s 8.3.5s 8.5.1s 10.3.2s 10.3.4s 8.1.6s/32 8.1.8s/32 8.1.10s/24 10.1.4s/30 4.1.10s/32"
)
_OF_INT4 = (
    "8.1.2 8.1.3 8.1.4 4.1.3 8.2.2 4.2.3 8.1.3s 8.1.5s 4.1.5s 4.1.8s 8.2.3s 16.1.2s "
    "8.3.3s 10.3.2s 5.3.4s 8.5.1s 10.5.1s 8.1.4s/32 8.1.10s/32 10.1.2s/30 5.1.4s/30 4.1.5s/32 4.1.8s/32 16.1.5s/32"
)
CANDIDATES: Mapping[WeightKind, list[str]] = {
    "dense": _OF_DENSE.split(),
    "float8": _OF_FLOAT8.split(),
    "int4": _OF_INT4.split(),
}
ATTENTIONS = ((4, False), (4, True), (8, False), (8, True), (16, False), (16, True))
"""Warps, and whether a block reads of the cache before the kernel ahead is done."""


def tilings(kind: WeightKind, number: int) -> dict[ProductName, Tiling]:
    """Tilings of all kernels in the sweep's module `number`. `gated` has its tiles in pairs: two in place of one, with
    half the steps ahead, and twice as many as three or more.
    """
    word, _, resident = CANDIDATES[kind][number].partition("/")
    warps, tiles, ahead = map(int, word.removesuffix("s").split("."))
    held: Held = "InShared" if word.endswith("s") else "InRegisters"
    one = Tiling(warps, tiles, ahead, held, int(resident or 16))
    gated = {1: replace(one, tiles=2, ahead=max(ahead // 2, 1)), 2: one}.get(tiles, replace(one, tiles=2 * tiles))
    return {name: gated if name == "gated" else one for name in PRODUCTS}


def sweep_modules() -> list[Module]:
    """For compute_90 and fp16 activations, attention for heads of 128."""
    products = [
        products_module(kind, "half", tilings(kind, number), name=sweep_name(kind, number))
        for kind in CANDIDATES
        for number in range(len(CANDIDATES[kind]))
    ]
    attentions = [attention_module(128, "half", "qwen3", *one, attention_name(*one)) for one in ATTENTIONS]
    return [*products, *attentions]


def attention_name(warps: int, early: bool) -> str:
    return f"sweep-attention-{warps}{'-early' if early else ''}"


def sweep_name(kind: WeightKind, number: int) -> str:
    return f"sweep-{kind}-{number}"
