"""Runs STTS bundles on video, without torch.

A `Bundle` is opened, a `Session` loads one of its variants, watches a `Window` of frames and answers questions:

    from pathlib import Path
    from stts_runtime import Bundle, Session, VideoFile, window_of_file

    bundle = Bundle.open(Path("out/tiny"))
    session = Session.open(bundle, "clip-t8-k0.5")
    window = window_of_file(VideoFile("street.mp4"), 8, bundle.manifest.max_fps, bundle.manifest.vision.image_size)
    print(session.ask(session.watch(window), "What happens?").answer)
"""

from stts_runtime.answer import Answer
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.session import Session
from stts_runtime.video import VideoFile, Window, window_of_file

__all__ = ["Answer", "Bundle", "Session", "TokenBudget", "VideoFile", "Window", "window_of_file"]
