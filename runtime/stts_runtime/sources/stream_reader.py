"""Readers of live streams behind a URL."""

from __future__ import annotations

from stts_runtime.sources.faults import Refused
from stts_runtime.sources.pyav_reader import PyAVReader, check_host
from stts_runtime.sources.settings import LiveSettings


class StreamReader(PyAVReader):
    """rtsp(s):// and http(s)://. Refuses a recording behind http(s)://, which would rush by and start again."""

    def __init__(self, url: str, settings: LiveSettings) -> None:
        self._url = url
        # Without a guess at the frame rate, for which FFmpeg would wait for twenty pictures.
        options = {"fpsprobesize": "0"}
        if url.lower().startswith("rtsp"):
            options["rtsp_transport"] = settings.transport
        super().__init__(url, options, settings.open_seconds, settings.stall_seconds, settings.nvdec)

    def open(self) -> None:
        check_host(self._url)
        super().open()
        if self._url.lower().startswith("http") and self.duration_seconds is not None:
            length = f"{self.duration_seconds:.0f} s"
            raise Refused(f"this is a recording of {length} and no live stream; download it and give the file")
