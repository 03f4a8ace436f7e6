"""What makes frames useless for calibration, in one line each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stts_calib.calibration.gather import checkpoint_hash
from stts_calib.calibration.store import CalibrationFrames
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError

FEWEST = 4
"""Windows: the half of them gives ranges, and the others say whether these hold."""
_FLAT = 2.0
"""Standard deviation of a picture, of 255, below which it shows nothing."""
_BLOWN = 0.5
"""Share of values that are 0 or 255 from which a picture is over- or underexposed."""


def check_frames(calibration: CalibrationFrames, bundle: Bundle) -> None:
    """Raises `UserError` for frames of another checkpoint or size, too few of them, or such that show nothing."""
    if calibration.checkpoint_sha256 != checkpoint_hash(bundle):
        raise UserError(
            f"these calibration frames were chosen by another checkpoint than that of {bundle.folder}; gather them "
            "again: --frames-from VIDEO"
        )
    frames, size = calibration.frames, bundle.manifest.vision.image_size
    if frames.ndim != 5 or frames.dtype != np.uint8 or frames.shape[2:] != (size, size, 3):
        raise UserError(
            f"calibration frames should be (windows, frames, {size}, {size}, 3) uint8, and are {frames.shape} "
            f"{frames.dtype}; gather them again: --frames-from VIDEO"
        )
    if len(frames) < FEWEST:
        raise UserError(
            f"{len(frames)} windows are too few to calibrate on: at least {FEWEST}; give longer or further videos"
        )
    _check_worth(frames)


def _check_worth(frames: NDArray[np.uint8]) -> None:
    flat = sum(bool(window.std() < _FLAT) for window in frames)
    if 2 * flat > len(frames):
        raise UserError(f"{flat} of {len(frames)} windows show one colour and nothing else; is the lens covered?")
    if all(np.array_equal(window, frames[0]) for window in frames[1:]):
        raise UserError("all windows are the same picture for picture; take video in which something happens")
    blown = sum(float(((window == 0) | (window == 255)).mean()) > _BLOWN for window in frames)
    if 2 * blown > len(frames):
        raise UserError(
            f"{blown} of {len(frames)} windows are black or white for the most part, so their ranges would be "
            "saturated; take video of ordinary exposure"
        )
