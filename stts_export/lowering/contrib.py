"""ONNX Runtime's own operators (domain `com.microsoft`) that lowerings call; onnx does not know their signatures.

Source: ONNX Runtime's list of contrib operators. Inputs and attributes that no lowering here uses are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx.defs import OpSchema
from onnxscript.values import Op, Opset

DOMAIN = "com.microsoft"
_OPSET = Opset(DOMAIN, 1)

_NUMBERS = [f"tensor({name})" for name in ("float", "float16", "bfloat16", "int32", "int64")]
_INT, _FLOAT = OpSchema.AttrType.INT, OpSchema.AttrType.FLOAT
_REQUIRED, _OPTIONAL = OpSchema.FormalParameterOption.Single, OpSchema.FormalParameterOption.Optional


def _operator(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str] = ("output",),
    attributes: Mapping[str, OpSchema.AttrType] | None = None,
    required: int | None = None,
) -> Op:
    """An operator whose inputs may all differ in type; those after the first `required` may be left out."""
    count = len(inputs) if required is None else required
    parameters = [
        OpSchema.FormalParameter(what, f"T{number}", param_option=_REQUIRED if number < count else _OPTIONAL)
        for number, what in enumerate(inputs)
    ]
    schema = OpSchema(
        name,
        DOMAIN,
        1,
        inputs=parameters,
        outputs=[OpSchema.FormalParameter(what, "T0") for what in outputs],
        type_constraints=[(f"T{number}", _NUMBERS, "") for number in range(len(inputs))],
        attributes=[OpSchema.Attribute(what, kind, required=False) for what, kind in (attributes or {}).items()],
    )
    return Op(_OPSET, name, schema)


# Attention over whole rows: queries (B, L, C), keys and values (B, S, C), an additive bias (1 or B, 1 or heads, L, S).
multi_head_attention = _operator(
    "MultiHeadAttention",
    ("query", "key", "value", "bias", "key_padding_mask", "attention_bias"),
    attributes={"num_heads": _INT, "scale": _FLOAT},
    required=3,
)

# The same within rows of different lengths that lie one after the other: all (M, C); where each begins, (rows + 1,).
packed_multi_head_attention = _operator(
    "PackedMultiHeadAttention",
    ("query", "key", "value", "bias", "token_offset", "cumulative_sequence_length"),
    attributes={"num_heads": _INT, "scale": _FLOAT},
    required=3,
)

# Causal attention over caches (1, kv heads, slots, head_dim) that it writes, in place where they are bound so. The
# query may hold keys and values too, (1, L, channels of all three); with norms and tables it norms and turns them.
group_query_attention = _operator(
    "GroupQueryAttention",
    (
        "query",
        "key",
        "value",
        "past_key",
        "past_value",
        "seqlens_k",
        "total_sequence_length",
        "cos_cache",
        "sin_cache",
        "position_ids",
        "attention_bias",
        "head_sink",
        "k_scale",
        "v_scale",
        "q_norm_weight",
        "k_norm_weight",
    ),
    outputs=("output", "present_key", "present_value"),
    attributes={"num_heads": _INT, "kv_num_heads": _INT, "do_rotary": _INT, "qk_norm_epsilon": _FLOAT},
    required=1,
)

# GELU in its tanh form, of x or of x + bias.
fast_gelu = _operator("FastGelu", ("x", "bias"), required=1)

# x * sigmoid(alpha * x).
quick_gelu = _operator("QuickGelu", ("x",), attributes={"alpha": _FLOAT})
