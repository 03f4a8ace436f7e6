"""Videos in: from a file to the window of frames that a prompt is about."""

from stts_runtime.video.file_source import Most, VideoFile, check_source
from stts_runtime.video.frame_array import FrameArray
from stts_runtime.video.window import Window, rule_count, sample_times, synthetic_window, window_of_file

__all__ = [
    "FrameArray",
    "Most",
    "VideoFile",
    "Window",
    "check_source",
    "rule_count",
    "sample_times",
    "synthetic_window",
    "window_of_file",
]
