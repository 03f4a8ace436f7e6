"""What the tests find here. Python 3.10 has neither: there the runtime alone is tested."""

from importlib.util import find_spec

HAS_TORCH, HAS_ONNXRUNTIME = (find_spec(name) is not None for name in ("torch", "onnxruntime"))
