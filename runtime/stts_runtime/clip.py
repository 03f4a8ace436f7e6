"""Clips: a video file or an array of frames, and the variant of a bundle that fits it. Needs no engine."""

from __future__ import annotations

from dataclasses import dataclass

from stts_runtime.bundle import Bundle
from stts_runtime.stopwatch import Stopwatch
from stts_runtime.video import FrameArray, VideoFile, Window, rule_count, window_of_file


@dataclass(frozen=True)
class Wanted:
    """What a variant should be like; None leaves it to the bundle and the clip."""

    keep: float | None = None
    budget: str | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Clip:
    """Timed frames, and the variant that fits them best."""

    bundle: Bundle
    video: VideoFile | FrameArray
    variant: str
    notes: list[str]
    milliseconds: float
    """What opening and timing it took."""

    @classmethod
    def open(cls, bundle: Bundle, source: str, wanted: Wanted, nvdec: bool = False) -> Clip:
        """Raises `SourceError` for a file that cannot be used, `BundleError` where no variant fits."""
        stopwatch = Stopwatch()
        with stopwatch.stage("read"):
            video = VideoFile(source, nvdec=nvdec)
        return cls.of(bundle, video, wanted, stopwatch.milliseconds["read"])

    @classmethod
    def of(cls, bundle: Bundle, video: VideoFile | FrameArray, wanted: Wanted, milliseconds: float = 0.0) -> Clip:
        """Raises `BundleError` where no variant fits."""
        manifest = bundle.manifest
        count = rule_count(video.duration_seconds, manifest.max_fps)
        at_most = min(count, video.frames) if wanted.frames is None else None
        name = bundle.choose(wanted.keep, wanted.budget, wanted.frames, at_most)
        notes, taken = list(video.notes), manifest.variants[name].frames
        if taken != count:
            notes.append(
                f"{manifest.max_fps:g} frames a second would be {count} frames; the variant takes {taken}, evenly "
                f"from start to end"
            )
        return cls(bundle, video, name, notes, milliseconds)

    def window(self) -> tuple[Window, float]:
        """The frames that the variant takes, and the milliseconds that it took to have them since `open`."""
        manifest, stopwatch = self.bundle.manifest, Stopwatch()
        with stopwatch.stage("read"):
            frames = manifest.variants[self.variant].frames
            size, video = manifest.vision.image_size, self.video
            if isinstance(video, FrameArray):
                window = video.window(frames, manifest.max_fps, size)
            else:
                window = window_of_file(video, frames, manifest.max_fps, size)
        return window, self.milliseconds + stopwatch.milliseconds["read"]
