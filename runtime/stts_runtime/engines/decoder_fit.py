"""What of a bundle's decoder the kernels of `cuda_decode` need, read from its step graph and its weights.

The graph is looked at and not run: numbers of heads, epsilons and rotary tables stand nowhere else. A graph that is not
of the form that the kernels compute is a `Misfit`, and ONNX Runtime runs it as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle.contract import JOINED_BY
from stts_runtime.bundle.onnx_file import Node, OnnxFile
from stts_runtime.cuda_decode.layer import Weights, scale_bytes
from stts_runtime.cuda_decode.shape import DecoderShape, Form
from stts_runtime.cuda_decode.variants import Activation, WeightKind
from stts_runtime.engines.cuda_memory import DeviceArray

_ATTENTION = "GroupQueryAttention"
_KEYS, _COS, _SIN, _Q_NORM, _K_NORM = 3, 7, 8, 14, 15
"""Numbers of its inputs."""
_KNOWN = frozenset(
    "Add ArgMax Cast Clip Gather Gemm Less MatMulBlockQuantizedFp8Weight MatMulNBits Mul QuickGelu Reshape "
    "RMSNormalization RotaryEmbedding Slice Split Squeeze Sub SkipSimplifiedLayerNormalization Unsqueeze Where "
    f"{_ATTENTION}".split()
)
_EPSILONS = ("epsilon", "qk_norm_epsilon")
_DECODER = "language_model"
_BEHIND = {"input_layernorm": "self_attn.o_proj.weight", "post_attention_layernorm": "mlp.down_proj.weight"}
"""Norms of OLMo 3's form, and the products that they follow."""
_KINDS: Mapping[tuple[str, float, float], WeightKind] = {
    ("MatMulNBits", 4, 32): "int4",
    ("MatMulBlockQuantizedFp8Weight", 8, 128): "float8",
}
"""By the product's name, the bits of a value and how many values share a scale."""
_BYTE_BITS = 8
_STORED_AS: Mapping[WeightKind, str] = {"float8": "fp8", "int4": "int4"}
"""What the names of a matrix's values end in."""
_FLOAT32 = np.dtype(np.float32)


class Misfit(Exception):  # noqa: N818  # no error: another path is taken
    """Why the kernels cannot run a decoder: one clause."""


@dataclass(frozen=True)
class LayerArrays:
    """A layer's weights, each joined matrix as one; scales are None where there are none."""

    qkv: tuple[DeviceArray, DeviceArray | None]
    output: tuple[DeviceArray, DeviceArray | None]
    gate: tuple[DeviceArray, DeviceArray | None]
    up: tuple[DeviceArray, DeviceArray | None]
    down: tuple[DeviceArray, DeviceArray | None]
    norms: tuple[DeviceArray, ...]
    """Of the input and of the MLP, ahead or behind, of queries, of keys."""
    tables: tuple[str, str]
    """Names of cosines and sines."""


@dataclass(frozen=True)
class FittedDecoder:
    """A decoder that the kernels can run."""

    shape: DecoderShape
    kind: WeightKind
    activation: Activation
    layers: tuple[LayerArrays, ...]
    base: DeviceArray
    extra: DeviceArray
    norm: DeviceArray
    head: DeviceArray
    tables: Mapping[str, NDArray[np.float32]]
    """Of rotary positions, (positions, D / 2), by name; layers share them."""


def fitted_decoder(graph: OnnxFile, weights: Mapping[str, DeviceArray]) -> FittedDecoder:
    """Raises `Misfit`."""
    unknown = {node.type for node in graph.nodes} - _KNOWN
    if unknown:
        raise Misfit(f"its graph has operators that the kernels do not know: {', '.join(sorted(unknown))}")
    attentions = [node for node in graph.nodes if node.type == _ATTENTION]
    try:
        return _fitted(graph, attentions, weights)
    except (KeyError, IndexError) as error:
        raise Misfit(f"its graph or weights lack {error}") from None


def _fitted(graph: OnnxFile, attentions: Sequence[Node], weights: Mapping[str, DeviceArray]) -> FittedDecoder:
    first, kind = attentions[0], _kind(graph)
    # Queries and keys that are normed whole are turned ahead of the operator, which norms by head alone.
    form: Form = "qwen3" if first.attributes.get("do_rotary") else "olmo3"
    tables = _tables_of_qwen3(attentions) if form == "qwen3" else _tables_of_olmo3(graph, attentions)
    norm, base = weights[f"{_DECODER}.norm.weight"], weights[f"{_DECODER}.embed_tokens.base"]
    q_norm = weights[f"{_DECODER}.layers.0.self_attn.q_norm.weight"]
    mlp = _matrix(weights, ["layers.0.mlp.gate_proj.weight"], kind)[0]
    shape = DecoderShape(
        width=norm.shape[0],
        layers=len(attentions),
        heads=int(first.attributes["num_heads"]),
        kv_heads=int(first.attributes["kv_num_heads"]),
        head_dim=q_norm.shape[0] // (1 if form == "qwen3" else int(first.attributes["num_heads"])),
        mlp_width=mlp.shape[0],
        eps=_epsilon(graph),
        form=form,
    )
    if (reason := shape.misfit()) is not None:
        raise Misfit(reason)
    _check_alike(attentions)
    _check_norms(graph, shape)
    fitted = FittedDecoder(
        shape,
        kind,
        "bfloat" if norm.dtype is None else "half",
        tuple(_layer(of_layer, number, weights, kind) for number, of_layer in enumerate(tables)),
        base,
        weights[f"{_DECODER}.embed_tokens.extra"],
        norm,
        weights.get("lm_head.weight", base),
        {name: graph.constants[name].astype(np.float32) for name in {name for of_layer in tables for name in of_layer}},
    )
    _check_types(fitted)
    _check_sizes(fitted)
    return fitted


def _kind(graph: OnnxFile) -> WeightKind:
    """Products with weights in blocks say how large these are, and no other operator does."""
    forms = {
        (node.type, node.attributes.get("bits", _BYTE_BITS), node.attributes["block_size"])
        for node in graph.nodes
        if "block_size" in node.attributes
    }
    if len(forms) > 1 or not forms <= _KINDS.keys():
        raise Misfit("its weights are of a format that the kernels do not know")
    return _KINDS[forms.pop()] if forms else "dense"


def _tables_of_qwen3(attentions: Sequence[Node]) -> list[tuple[str, str]]:
    """Of each layer, the names of its cosines and sines, once it is known that the operator norms and turns."""
    for number, node in enumerate(attentions):
        if not node.attributes.get("do_rotary"):
            raise Misfit("its layers' attention is not alike, or without rotary positions")
        names = [f"{_DECODER}.layers.{number}.self_attn.{part}_norm.weight" for part in "qk"]
        if [node.inputs[_Q_NORM], node.inputs[_K_NORM]] != names or node.inputs[_KEYS] != f"key.{number}":
            raise Misfit("its queries and keys are not normed by head")
    return [(node.inputs[_COS], node.inputs[_SIN]) for node in attentions]


def _tables_of_olmo3(graph: OnnxFile, attentions: Sequence[Node]) -> list[tuple[str, str]]:
    """The same, once it is known that queries and keys are turned, half by half, ahead of the operator."""
    made = {name: node for node in graph.nodes for name in node.outputs}
    tables = []
    for number, node in enumerate(attentions):
        turned = [made[name] for name in node.inputs[:2]]
        if any(one.type != "RotaryEmbedding" or one.attributes.get("interleaved") for one in turned):
            raise Misfit("its queries and keys are not turned half by half")
        # Rows of a table, with a dimension more.
        of_both = [tuple(made[made[name].inputs[0]].inputs[0] for name in one.inputs[1:3]) for one in turned]
        if of_both[0] != of_both[1] or node.inputs[_KEYS] != f"key.{number}":
            raise Misfit("its queries and keys are not turned alike")
        tables.append((of_both[0][0], of_both[0][1]))
    return tables


def _epsilon(graph: OnnxFile) -> float:
    """Of all norms."""
    found = {node.attributes[name] for node in graph.nodes for name in _EPSILONS if name in node.attributes}
    if len(found) != 1:
        raise Misfit(f"its norms have epsilons {sorted(found)}, and the kernels take one")
    return float(found.pop())


def _check_alike(attentions: Sequence[Node]) -> None:
    if any(node.attributes != attentions[0].attributes for node in attentions):
        raise Misfit("its layers' attention is not alike")
    if attentions[0].attributes.keys() - {"num_heads", "kv_num_heads", "do_rotary", "qk_norm_epsilon"}:
        raise Misfit("its attention has attributes that the kernels do not know")


def _check_norms(graph: OnnxFile, shape: DecoderShape) -> None:
    norms = [node for node in graph.nodes if "epsilon" in node.attributes]
    names = [node.inputs[-1] for node in norms]
    if shape.form == "qwen3":
        if names[0] != f"{_DECODER}.layers.0.input_layernorm.weight" or len(norms) != 2 * shape.layers + 1:
            raise Misfit("its norms are not ahead of attention and MLP")
        return
    of_layer = ("self_attn.q_norm", "self_attn.k_norm", *_BEHIND)
    wanted = [f"{_DECODER}.layers.{number}.{name}.weight" for number in range(shape.layers) for name in of_layer]
    made = {name: node for node in graph.nodes for name in node.outputs}
    products = [made[node.inputs[0]].inputs[1] for node in norms if ".self_attn." not in node.inputs[-1]][:-1]
    behind = [f"{_DECODER}.layers.{number}.{_BEHIND[name]}" for number in range(shape.layers) for name in _BEHIND]
    adds = sum(node.type == "Add" for node in graph.nodes)
    if (
        names != [*wanted, f"{_DECODER}.norm.weight"]
        or not all(map(str.startswith, products, behind))
        or adds != 2 * shape.layers
    ):
        raise Misfit("its norms are neither ahead of attention and MLP nor behind them")


def _layer(tables: tuple[str, str], number: int, weights: Mapping[str, DeviceArray], kind: WeightKind) -> LayerArrays:
    layer = f"layers.{number}"

    def matrix(*parts: str) -> tuple[DeviceArray, DeviceArray | None]:
        return _matrix(weights, [f"{layer}.{part}_proj.weight" for part in parts], kind)

    norms = ("input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm")
    return LayerArrays(
        matrix(*(f"self_attn.{part}" for part in "qkv")),
        matrix("self_attn.o"),
        matrix("mlp.gate"),
        matrix("mlp.up"),
        matrix("mlp.down"),
        tuple(weights[f"{_DECODER}.{layer}.{name}.weight"] for name in norms),
        tables,
    )


def _matrix(
    weights: Mapping[str, DeviceArray], names: Sequence[str], kind: WeightKind
) -> tuple[DeviceArray, DeviceArray | None]:
    whole = [f"{_DECODER}.{name}" for name in names]
    if kind == "dense":
        return weights[JOINED_BY.join(whole)], None
    values = [f"{name}.{_STORED_AS[kind]}" for name in whole]
    return weights[JOINED_BY.join(values)], weights[JOINED_BY.join(f"{name}.scales" for name in values)]


def _check_types(fitted: FittedDecoder) -> None:
    wanted = fitted.norm.dtype
    arrays, of_blocks = [fitted.base, fitted.extra, fitted.norm, fitted.head], []
    for layer in fitted.layers:
        arrays += layer.norms
        for values, scales in (layer.qkv, layer.output, layer.gate, layer.up, layer.down):
            if scales is None:
                arrays.append(values)
            else:
                of_blocks.append(scales)
    if wanted not in (None, np.dtype(np.float16)) or any((one.item_bytes, one.dtype) != (2, wanted) for one in arrays):
        raise Misfit("its weights are not all of one 16-bit type")
    of_scales = _FLOAT32 if fitted.kind == "float8" else wanted
    if any(one.dtype != of_scales for one in of_blocks):
        raise Misfit("its weights' scales are of a type that the kernels do not know")


def _check_sizes(fitted: FittedDecoder) -> None:
    for layer in fitted.layers:
        for name, (rows, columns) in fitted.shape.matrices.items():
            values, scales = getattr(layer, name)
            if values.shape[0] != rows or _columns(values, fitted.kind) != columns:
                raise Misfit(f"{name} is {values.shape}, and {rows} x {columns} are expected")
            if scales is not None and scales.size_bytes != rows * scale_bytes(fitted.kind, columns):
                raise Misfit(f"{name} has scales of {scales.shape} for {rows} x {columns}")
            if values.address % 16 or (scales is not None and scales.address % 16):
                raise Misfit("its weights do not lie at whole 16 bytes")


def _columns(values: DeviceArray, kind: WeightKind) -> int:
    return values.shape[1] * values.shape[2] * 2 if kind == "int4" else values.shape[1]


def device_weights(values: DeviceArray, scales: DeviceArray | None, kind: WeightKind) -> Weights:
    """As the kernels take a matrix."""
    return Weights(values.address, 0 if scales is None else scales.address, values.shape[0], _columns(values, kind))
