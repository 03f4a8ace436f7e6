"""From sources to calibration frames: every source is read through, and the windows that differ most are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_calib.calibration.choice import choose_windows, traits
from stts_calib.calibration.store import CalibrationFrames, Origin
from stts_runtime import clock
from stts_runtime.bundle import Bundle
from stts_runtime.engines import load_vision
from stts_runtime.errors import BundleError, SourceError
from stts_runtime.sources import Frame, Source, open_source, redacted
from stts_runtime.video.pixels import resize_to_square

CANDIDATES_PER_WINDOW = 8
"""Windows considered for each one kept, if the sources have as many."""
_WINDOWS_APART = 4
"""A new window begins after this fraction of a window's length: 1/4."""
_PATIENCE_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class Candidate:
    frames: NDArray[np.uint8]
    """(T, S, S, 3), RGB."""
    origin: Origin
    traits: NDArray[np.float64]


def gather(
    bundle: Bundle, sources: Sequence[str], count: int, on_candidate: Callable[[int], None] = lambda _: None
) -> CalibrationFrames:
    """`count` windows of the shortest pruned variant; `on_candidate` is told how many were looked at so far.

    Raises `SourceError` for a source that cannot be read or holds no window, and `BundleError` for a bundle without a
    scorer.
    """
    name = pruned_variant(bundle)
    engine, frames = load_vision(bundle, name), bundle.manifest.variants[name].frames
    candidates: list[Candidate] = []
    for spec in sources:
        held = len(candidates)
        most = -(-CANDIDATES_PER_WINDOW * count // len(sources))
        for pixels, origin in _windows(spec, frames, bundle, most):
            scores = engine.run(pixels).scores
            assert scores is not None
            candidates.append(Candidate(pixels, origin, traits(scores)))
            on_candidate(len(candidates))
        if len(candidates) == held:
            raise SourceError(
                f"{redacted(spec)} holds no window of {frames} frames at {bundle.manifest.max_fps:g} a second"
            )
    chosen = choose_windows(np.stack([one.traits for one in candidates]), count)
    return CalibrationFrames(
        frames=np.stack([candidates[number].frames for number in chosen]),
        origins=tuple(candidates[number].origin for number in chosen),
        checkpoint_sha256=checkpoint_hash(bundle),
    )


def pruned_variant(bundle: Bundle) -> str:
    """The shortest variant that scores, nearest to the default keep."""
    manifest = bundle.manifest
    scored = {name: one for name, one in manifest.variants.items() if one.is_pruned and not one.is_control}
    if not scored:
        raise BundleError(
            f"{bundle.folder} has no pruned variant, and frames are chosen and engines compared by what its scorer "
            f"keeps; build it with --keep 0.5 added to: {manifest.build_command}"
        )
    return min(scored, key=lambda name: (scored[name].frames, abs(scored[name].keep - manifest.default_keep)))


def checkpoint_hash(bundle: Bundle) -> str:
    """What tells one checkpoint's bundles from another's: the hash of its vision weights in float32."""
    graphs = next(iter(bundle.manifest.variants.values())).graphs
    if "cpu" not in graphs:
        raise BundleError(
            f"{bundle.folder} has no graphs for the cpu target, on which calibration computes: "
            f"{bundle.manifest.rebuild_for('cpu')}"
        )
    return bundle.manifest.files[graphs["cpu"].weights].sha256


def _windows(spec: str, frames: int, bundle: Bundle, most: int) -> Iterator[tuple[NDArray[np.uint8], Origin]]:
    """At most `most` windows of one source, each beginning a part of its length after the one before."""
    size, apart = bundle.manifest.vision.image_size, max(1, frames // _WINDOWS_APART)
    recent: deque[tuple[float, NDArray[np.uint8]]] = deque(maxlen=frames)
    source, found = open_source(spec, frames_per_second=bundle.manifest.max_fps), 0
    try:
        for number, frame in enumerate(_looks(source, 1 / bundle.manifest.max_fps)):
            recent.append((frame.seconds, resize_to_square(frame.image, size)))
            if len(recent) == frames and (number - frames + 1) % apart == 0:
                times = [round(seconds, 3) for seconds, _ in recent]
                yield np.stack([pixels for _, pixels in recent]), Origin(source=source.name, times_seconds=times)
                found += 1
                if found == most:
                    return
    finally:
        source.close()


def _looks(source: Source, period: float) -> Iterator[Frame]:
    """Frames at least a period apart. Raises `SourceError` for a live source that gives none."""
    due, silent_since = 0.0, clock.now()
    while True:
        frame = source.take(_PATIENCE_SECONDS)
        if frame is not None:
            silent_since = clock.now()
            if frame.seconds >= due:
                due = max(due + period, frame.seconds)
                yield frame
        elif source.status.over:
            return
        elif clock.now() - silent_since > 30 * _PATIENCE_SECONDS:
            raise SourceError(f"{source.name} gives no pictures: {source.status.reason}")
