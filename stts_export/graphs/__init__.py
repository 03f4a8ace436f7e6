"""Modules to ONNX graphs: exporting, weight files, counting and checking."""
