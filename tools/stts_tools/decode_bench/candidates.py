"""What the benchmark may choose from: tilings of each product kernel, and forms of attention."""

from __future__ import annotations

from collections.abc import Mapping

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

# Warps, tiles and steps ahead; "s" is for weights that are under way in shared memory.
_OF_DENSE = "8.1.4 8.1.8 4.1.8 16.1.4 8.2.4 8.2.5 8.1.6s 8.1.10s 8.1.16s 4.1.10s 4.1.16s 8.2.6s 16.1.6s"
_OF_FLOAT8 = "8.1.2 8.1.4 8.1.5 4.1.5 8.2.3 8.2.2 8.1.4s 8.1.8s 4.1.8s 4.1.12s 8.2.4s 16.1.4s"
_OF_INT4 = "8.1.2 8.1.3 8.1.4 4.1.3 8.2.2 4.2.3 8.1.3s 8.1.5s 4.1.5s 4.1.8s 8.2.3s 16.1.2s"
CANDIDATES: Mapping[WeightKind, list[str]] = {
    "dense": _OF_DENSE.split(),
    "float8": _OF_FLOAT8.split(),
    "int4": _OF_INT4.split(),
}
ATTENTIONS = ((4, False), (4, True), (8, False), (8, True))
"""Warps, and whether a block reads of the cache before the kernel ahead is done."""


def tilings(kind: WeightKind, number: int) -> dict[ProductName, Tiling]:
    """Of all kernels in the sweep's module `number`; `gated` has its tiles in pairs, and so half the steps ahead."""
    word = CANDIDATES[kind][number]
    warps, tiles, ahead = map(int, word.removesuffix("s").split("."))
    held: Held = "InShared" if word.endswith("s") else "InRegisters"
    one = Tiling(warps, tiles, ahead, held)
    paired = Tiling(warps, 2 * tiles, max(ahead // 2, 1), held) if tiles == 1 else one
    return {name: paired if name == "gated" else one for name in PRODUCTS}


def sweep_modules() -> list[Module]:
    """For compute_90 and fp16 activations; attention for heads of 128."""
    products = [
        products_module(kind, "half", tilings(kind, number), sweep_name(kind, number))
        for kind in CANDIDATES
        for number in range(len(CANDIDATES[kind]))
    ]
    attentions = [attention_module(128, "half", *one, attention_name(*one)) for one in ATTENTIONS]
    return [*products, *attentions]


def attention_name(warps: int, early: bool) -> str:
    return f"sweep-attention-{warps}{'-early' if early else ''}"


def sweep_name(kind: WeightKind, number: int) -> str:
    return f"sweep-{kind}-{number}"
