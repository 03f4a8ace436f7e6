"""Quantized graphs: which products, in which format and ranges, and how they and their weights are written."""
