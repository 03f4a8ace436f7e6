"""The optimizer of exported graphs finds as much as onnxscript's own, which tries twice the rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest
from onnxscript.optimizer import optimize_ir

from stts_export.checkpoint import open_checkpoint
from stts_export.graphs import to_onnx
from stts_export.graphs.vision_graph import export_vision
from stts_export.lowering import LOWERINGS
from stts_runtime.budget import TokenBudget


@pytest.mark.parametrize("lowering", ["cpu", "tensorrt-10"])
def test_the_rules_that_are_left_out_would_have_found_nothing(
    micro_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, lowering: str
) -> None:
    vision = open_checkpoint(micro_checkpoint).load().vision
    budget = TokenBudget(2, vision.config.vision.groups, 0.5)
    ours = export_vision(vision, budget, LOWERINGS[lowering])

    def all_rules(model: ir.Model, should_fold: Callable[[ir.Node], bool | None]) -> None:
        optimize_ir(model, should_fold=should_fold)

    monkeypatch.setattr(to_onnx, "optimize", all_rules)
    theirs = export_vision(vision, budget, LOWERINGS[lowering])
    assert ir.to_proto(ours).SerializeToString(deterministic=True) == ir.to_proto(theirs).SerializeToString(
        deterministic=True
    )
