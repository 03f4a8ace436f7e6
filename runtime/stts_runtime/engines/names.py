"""Names of the graphs' tensors that the build and every engine agree on."""

from __future__ import annotations


def cache_names(layers: int) -> list[str]:
    """Names of the cache inputs of the language graph; the outputs have `new_` before them."""
    return [f"{kind}.{layer}" for layer in range(layers) for kind in ("key", "value")]
