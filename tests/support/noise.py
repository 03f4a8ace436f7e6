"""Frames to calibrate on without a video: what random weights make of a quiet one is constant, and refused."""

from __future__ import annotations

import numpy as np

from stts_calib.calibration import CalibrationFrames
from stts_calib.calibration.gather import checkpoint_hash, pruned_variant
from stts_calib.calibration.store import Origin
from stts_runtime.bundle import Bundle


def noise_frames(bundle: Bundle) -> CalibrationFrames:
    """Eight windows of noise that moves."""
    manifest = bundle.manifest
    size, count = manifest.vision.image_size, manifest.variants[pruned_variant(bundle)].frames
    pixels = np.random.default_rng(0).integers(0, 256, (8, count, size, size, 3), dtype=np.uint8)
    origin = Origin(source="noise", times_seconds=[0.0] * count)
    return CalibrationFrames(pixels, (origin,) * 8, checkpoint_hash(bundle))
