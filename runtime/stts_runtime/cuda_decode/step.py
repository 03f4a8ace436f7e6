"""A whole decode step as launches: a token's row, all layers, logits, the next token. It owns no memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

from stts_runtime.cuda_decode.driver import Argument, Driver, LoadedModule, UnfitDeviceError, best_architecture
from stts_runtime.cuda_decode.layer import Caches, LayerKernels, LayerWeights, Product, Weights, Workspace
from stts_runtime.cuda_decode.shape import MAX_BATCH, DecoderShape
from stts_runtime.cuda_decode.variants import (
    ATTENTION_SPLITS,
    ATTENTION_WARPS,
    PRODUCTS,
    TILINGS,
    Activation,
    Module,
    WeightKind,
    attention_module,
    ends_module,
    products_module,
    residual_module,
)

CHOOSING_BLOCKS = 64
_THREADS, _CHOICE_BYTES = 256, 8
_DEPENDENT_GRAPHS = 12030
"""The driver from which on a graph may hold launches that start before their turn."""


@dataclass(frozen=True)
class DecoderWeights:
    """Everything but the layers by address, of the activations' type."""

    base: int
    """(vocabulary, width) of the embedding; tokens from `vocabulary` on are rows of `extra`."""
    extra: int
    vocabulary: int
    norm: int
    head: Weights
    layers: tuple[LayerWeights, ...]


@dataclass(frozen=True)
class Ends:
    """Addresses of what goes in and comes out, of every sequence; shapes in ends.cu."""

    tokens: int
    logits: int
    best: int
    tickets: int
    next_token: int


class StepKernels:
    """The kernels of a model on a device."""

    def __init__(
        self, driver: Driver, device: int, shape: DecoderShape, kind: WeightKind, activation: Activation
    ) -> None:
        """Raises `UnfitDeviceError` where the device is too old or too small, `EngineError` where its driver does not
        take the kernels.
        """
        architecture = best_architecture(driver.architecture(device))
        if architecture is None:
            raise UnfitDeviceError(
                f"the GPU has compute capability {driver.architecture(device) / 10}, and 8.0 is the least"
            )

        def loaded(module: Module) -> LoadedModule:
            return LoadedModule.packaged(driver, module, architecture)

        wanted, of_head = (
            products_module(kind, activation, TILINGS[kind], shape.form),
            products_module("dense", activation, TILINGS["dense"]),
        )
        products = loaded(wanted)
        dense = products if wanted == of_head else loaded(of_head)
        attention = loaded(attention_module(shape.head_dim, activation, shape.form))
        residual = loaded(residual_module(activation)) if shape.form == "olmo3" else None
        ends = loaded(ends_module(activation))
        self.layer = LayerKernels(
            shape,
            {name: Product(products.kernel(name), kind, TILINGS[kind][name], name == "gated") for name in PRODUCTS},
            attention.kernel("attention"),
            ATTENTION_WARPS,
            splits_for(shape, driver.multiprocessors(device)),
            architecture >= 90 and driver.version() >= _DEPENDENT_GRAPHS,
            None if residual is None else residual.kernel("add_normed"),
        )
        self._head = Product(dense.kernel("qkv"), "dense", TILINGS["dense"]["qkv"])
        self._embed, self._choose = ends.kernel("embed"), ends.kernel("choose")
        have = driver.shared_bytes(device)
        fitting = [batch for batch in range(1, MAX_BATCH + 1) if self.layer.shared_bytes(batch) <= have]
        if not fitting:
            raise UnfitDeviceError(
                f"they take {self.layer.shared_bytes(1)} bytes of shared memory a block, and the GPU has {have}"
            )
        self.most_sequences = fitting[-1]
        """That may share a step."""

    def enqueue(
        self,
        stream: int,
        batch: int,
        weights: DecoderWeights,
        caches: Sequence[Caches],
        slots: int,
        work: Workspace,
        ends: Ends,
    ) -> None:
        """One token of each sequence; `caches` of each layer, of this many slots."""
        self._enqueue_embedding(stream, batch, weights, work, ends)
        for layer, of_layer in zip(weights.layers, caches, strict=True):
            self.layer.enqueue(stream, batch, layer, of_layer, slots, work)
        self._enqueue_choice(stream, batch, weights, work, ends)

    def _enqueue_embedding(self, stream: int, batch: int, weights: DecoderWeights, work: Workspace, ends: Ends) -> None:
        # The first of a step starts in its turn: what is after it may then read numbers of this step ahead of waiting.
        arguments: list[Argument] = [*map(ctypes.c_void_p, (ends.tokens, weights.base, weights.extra))]
        arguments += [ctypes.c_int(weights.vocabulary), ctypes.c_int(self.layer.shape.width), ctypes.c_void_p(work.x)]
        self._embed.launch(stream, (batch, 1, 1), _THREADS, 0, arguments, dependent=False)

    def _enqueue_choice(self, stream: int, batch: int, weights: DecoderWeights, work: Workspace, ends: Ends) -> None:
        dependent, eps, logits = (
            self.layer.dependent,
            ctypes.c_float(self.layer.shape.eps),
            ctypes.c_void_p(ends.logits),
        )
        arguments = (weights.head, ctypes.c_void_p(work.x), ctypes.c_void_p(weights.norm), eps, logits)
        self._head.launch(stream, batch, weights.head, (*arguments, ctypes.c_int(batch)), dependent)
        places = map(ctypes.c_void_p, (ends.best, ends.tickets, ends.next_token))
        self._choose.launch(
            stream,
            (CHOOSING_BLOCKS, batch, 1),
            _THREADS,
            _THREADS * _CHOICE_BYTES,
            (logits, ctypes.c_int(weights.head.rows), *places),
            dependent,
        )


def splits_for(shape: DecoderShape, multiprocessors: int) -> int:
    """No more blocks of attention than the device runs at once, one each."""
    return max(1, min(multiprocessors // shape.kv_heads, ATTENTION_SPLITS))
