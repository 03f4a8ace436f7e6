"""Whether the optional packages that a command or a function needs are installed. Imports none of them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from stts_runtime.errors import MissingExtraError

_TRAIN = ("torch", "safetensors", "yaml")
_EXPORT = (*_TRAIN, "onnx", "onnxscript", "onnxruntime")
_HUB = "huggingface_hub"
_CALIB = ("onnx", "onnxruntime", "ml_dtypes", "av", "matplotlib")


def check_export_extra(what: str) -> None:
    """Raises `MissingExtraError` before an import fails in the middle of something; `what` is what needs it."""
    _check(_EXPORT, f"{what} needs", "export")


def check_train_extra(what: str) -> None:
    """The same for checkpoints and training, which need no graph library."""
    _check(_TRAIN, f"{what} needs", "train")


def check_calib_extra(what: str) -> None:
    """The same for what needs no torch."""
    _check(_CALIB, f"{what} needs", "calib")


def check_hub_extra(name: str) -> None:
    """The same for what is not here, and may be on the Hugging Face hub by this name."""
    if not _installed(_HUB):
        raise MissingExtraError(
            f"no such folder: {name}; to take it from the Hugging Face hub, install {_HUB}: "
            "pip install 'stts-export[hub]'"
        )


def _check(packages: Sequence[str], need: str, extra: str) -> None:
    missing = [name for name in packages if not _installed(name)]
    if missing:
        raise MissingExtraError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed, and {need} "
            f"{'it' if len(missing) == 1 else 'them'}: "
            f"pip install 'stts-export[{extra}]'"
        )


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:
        return False
