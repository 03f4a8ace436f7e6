"""Facts about decoding video. That a decoder is there does not say that it decodes: nothing is decoded here."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import av
import cv2

from stts_runtime.device import Device
from stts_runtime.device.system import output_of
from stts_runtime.doctor.report import Fact
from stts_runtime.video.decoding import LIBRARY

_DECODER = "nvv4l2decoder"
_CODECS = ("h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg")
"""Codecs that cameras, phones and browsers write."""


def video_facts(device: Device, load: Callable[[str], Any] = ctypes.CDLL) -> list[Fact]:
    return [_nvdec(device, load), _gstreamer(), *_pyav(), Fact.of("OpenCV", cv2.__version__, None)]


def _nvdec(device: Device, load: Callable[[str], Any]) -> Fact:
    """On a Jetson through GStreamer: its /dev/v4l2-nvdec is a placeholder that is always there, and proves nothing."""
    if device.l4t is not None:
        found = output_of("gst-inspect-1.0", _DECODER) is not None
        because = f"GStreamer has no {_DECODER}, through which a Jetson decodes"
        return Fact.of("NVDEC", f"{_DECODER} of GStreamer, not tried" if found else None, because)
    if device.gpu is None:
        return Fact.of("NVDEC", None, "there is no GPU")
    try:
        load(LIBRARY)
    except OSError:
        return Fact.of("NVDEC", None, f"the driver's library {LIBRARY} is not installed")
    return Fact.of("NVDEC", f"{LIBRARY}, not tried", None)


def _gstreamer() -> Fact:
    said = output_of("gst-launch-1.0", "--version")
    return Fact.of("GStreamer", said.partition("\n")[0].rpartition(" ")[2] if said else None, "not installed")


def _pyav() -> list[Fact]:
    """What reads every file and stream but GStreamer's."""
    codec = av.library_versions.get("libavcodec")
    missing = [name for name in _CODECS if name not in av.codecs_available]
    decodes = "avcodec " + ".".join(map(str, codec or ())) + (f", without {', '.join(missing)}" if missing else "")
    return [
        Fact.of("PyAV", av.__version__, None),
        Fact.of("PyAV's FFmpeg", decodes if codec else None, "this PyAV does not say which"),
    ]
