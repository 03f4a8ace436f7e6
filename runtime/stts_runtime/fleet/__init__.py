"""Cameras spread over the machines and GPUs of a Ray cluster. Nothing here imports Ray but `ray_module`."""
