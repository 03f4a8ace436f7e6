"""bfloat16 parts of a graph as float32, which holds every value of theirs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper


def widen_nodes(nodes: Iterable[NodeProto]) -> None:
    """Casts and constants of bfloat16 become casts and constants of float32, in place."""
    for node in nodes:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.BFLOAT16:
                attribute.i = TensorProto.FLOAT
            if node.op_type == "Constant" and attribute.t.data_type == TensorProto.BFLOAT16:
                attribute.t.CopyFrom(widened(attribute.t, Path()))


def widened(tensor: TensorProto, folder: Path) -> TensorProto:
    """The tensor in float32 if it is bfloat16; external data is read from `folder`."""
    if tensor.data_type != TensorProto.BFLOAT16:
        return tensor
    values = numpy_helper.to_array(tensor, base_dir=str(folder)).astype(np.float32)
    return numpy_helper.from_array(values, tensor.name)
