"""Frames to calibrate on: varied windows of video, chosen by what the scorer makes of them, and kept for a rerun."""

from stts_calib.calibration.choice import choose_windows
from stts_calib.calibration.gather import gather
from stts_calib.calibration.store import CalibrationFrames, load_frames, save_frames

__all__ = ["CalibrationFrames", "choose_windows", "gather", "load_frames", "save_frames"]
