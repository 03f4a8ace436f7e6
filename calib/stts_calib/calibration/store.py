"""Calibration frames as a file, enough for a rerun without the video."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from stts_runtime.errors import UserError
from stts_runtime.outputs import written_whole
from stts_runtime.places import check_file

SUFFIX = ".npz"


class Origin(BaseModel):
    """Where a window comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """As it was given, without credentials."""
    times_seconds: list[float]
    """Times of its frames, on the source's own time line."""


@dataclass(frozen=True, eq=False)
class CalibrationFrames:
    frames: NDArray[np.uint8]
    """(N, T, S, S, 3), RGB."""
    origins: tuple[Origin, ...]
    """Origins of the N windows."""
    checkpoint_sha256: str
    """Whose scorer chose them."""

    @property
    def sha256(self) -> str:
        """Hash of the pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.frames).data).hexdigest()


class _About(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_name: Literal["stts.calibration-frames/1"] = "stts.calibration-frames/1"
    origins: list[Origin]
    checkpoint_sha256: str
    sha256: str


def save_frames(path: Path, calibration: CalibrationFrames) -> None:
    about = _About(
        origins=list(calibration.origins),
        checkpoint_sha256=calibration.checkpoint_sha256,
        sha256=calibration.sha256,
    )
    with written_whole(path) as scratch, scratch.open("wb") as stream:
        np.savez_compressed(stream, frames=calibration.frames, about=np.array(about.model_dump_json()))


def load_frames(path: Path) -> CalibrationFrames:
    """Raises `UserError` if it is no such file, or was damaged."""
    check_file(path, wanted="a file of frames")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            frames, about = content["frames"], _About.model_validate_json(str(content["about"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, ValidationError):
        raise UserError(f"{path} holds no calibration frames, or is damaged; gather them again from video") from None
    calibration = CalibrationFrames(frames, tuple(about.origins), about.checkpoint_sha256)
    if calibration.sha256 != about.sha256:
        raise UserError(f"{path} is damaged: its frames are not those that were stored; gather them again from video")
    return calibration
