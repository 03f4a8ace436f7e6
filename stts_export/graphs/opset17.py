"""Graphs of opset 18, which is the oldest that torch exports, as graphs of opset 17.

Nodes that opset 18 did not change stay; of those that it changed, the ones that our graphs have are rewritten, and any
other is an error: onnx's own converter would leave some of them wrong.

Source: the ONNX operator changelog, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from stts_export.errors import ExportError

_OPSET = 17
_EXPORTED = 18
_IR_VERSION = 8
"""What onnx wrote when opset 17 was its newest."""
_REDUCTIONS = {"ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceL2"}
"""Their axes became an input; ReduceSum had that before."""
_LARGEST = np.iinfo(np.int32).max


def to_opset17(model: ir.Model) -> None:
    """In place. Raises `ExportError` for a node that opset 17 does not have."""
    for node in model.graph:
        if node.op_type in _REDUCTIONS:
            _axes_as_attribute(node)
        elif node.op_type == "Split":
            node.attributes.pop("num_outputs", None)
        elif _changed(node):
            raise ExportError(f"{node.name}: opset {_EXPORTED} changed {node.op_type}, and {__name__} does not")
        node.version = _OPSET
    for value in model.graph.initializers.values():
        _within_int32(value)
    model.opset_imports[""] = _OPSET
    model.ir_version = _IR_VERSION


def _changed(node: ir.Node) -> bool:
    newest: int = onnx.defs.get_schema(node.op_type, _EXPORTED, node.domain).since_version
    return newest > _OPSET


def _axes_as_attribute(node: ir.Node) -> None:
    node.attributes.pop("noop_with_empty_axes", None)
    if len(node.inputs) == 1:
        return
    axes = node.inputs[1]
    if axes is None or axes.const_value is None:
        raise ExportError(f"{node.name}: {node.op_type} has axes that are not constants")
    node.attributes["axes"] = ir.AttrInt64s("axes", axes.const_value.numpy().tolist())
    node.resize_inputs(1)


def _within_int32(value: ir.Value) -> None:
    """Ends of slices that mean "to the end" exceed what TensorRT counts with."""
    if value.dtype != ir.DataType.INT64 or value.const_value is None:
        return
    numbers = value.const_value.numpy()
    if np.abs(numbers).max(initial=0) > _LARGEST:
        value.const_value = ir.tensor(numbers.clip(-_LARGEST, _LARGEST), name=value.name)
