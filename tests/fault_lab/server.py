"""The RTSP server as a child process, and what it needs."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from types import TracebackType

_SCRIPT = Path(__file__).with_name("rtsp_server.py")
_PYTHON = "/usr/bin/python3"
_NEEDED = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
    "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('x264enc', 'rtph264pay', 'rtppcmupay', 'y4menc')))"
)
HOW_TO_INSTALL = (
    "the fault lab needs GStreamer with its RTSP server for /usr/bin/python3: scripts/install_test_packages, or "
    "apt-get install gstreamer1.0-tools gstreamer1.0-rtsp gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-ugly gir1.2-gst-rtsp-server-1.0 python3-gi"
)


@cache
def is_installed() -> bool:
    command = [_PYTHON, "-W", "ignore", "-c", _NEEDED]
    try:
        return not subprocess.run(command, check=False, capture_output=True).returncode
    except FileNotFoundError:
        return False


def h264(width: int = 160, height: int = 120, fps: int = 15, key_every: int = 15, packet: int = 1400) -> str:
    """A moving ball on black, the way a camera sends it; `packet` is the size of RTP packets in bytes."""
    return (
        f"videotestsrc is-live=true pattern=ball ! video/x-raw,width={width},height={height},framerate={fps}/1 "
        f"! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={key_every} bframes=0 "
        f"! rtph264pay name=pay0 config-interval=1 mtu={packet}"
    )


class RtspServer:
    """Serves `pipeline` under /stream on a port of the loopback interface; `port` 0 takes a free one."""

    def __init__(self, pipeline: str, port: int = 0, user: str | None = None, password: str = "") -> None:
        command = [_PYTHON, "-W", "ignore", str(_SCRIPT), pipeline, "--port", str(port)]
        if user:
            command += ["--user", user, "--password", password]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        self.port = int(self._child.stdout.readline())

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/stream"

    def kill(self) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.kill()
        self._child.wait()
        self._child.stdin.close()
        self._child.stdout.close()

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
