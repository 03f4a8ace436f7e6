"""What the benchmark may choose from: tilings of each product kernel, and warps of attention."""

from __future__ import annotations

from collections.abc import Mapping

from stts_runtime.cuda_decode.variants import (
    PRODUCTS,
    Module,
    ProductName,
    Tiling,
    WeightKind,
    attention_module,
    products_module,
)

# Warps, tiles and steps ahead.
_OF_DENSE = "8.1.4 8.1.10 4.1.8 4.1.10 16.1.4 16.1.5 16.1.8 8.2.4 8.2.5 4.2.5"
_OF_FLOAT8 = "8.1.2 8.1.8 4.1.5 4.1.8 16.1.4 16.1.5 4.2.3 8.2.3 8.2.2 2.1.5"
_OF_INT4 = "8.1.2 8.1.3 4.1.3 4.1.8 2.1.5 2.2.4 4.2.3 5.1.4 8.2.2 16.1.2"
CANDIDATES: Mapping[WeightKind, list[str]] = {
    "dense": _OF_DENSE.split(),
    "float8": _OF_FLOAT8.split(),
    "int4": _OF_INT4.split(),
}
ATTENTION_WARPS = (2, 4, 8)


def tilings(kind: WeightKind, number: int) -> dict[ProductName, Tiling]:
    """Of all kernels in the sweep's module `number`; `gated` has its tiles in pairs, and so half the steps ahead."""
    warps, tiles, ahead = map(int, CANDIDATES[kind][number].split("."))
    paired = Tiling(warps, 2 * tiles, max(ahead // 2, 1)) if tiles == 1 else Tiling(warps, tiles, ahead)
    return {name: paired if name == "gated" else Tiling(warps, tiles, ahead) for name in PRODUCTS}


def sweep_modules() -> list[Module]:
    """For compute_90 and fp16 activations; attention for heads of 128."""
    products = [
        products_module(kind, "half", tilings(kind, number), sweep_name(kind, number))
        for kind in CANDIDATES
        for number in range(len(CANDIDATES[kind]))
    ]
    return [*products, *(attention_module(128, "half", warps, f"sweep-attention-{warps}") for warps in ATTENTION_WARPS)]


def sweep_name(kind: WeightKind, number: int) -> str:
    return f"sweep-{kind}-{number}"
