"""TensorRT in its two flavours, whose Python modules have the same classes under two names."""

from stts_runtime.tensorrt.flavour import Flavour, load_flavour
from stts_runtime.tensorrt.logger import Log, made, make_logger

__all__ = ["Flavour", "Log", "load_flavour", "made", "make_logger"]
