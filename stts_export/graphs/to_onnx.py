"""torch.export -> ONNX for one module in one lowering. It knows nothing of bundles or checkpoints."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from stts_export.graphs.derived import derive_weights
from stts_export.graphs.opset17 import to_opset17
from stts_export.graphs.optimize import optimize
from stts_export.graphs.share import share_constants
from stts_export.lowering import Lowering
from stts_export.modules.operators import biased_self_attention
from stts_export.modules.packing import packed_self_attention
from stts_export.modules.wide_heads import biased_in_wide_heads, packed_in_wide_heads


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter reports packages that this product does not use (torchvision) and deprecations inside itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def to_onnx(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    lowering: Lowering,
    dynamic_shapes: Any = None,
) -> ir.Model:
    """Exports `module` called with `inputs`; its own operators become what `lowering` says they are.

    `dynamic_shapes` is torch.export's; without it every shape in the graph is a constant.
    """
    with _quiet_exporter(), torch.no_grad():
        program = torch.export.export(module.eval(), inputs, dynamic_shapes=dynamic_shapes)
        bodies = _bodies(lowering)
        if any(node.target in bodies for node in program.graph.nodes):
            program = program.run_decompositions(bodies)
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=lowering.exported_opset,
            input_names=input_names,
            output_names=output_names,
            custom_translation_table=dict(lowering.table),
            optimize=False,
            verbose=False,
        )
        assert exported is not None
        weights = set(program.state_dict)
        optimize(exported.model, _unless_weight(weights))
        share_constants(exported.model, weights)
        if lowering.derives_weights:
            derive_weights(exported.model, weights)
        if lowering.opset_version < lowering.exported_opset:
            to_opset17(exported.model)
    _forget_provenance(exported.model)
    return exported.model


def _bodies(lowering: Lowering) -> dict[Any, Callable[..., Tensor]]:
    """What our own operators are in this lowering where that is neither an entry of its table nor their plain body."""
    if not lowering.spare_channels:
        return {}
    packed = partial(packed_in_wide_heads, spare=lowering.spare_channels, sizes=lowering.seat_sizes)
    biased = partial(biased_in_wide_heads, spare=lowering.spare_channels)
    return {packed_self_attention: packed, biased_self_attention: biased}


def _unless_weight(weights: set[str]) -> Callable[[ir.Node], bool | None]:
    """Keeps the optimizer from folding small weights into constants: a weight is stored once, under its own name."""

    def should_fold(node: ir.Node) -> bool | None:
        return False if any(value is not None and value.name in weights for value in node.inputs) else None

    return should_fold


def _forget_provenance(model: ir.Model) -> None:
    """The exporter notes stack traces and paths of the build machine in every node, several times the graph's size."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.doc_string = model.graph.doc_string = None
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
