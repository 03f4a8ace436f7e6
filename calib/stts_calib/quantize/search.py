"""Which blocks of the vision tower compute in 8 bits: as many as leave the choice of tokens as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from stts_calib.quantize.choices import Agreement, agreement, choices
from stts_calib.quantize.products import SCORER, biased_layer, blocks_of, in_order
from stts_calib.quantize.ranges import Ranges
from stts_calib.quantize.recipe import Tower, TowerFormat
from stts_runtime.tell import TellStep


@dataclass(frozen=True)
class Found:
    """What a search found."""

    alone: dict[str, Agreement]
    """Agreement for each block, quantized by itself."""
    left: list[str]
    """Blocks that stay as they are, the protected ones first, then the worst."""
    quantized: frozenset[str]
    together: Agreement
    """Agreement with all quantized blocks together."""


def search_blocks(
    graph: Path,
    windows: Sequence[NDArray[np.uint8]],
    ranges: Ranges,
    form: TowerFormat,
    least_iou: float,
    tell: TellStep,
) -> Found:
    """Measures every block alone, then leaves out the worst, one after the other, until the kept sets agree.

    `graph` is a pruned variant's. The scorer and the layer that its scores bias are never quantized.
    """
    model = onnx.load(graph, load_external_data=False)
    there = blocks_of(model)
    protected = [block for block in (SCORER, biased_layer(model)) if block is not None and block in there]
    blocks = sorted(there - set(protected), key=in_order)
    wanted = choices(graph, windows)

    def agrees(some: frozenset[str]) -> Agreement:
        quantized = Tower(form, ranges, some).apply(onnx.load(graph))
        return agreement(choices(quantized, windows, form), wanted)

    alone: dict[str, Agreement] = {}
    for done, block in enumerate(blocks):
        tell("quantizing blocks, each alone", done, len(blocks))
        alone[block] = agrees(frozenset({block}))
    worst_first = sorted(blocks, key=lambda block: (alone[block].kept_iou, -alone[block].token_error))
    left: list[str] = []
    while True:
        quantized = frozenset(blocks) - set(left)
        tell(f"quantizing {len(quantized)} blocks together")
        together = agrees(quantized)
        if together.kept_iou >= least_iou or not quantized:
            return Found(alone, [*protected, *left], quantized, together)
        left.append(worst_first[len(left)])
