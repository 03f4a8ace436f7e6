"""ONNX Runtime: the optional package, its exceptions as ours, and one graph on its CPU provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import HALF_WEIGHTS
from stts_runtime.bundle.manifest import Graphs
from stts_runtime.errors import BundleError, MissingExtraError, SttsError, UserError

# Whatever it has to say comes back as an exception.
SILENT = 4

_REMEDY = "stop other programs, or use fewer frames, a lower keep or a smaller --max-context"
_MEMORY_IS_FULL = ("Failed to allocate memory", "out of memory", "CUDA failure 2:")

_TYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}

# What would widen all of the weights in 16 bits when the graph is loaded, and keep them so.
_WIDENS_ONCE = ["ConstantFolding", "FuseFp16InitializerToFp32NodeTransformer"]
# What would join a product with a sum before the product is seen to have a quantized weight.
_HIDES_QUANTIZED = ["MatMulAddFusion"]
COMPUTES_WIDE = ("session.disable_quant_qdq", "1")
"""For FP8: values are rounded to it, and products are float32; ONNX Runtime would make products of 8 bits of them and
then refuse these."""
_AS_MANY_AS_CORES = 0
_THREADS = ContextVar("threads of a session on the CPU", default=_AS_MANY_AS_CORES)

Signature = dict[str, tuple[type[np.generic], tuple[int | None, ...]]]
"""Names of inputs or outputs with their element type and shape; None stands for a symbolic size."""


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Engines for the CPU that are loaded meanwhile have so many threads each; otherwise one for every core."""
    before = _THREADS.set(count)
    try:
        yield
    finally:
        _THREADS.reset(before)


def onnxruntime_for(engines: str, extra: str) -> Any:
    """Raises `MissingExtraError` if there is none."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(
            f"onnxruntime is not installed, and the bundle's {engines} engines run on it: "
            f"pip install 'stts-export[{extra}]'"
        ) from None
    return onnxruntime


def cpu_runtime() -> Any:
    """ONNX Runtime for the CPU. Raises `MissingExtraError` if there is none."""
    return onnxruntime_for("cpu", "cpu")


@contextmanager
def foreign_errors_as(
    error_type: type[SttsError], what: str, full_memory: Callable[[], UserError] | None = None
) -> Iterator[None]:
    """Turns ONNX Runtime's own exceptions into ours; a full memory, which `full_memory` has words for if it is not the
    host's, is the user's to mend.
    """
    try:
        yield
    except _foreign_errors() as error:
        message = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if any(words in str(error) for words in _MEMORY_IS_FULL):
            full = full_memory() if full_memory else "the memory is full; " + _REMEDY
            raise UserError(f"{what}: {full} (ONNX Runtime says: {message})") from error
        raise error_type(f"{what}: ONNX Runtime says: {message}") from error


def _foreign_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: classes of its own, which have no common base, and what its binding raises."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


def cpu_session(bundle: Bundle, graphs: Graphs, lowering: str, inputs: Signature, outputs: Signature) -> Any:
    """A session whose files and signature have been checked."""
    # All of them: which weight file a graph refers to stands in the graph itself.
    bundle.verify_all()
    graph = bundle.file(graphs[lowering].graph)
    ort = cpu_runtime()
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = _THREADS.get()
    # Vision and language are sessions with threads of their own, and idle threads that spin take the cores away from
    # the session whose turn it is. A decode step pays a little for it, vision gains much more
    # (benchmarks/cpu/random-tiny-spinning.json).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    unwanted = _WIDENS_ONCE if lowering == HALF_WEIGHTS else []
    if graphs[lowering].quantized is not None:
        unwanted = [*unwanted, *_HIDES_QUANTIZED]
    if graphs[lowering].quantized == "fp8":
        options.add_session_config_entry(*COMPUTES_WIDE)
    with foreign_errors_as(BundleError, f"{graph} cannot be loaded"):
        session = ort.InferenceSession(
            str(graph), sess_options=options, providers=["CPUExecutionProvider"], disabled_optimizers=unwanted
        )
    for got, wanted in ((session.get_inputs(), inputs), (session.get_outputs(), outputs)):
        _check_signature(graph, got, wanted)
    return session


def _check_signature(graph: Path, got: Any, wanted: Signature) -> None:
    """A graph that is not the one the manifest describes would fail in the middle of a run."""
    found = {
        value.name: (_TYPES.get(value.type), tuple(size if isinstance(size, int) else None for size in value.shape))
        for value in got
    }
    if found != wanted:
        name = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))[0]
        raise BundleError(f"{graph} is not the graph that the manifest describes: {name} differs")
