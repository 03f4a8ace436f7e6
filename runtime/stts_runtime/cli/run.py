"""`stts-runtime run`: answers to questions about video files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from stts_runtime.answer import Answer
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineName, LanguageEngine, choose_engine, load_language
from stts_runtime.errors import UserError
from stts_runtime.outputs import check_output
from stts_runtime.overlay import SUFFIXES, write_overlay
from stts_runtime.session import Session, Watched
from stts_runtime.stopwatch import Stopwatch
from stts_runtime.video import VideoFile, check_source, rule_count, window_of_file


class Sessions:
    """Opens each variant once, however many sources use it; all share one language engine."""

    def __init__(
        self,
        bundle: Bundle,
        keep: float | None,
        budget: str | None,
        frames: int | None,
        engine: EngineName | None = None,
    ) -> None:
        self.bundle, self._engine = bundle, choose_engine(bundle, engine)
        self._wanted = keep, budget, frames
        self._language: LanguageEngine | None = None
        self._open: dict[str, Session] = {}
        bundle.choose(keep, budget, frames)

    def answers(self, source: str, questions: Sequence[str], max_tokens: int, overlay: Path | None) -> Iterator[Answer]:
        """Answers about one source, one by one; the overlay is written as soon as all questions are known to fit."""
        video, name, notes, stopwatch = self._opened(source)
        session = self._session(name)
        session.check_questions(questions)
        with stopwatch.stage("read"):
            manifest = self.bundle.manifest
            frames = manifest.variants[name].frames
            window = window_of_file(video, frames, manifest.max_fps, manifest.vision.image_size)
        watched = session.watch(window, stopwatch.milliseconds["read"], notes)
        session.check_questions(questions, watched)
        if overlay is not None:
            _write(overlay, session, watched)
        for question in questions:
            yield session.ask(watched, question, max_tokens)

    def _opened(self, source: str) -> tuple[VideoFile, str, list[str], Stopwatch]:
        """The file, the variant that fits it, what to say about that, and the time it took."""
        keep, budget, frames = self._wanted
        manifest, stopwatch = self.bundle.manifest, Stopwatch()
        with stopwatch.stage("read"):
            video = VideoFile(source)
        count = rule_count(video.duration_seconds, manifest.max_fps)
        at_most = min(count, video.frames) if frames is None else None
        name = self.bundle.choose(keep, budget, frames, at_most)
        notes, taken = [*self._engine.notes, *video.notes], manifest.variants[name].frames
        if taken != count:
            notes.append(
                f"{manifest.max_fps:g} frames a second would be {count} frames; the variant takes {taken}, evenly "
                f"from start to end"
            )
        return video, name, notes, stopwatch

    def _session(self, name: str) -> Session:
        if self._language is None:
            self._language = load_language(self.bundle, self._engine.name)
        if name not in self._open:
            self._open[name] = Session.open(self.bundle, name, self._language, self._engine.name)
        return self._open[name]


def check_request(bundle: Path, sources: Sequence[str], overlay: Path | None) -> None:
    """Refuses what cannot work before any engine is loaded."""
    for source in sources:
        check_source(source)
    if overlay is None:
        return
    if len(sources) > 1:
        raise UserError(f"--overlay takes one source, got {len(sources)}")
    check_output(overlay, SUFFIXES, sources[0], bundle)


def _write(overlay: Path, session: Session, watched: Watched) -> None:
    kept = watched.vision.kept
    write_overlay(overlay, watched.window, kept, f"{session.variant}: {kept.sum()} of {kept.size} groups kept")
