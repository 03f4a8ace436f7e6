"""The model, written for export: every module takes and gives tensors of static shape."""
