"""A few frames of a video as settings saw them, small enough for a page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from stts_calib.questions.evaluate import QuestionEvaluation
from stts_calib.questions.seen import VideoSeen
from stts_calib.questions.watcher import windows_of
from stts_runtime.overlay import Image, dimmed
from stts_runtime.video import Window

_SHOWN = 4
_HEIGHT = 96
_WIDEST = 170
_GAP = 3
_QUALITY = 70


def strips(evaluation: QuestionEvaluation, seen: VideoSeen, settings: Sequence[str]) -> Mapping[str, str]:
    """By setting, a JPEG as a data URL: frames from first to last with dropped groups dark, each under its time.

    Raises `SourceError` if the video cannot be read any more.
    """
    manifest = evaluation.bundle.manifest
    variants = {one.name: one.variant for one in evaluation.settings}
    windows = windows_of(evaluation.bundle, evaluation.exam, evaluation.exam.videos[seen.clip])
    found = {}
    for name in settings:
        window = windows[manifest.variants[variants[name]].frames]
        groups = manifest.budget(manifest.variants[variants[name]]).groups
        found[name] = _strip(window, seen.settings[name].kept_groups(len(window.frames), groups))
    return found


def _strip(window: Window, kept: NDArray[np.bool_]) -> str:
    """`kept` is (T, G)."""
    count = len(window.frames)
    width = min(_WIDEST, max(2, round(_HEIGHT * window.aspect)))
    frames = []
    for number in np.unique(np.linspace(0, count - 1, _SHOWN).round().astype(int)).tolist():
        small = cv2.resize(window.frames[number][..., ::-1], (width, _HEIGHT), interpolation=cv2.INTER_AREA)
        frame: Image = dimmed(small.astype(np.uint8), kept[number])
        time = f"{window.times_seconds[number]:.1f} s"
        cv2.putText(frame, time, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), 1, cv2.LINE_AA)
        frames.append(cv2.copyMakeBorder(frame, 0, 0, 0, _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    _, encoded = cv2.imencode(".jpg", np.hstack(frames), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
