"""The two routes, each in a process of its own (`follow.py`): what they need around them, and what came of it.

The camera is a real RTSP server on loopback; where there is none for the system's Python, a file that is played.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stts_runtime.errors import UserError
from stts_tools.house.follow import PERIOD_SECONDS
from stts_tools.house.sources import PACKAGES, PARTS
from tests.fault_lab.server import HOW_TO_INSTALL, RtspServer, h264, is_installed
from tests.support.clips import write_clip

_LIMIT_SECONDS = 180.0


def follow_frame(root: Path, bundle: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch, _camera(Path(scratch)) as (source, what):
        return {"source": what, **_follow("frame", root, bundle, Path(scratch), source)}


def follow_chat(root: Path, bundle: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips = [write_clip(folder / f"{frames}.mp4", frames, fps=2) for frames in (16, 17)]
        return {"source": "a clip as a data URL", **_follow("chat", root, bundle, folder, *map(str, clips))}


@contextmanager
def _camera(folder: Path) -> Iterator[tuple[str, str]]:
    fps = round(1 / PERIOD_SECONDS)
    if not is_installed():
        clip = write_clip(folder / "camera.mp4", frames=60, fps=fps)
        yield f"loop:{clip}", f"a file played as a camera, for want of an RTSP server: {HOW_TO_INSTALL}"
        return
    with RtspServer(h264(fps=fps, key_every=1)) as server:
        yield server.url, "RTSP"


def _follow(route: str, root: Path, bundle: Path, folder: Path, *rest: str) -> dict[str, Any]:
    out = folder / "followed.json"
    words = [route, out, root, bundle.resolve(), *rest]
    command = [sys.executable, "-m", "stts_tools.house.follow", *map(str, words)]
    try:
        done = subprocess.run(
            command, env=_environment(root, folder), capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"the {route} was not answered about within {_LIMIT_SECONDS:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1].removeprefix("error: ")
        raise UserError(f"the {route} cannot be followed through {bundle}: {last}")
    followed: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return followed


def _environment(root: Path, folder: Path) -> Mapping[str, str]:
    """The sources of `root`, and this package; records that wait to be delivered are in `folder`."""
    sources = [root, *((root / PARTS[part]).parent for part in PACKAGES if part != "tools")]
    path = [*sources, Path(__file__).parents[2]]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "XDG_STATE_HOME": str(folder)}
