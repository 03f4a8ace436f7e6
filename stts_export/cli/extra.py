"""Whether what the build host's commands need is installed."""

from __future__ import annotations

from importlib.util import find_spec

from stts_runtime.errors import MissingExtraError

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "safetensors", "yaml")


def check_export_extra(what: str) -> None:
    """Raises `MissingExtraError` before an import fails in the middle of something; `what` is what needs it."""
    missing = [name for name in _PACKAGES if not _installed(name)]
    if missing:
        raise MissingExtraError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed, and {what} needs "
            "all of torch's export: pip install 'stts-export[export]'"
        )


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:
        return False
