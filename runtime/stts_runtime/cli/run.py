"""`stts-runtime run`: answers to questions about video files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stts_runtime.answer import Answer
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_runtime.overlay import check_overlay_path, write_overlay
from stts_runtime.session import Session, Watched
from stts_runtime.stopwatch import Stopwatch
from stts_runtime.video import VideoFile, rule_count, window_of_file


class Sessions:
    """Opens each variant once, however many sources use it."""

    def __init__(self, bundle: Bundle, keep: float | None, budget: str | None, frames: int | None) -> None:
        self.bundle = bundle
        self._wanted = keep, budget, frames
        self._open: dict[str, Session] = {}
        bundle.choose(keep, budget, frames)

    def watch(self, source: str) -> tuple[Session, Watched]:
        """Reads a source and prefills its window with the variant that fits it."""
        keep, budget, frames = self._wanted
        manifest, watch, notes = self.bundle.manifest, Stopwatch(), []
        with watch.stage("read"):
            video = VideoFile(source)
            count = rule_count(video.duration_seconds, manifest.max_fps)
            name = self.bundle.choose(keep, budget, frames, at_most=count if frames is None else None)
            taken = manifest.variants[name].frames
            window = window_of_file(video, taken, manifest.max_fps, manifest.vision.image_size)
        if taken != count:
            notes.append(
                f"{manifest.max_fps:g} frames a second would be {count} frames; the variant takes {taken}, evenly "
                f"from start to end"
            )
        session = self._session(name)
        return session, session.watch(window, watch.milliseconds["read"], notes)

    def _session(self, name: str) -> Session:
        if name not in self._open:
            self._open[name] = Session.open(self.bundle, name)
        return self._open[name]


def check_request(sources: Sequence[str], overlay: Path | None) -> None:
    """Refuses what cannot work before any engine is loaded."""
    if overlay is None:
        return
    if len(sources) > 1:
        raise UserError(f"--overlay takes one source, got {len(sources)}")
    check_overlay_path(overlay)


def answers(
    sessions: Sessions, source: str, questions: Sequence[str], max_tokens: int, overlay: Path | None
) -> list[Answer]:
    """All answers about one source; the overlay is written once the window is known."""
    session, watched = sessions.watch(source)
    if overlay is not None:
        kept = watched.vision.kept
        write_overlay(overlay, watched.window, kept, f"{session.variant}: {kept.sum()} of {kept.size} groups kept")
    return [session.ask(watched, question, max_tokens) for question in questions]
