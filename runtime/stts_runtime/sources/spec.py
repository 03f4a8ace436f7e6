"""What a source string names. It opens nothing but looks whether a file is there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from stts_runtime.errors import SourceError
from stts_runtime.paths import check_path, is_camera, local_path
from stts_runtime.text import redacted

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_CAMERA_NUMBER = re.compile(r"(?:v4l2:)?(\d+)")
_CSI = re.compile(r"csi:/+(\d+)")
_STREAMED = ("rtsp", "rtsps", "http", "https")
_RECORDED = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"}
_ALLOWED = "a video file, a folder of images, loop:FILE, rtsp(s)://, http(s)://, /dev/video0, csi://0 or gst:PIPELINE"


class Kind(Enum):
    RECORDING = "recording"
    """A video file, here or behind http(s)://: it waits for us."""
    LOOP = "loop"
    """A video file played as a camera would send it, again and again."""
    FOLDER = "folder"
    STREAM = "stream"
    CAMERA = "camera"
    CSI = "csi"
    PIPELINE = "pipeline"


@dataclass(frozen=True)
class Spec:
    kind: Kind
    place: str = field(repr=False)
    """A path, a URL with its credentials, the number of a CSI sensor, or a pipeline."""
    name: str
    """What the user wrote, without credentials."""


def parse_spec(text: str) -> Spec:
    """Raises `SourceError` for what is no source, or a file that is not there.

    http(s) with the suffix of a video file is a recording, with any other name a live stream.
    """
    for parse in (_pipeline, _loop, _numbered, _v4l2, _url):
        kind, place = parse(text)
        if kind is not None:
            return Spec(kind, place, redacted(text))
    path = local_path(text)
    return Spec(_kind_of_path(path), path, text)


def _pipeline(text: str) -> tuple[Kind | None, str]:
    if not text.startswith("gst:"):
        return None, ""
    pipeline = text[len("gst:") :].strip()
    if not pipeline:
        raise SourceError("gst: needs a GStreamer pipeline, such as gst:videotestsrc")
    return Kind.PIPELINE, pipeline


def _loop(text: str) -> tuple[Kind | None, str]:
    if not text.startswith("loop:"):
        return None, ""
    path = local_path(text[len("loop:") :])
    if _kind_of_path(path) is not Kind.RECORDING:
        raise SourceError(f"{path} is not a video file; loop: plays one")
    return Kind.LOOP, path


def _numbered(text: str) -> tuple[Kind | None, str]:
    if found := _CSI.fullmatch(text):
        return Kind.CSI, found[1]
    if found := _CAMERA_NUMBER.fullmatch(text):
        return Kind.CAMERA, f"/dev/video{found[1]}"
    return None, ""


def _v4l2(text: str) -> tuple[Kind | None, str]:
    if not text.startswith("v4l2:"):
        return None, ""
    path = text[len("v4l2:") :]
    if not is_camera(path):
        raise SourceError(f"{path or text} is not a camera; after v4l2: write /dev/video0, or a link to such a device")
    return Kind.CAMERA, path


def _url(text: str) -> tuple[Kind | None, str]:
    found = _SCHEME.match(text)
    if found is None or (scheme := found[1].lower()) == "file":
        return None, ""
    if scheme not in _STREAMED:
        raise SourceError(f"{redacted(text)}: {scheme}:// is not a known source; allowed is {_ALLOWED}")
    if re.search(r"\s", text):
        # Not repeated here: what stands where in a broken URL is not known, passwords included.
        raise SourceError(f"a {scheme}:// URL holds a space or a line break; write a space as %20")
    if not host_and_port(text)[0]:
        raise SourceError(f"{redacted(text)} names no host; write {scheme}://HOST/PATH")
    if scheme.startswith("http") and PurePosixPath(urlsplit(text).path).suffix.lower() in _RECORDED:
        return Kind.RECORDING, text
    return Kind.STREAM, text


def host_and_port(url: str) -> tuple[str, int | None]:
    """As FFmpeg reads them, without the brackets of an IPv6 address; the port is None where the URL gives none.

    Raises `SourceError` for a port that is none.
    """
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port
    except ValueError:
        hint = "write HOST:PORT, and / ? # in a password as %2F %3F %23"
        raise SourceError(f"{redacted(url)}: host and port cannot be read; {hint}") from None


def _kind_of_path(text: str) -> Kind:
    if not text or "\0" in text:
        raise SourceError(f"no source was given; allowed is {_ALLOWED}")
    if is_camera(text):
        return Kind.CAMERA
    check_path(text)
    return Kind.FOLDER if Path(text).is_dir() else Kind.RECORDING
