"""Compiling a bundle's graphs to TensorRT engines, on the device or ahead of time. Needs no torch and no onnx."""
