"""Calibration and evaluation; empty so far. It may import `stts_runtime`, never `stts_export`."""
