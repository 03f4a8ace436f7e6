"""What the exporter leaves is folded and joined: constants, reshapes of reshapes, unused values.

As onnxscript's `optimize_ir`, but for the rules. Most of its 46 are about convolutions, and one looks at all nodes for
each node: a fifth of a build went there. The rules here are those about operators that our graphs have.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.optimizer import fold_constants_ir
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as known

_ROUNDS = 2
_NAMES = (
    "mul_by_1_rule",
    "add_0_rule",
    "sub_0_rule",
    "div_by_1_rule",
    "two_reshapes_matmul_reshape_rule",
    "one_reshape_matmul_reshape_rule",
    "cast_constant_of_shape_rule",
    "cast_constant_of_shape_without_value_rule",
    "collapse_slice_rule",
    "collapse_slice2_rule",
    "materialize_reshape_shape_rule",
    "cast_cast_rule",
    "no_op_cast_rule",
    "no_op_expand_rule",
    "reshape_reshape_rule",
    "no_op_transpose_rule",
    "transpose_transpose_rule",
    "unsqueeze_unsqueeze_rule",
    "squeeze_reshape_1d_rule",
)
_RULES = [getattr(known, name) for name in _NAMES]


def optimize(model: ir.Model, should_fold: Callable[[ir.Node], bool | None]) -> None:
    """In place. `should_fold` says of a node whether it may become a constant; None: if it is small."""
    common.InlinePass()(model)
    for _ in range(_ROUNDS):
        folded = fold_constants_ir(model, onnx_shape_inference=True, should_fold=should_fold)
        rewritten = _clean_up(model, RewritePass(_RULES))
        if not (folded.modified or rewritten):
            break
    _clean_up(
        model,
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )


def _clean_up(model: ir.Model, *passes: ir.passes.InPlacePass) -> bool:
    """Whether one of `passes`, or taking out what is unused, changed something."""
    unused = (common.RemoveUnusedNodesPass(), common.RemoveUnusedOpsetsPass())
    changed = [one(model).modified for one in (*passes, *unused)]
    return any(changed)
