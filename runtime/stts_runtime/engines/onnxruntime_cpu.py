"""The `cpu` target: ONNX Runtime's CPU provider. The cache is written in place through I/O binding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import LanguageModel, Passport
from stts_runtime.engines.seam import VisionOutput
from stts_runtime.errors import BundleError, EngineError, MissingExtraError
from stts_runtime.prompt import Tokens

_ERRORS_ONLY = 3
Result = TypeVar("Result")


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(
            "onnxruntime is not installed, and the bundle's cpu engines run on it: pip install 'stts-export[cpu]'"
        ) from None
    return onnxruntime


def check_passport(passport: Passport) -> None:
    """Raises `BundleError` if the installed ONNX Runtime is older than the engine needs."""
    installed = _onnxruntime().__version__
    if _version(installed) < _version(passport.minimum_backend_version):
        raise BundleError(
            f"{passport.graph} needs onnxruntime {passport.minimum_backend_version} or newer, and {installed} is "
            f"installed: pip install -U onnxruntime (which needs Python 3.11 or newer)"
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def _called(what: str, call: Callable[[], Result]) -> Result:
    """Runs `call` and turns ONNX Runtime's own exceptions into ours."""
    # Its exception classes have no common base but this one, and live in a private module.
    try:
        return call()
    except RuntimeError as error:
        raise EngineError(f"{what}: ONNX Runtime says: {_first_line(error)}") from error
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):
            raise EngineError(f"{what}: ONNX Runtime says: {_first_line(error)}") from error
        raise


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _session(graph: Path) -> Any:
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Vision and language are sessions with threads of their own. Idle threads that spin take the cores away from the
    # session whose turn it is: on 2 cores that made every stage a quarter slower (docs/performance.md).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return _called(
        f"cannot load {graph.name}",
        lambda: ort.InferenceSession(str(graph), sess_options=options, providers=["CPUExecutionProvider"]),
    )


def _checked_session(bundle: Bundle, passport: Passport) -> Any:
    check_passport(passport)
    bundle.file(passport.weights)
    return _session(bundle.file(passport.graph))


class CpuVision:
    """One vision variant on the CPU."""

    def __init__(self, bundle: Bundle, variant: str) -> None:
        record = bundle.manifest.variants[variant]
        self._budget: TokenBudget = bundle.manifest.budget(record)
        self._session = _checked_session(bundle, record.engine)

    def run(self, frames: NDArray[np.uint8]) -> VisionOutput:
        """RGB frames (T, H, W, 3) uint8 -> the window's visual tokens, in numpy."""
        outputs = _called("vision", lambda: self._session.run(None, {"frames": frames}))
        shape = (self._budget.frames, self._budget.groups)
        if self._budget.keep == 1:
            return VisionOutput(outputs[0], np.ones(shape, dtype=np.bool_), None)
        tokens, scores, kept_groups = outputs
        kept = np.zeros(shape, dtype=np.bool_)
        kept.reshape(-1)[kept_groups] = True
        return VisionOutput(tokens, kept, scores)


class CpuLanguage:
    """The language model on the CPU."""

    def __init__(self, bundle: Bundle) -> None:
        model = bundle.manifest.language
        self._session = _checked_session(bundle, model.engine)
        self._binding = self._session.io_binding()
        self._visual = np.zeros((model.visual_rows, model.visual_width), dtype=np.float32)
        self._bind_caches(model)
        self.context, self.length = model.context, 0

    def _bind_caches(self, model: LanguageModel) -> None:
        # Past and present share one buffer, so that TensorScatter writes into it instead of copying it.
        ort = _onnxruntime()
        shape = (1, model.context, model.kv_channels)
        for name in cache_names(model.layers):
            # An OrtValue on the CPU is a view of the array that it is made from: each needs one of its own.
            cache = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype=np.float32))
            self._binding.bind_ortvalue_input(name, cache)
            self._binding.bind_ortvalue_output(f"new_{name}", cache)

    def show(self, visual_tokens: NDArray[np.float32]) -> None:
        self._visual[: len(visual_tokens)] = visual_tokens

    def forward(self, tokens: Tokens) -> int:
        if self.length + len(tokens) > self.context:
            raise EngineError(f"{self.length} + {len(tokens)} tokens do not fit a context of {self.context}")
        self._binding.bind_cpu_input("token_ids", tokens.ids)
        self._binding.bind_cpu_input("positions", tokens.positions)
        self._binding.bind_cpu_input("start", np.array([self.length], dtype=np.int64))
        self._binding.bind_cpu_input("visual_tokens", self._visual)
        self._binding.bind_output("next_token")
        _called("language model", lambda: self._session.run_with_iobinding(self._binding))
        self.length += len(tokens)
        return int(self._binding.get_outputs()[-1].numpy()[0])

    def rewind(self, length: int) -> None:
        self.length = length


def cache_names(layers: int) -> list[str]:
    """Names of the cache inputs of the language graph; the outputs have `new_` before them."""
    return [f"{kind}.{layer}" for layer in range(layers) for kind in ("key", "value")]
