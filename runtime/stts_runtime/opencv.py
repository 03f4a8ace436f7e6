"""OpenCV, which would otherwise write its own lines to stderr, with the URLs that it was given."""

from __future__ import annotations

import os

# OpenCV and the FFmpeg inside it read these when first used.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")

import cv2

__all__ = ["cv2"]
