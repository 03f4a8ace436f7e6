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
from stts_runtime.cuda_decode.layer import Weights
from stts_runtime.cuda_decode.shape import DecoderShape
from stts_runtime.cuda_decode.variants import Activation, WeightKind
from stts_runtime.engines.cuda_memory import DeviceArray

_ATTENTION = "GroupQueryAttention"
_KEYS, _COS, _SIN, _Q_NORM, _K_NORM = 3, 7, 8, 14, 15
"""Numbers of its inputs."""
_KNOWN = frozenset(
    "Add ArgMax Cast Clip Gather Gemm Less MatMulNBits Mul QuickGelu Reshape RMSNormalization Slice Split Squeeze Sub "
    f"SkipSimplifiedLayerNormalization Unsqueeze Where {_ATTENTION}".split()
)
_DECODER = "language_model"
_BLOCKS = "MatMulNBits"
_INT4_BITS, _INT4_BLOCK = 4, 32


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
    """Of the input, of the MLP, of queries, of keys."""
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
    norm, base = weights[f"{_DECODER}.norm.weight"], weights[f"{_DECODER}.embed_tokens.base"]
    q_norm = weights[f"{_DECODER}.layers.0.self_attn.q_norm.weight"]
    mlp = _matrix(weights, ["layers.0.mlp.gate_proj.weight"], kind)[0]
    shape = DecoderShape(
        width=norm.shape[0],
        layers=len(attentions),
        heads=int(first.attributes["num_heads"]),
        kv_heads=int(first.attributes["kv_num_heads"]),
        head_dim=q_norm.shape[0],
        mlp_width=mlp.shape[0],
        eps=float(first.attributes["qk_norm_epsilon"]),
    )
    if (reason := shape.misfit()) is not None:
        raise Misfit(reason)
    _check_alike(graph, attentions, shape)
    fitted = FittedDecoder(
        shape,
        kind,
        "bfloat" if norm.dtype is None else "half",
        tuple(_layer(node, number, weights, kind) for number, node in enumerate(attentions)),
        base,
        weights[f"{_DECODER}.embed_tokens.extra"],
        norm,
        weights.get("lm_head.weight", base),
        {
            name: graph.constants[name].astype(np.float32)
            for name in {node.inputs[number] for node in attentions for number in (_COS, _SIN)}
        },
    )
    _check_types(fitted)
    _check_sizes(fitted)
    return fitted


def _kind(graph: OnnxFile) -> WeightKind:
    forms = {(node.attributes["bits"], node.attributes["block_size"]) for node in graph.nodes if node.type == _BLOCKS}
    if forms not in ({(_INT4_BITS, _INT4_BLOCK)}, set()):
        raise Misfit("its weights are of a format that the kernels do not know")
    return "int4" if forms else "dense"


def _check_alike(graph: OnnxFile, attentions: Sequence[Node], shape: DecoderShape) -> None:
    for number, node in enumerate(attentions):
        if node.attributes != attentions[0].attributes or not node.attributes.get("do_rotary"):
            raise Misfit("its layers' attention is not alike, or without rotary positions")
        if node.attributes.keys() - {"num_heads", "kv_num_heads", "do_rotary", "qk_norm_epsilon"}:
            raise Misfit("its attention has attributes that the kernels do not know")
        names = [f"{_DECODER}.layers.{number}.self_attn.{part}_norm.weight" for part in "qk"]
        if [node.inputs[_Q_NORM], node.inputs[_K_NORM]] != names or node.inputs[_KEYS] != f"key.{number}":
            raise Misfit("its queries and keys are not normed by head")
    epsilons = {node.attributes["epsilon"] for node in graph.nodes if "epsilon" in node.attributes}
    if epsilons != {attentions[0].attributes["qk_norm_epsilon"]}:
        raise Misfit(f"its norms have epsilons {sorted(epsilons)}, and the kernels take one")
    norms = [node for node in graph.nodes if "epsilon" in node.attributes]
    if norms[0].inputs[-1] != f"{_DECODER}.layers.0.input_layernorm.weight" or len(norms) != 2 * shape.layers + 1:
        raise Misfit("its norms are not ahead of attention and MLP")


def _layer(node: Node, number: int, weights: Mapping[str, DeviceArray], kind: WeightKind) -> LayerArrays:
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
        (node.inputs[_COS], node.inputs[_SIN]),
    )


def _matrix(
    weights: Mapping[str, DeviceArray], names: Sequence[str], kind: WeightKind
) -> tuple[DeviceArray, DeviceArray | None]:
    whole = [f"{_DECODER}.{name}" for name in names]
    if kind == "dense":
        return weights[JOINED_BY.join(whole)], None
    values = [f"{name}.int{_INT4_BITS}" for name in whole]
    return weights[JOINED_BY.join(values)], weights[JOINED_BY.join(f"{name}.scales" for name in values)]


def _check_types(fitted: FittedDecoder) -> None:
    wanted = fitted.norm.dtype
    arrays = [fitted.base, fitted.extra, fitted.norm, fitted.head]
    for layer in fitted.layers:
        arrays += layer.norms
        for values, scales in (layer.qkv, layer.output, layer.gate, layer.up, layer.down):
            arrays.append(values if scales is None else scales)
    if wanted not in (None, np.dtype(np.float16)) or any(array.dtype != wanted for array in arrays):
        raise Misfit("its weights are not all of one 16-bit type")


def _check_sizes(fitted: FittedDecoder) -> None:
    for layer in fitted.layers:
        for name, (rows, columns) in fitted.shape.matrices.items():
            values, scales = getattr(layer, name)
            if values.shape[0] != rows or _columns(values, fitted.kind) != columns:
                raise Misfit(f"{name} is {values.shape}, and {rows} x {columns} are expected")
            if values.address % 16 or (scales is not None and scales.address % 16):
                raise Misfit("its weights do not lie at whole 16 bytes")


def _columns(values: DeviceArray, kind: WeightKind) -> int:
    return values.shape[1] if kind == "dense" else values.shape[1] * values.shape[2] * 2


def device_weights(values: DeviceArray, scales: DeviceArray | None, kind: WeightKind) -> Weights:
    """As the kernels take a matrix."""
    return Weights(values.address, 0 if scales is None else scales.address, values.shape[0], _columns(values, kind))
