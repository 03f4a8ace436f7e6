"""What the pipeline's thread does for a question: the only code of the server that touches engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stts_runtime import clock
from stts_runtime.answering import FREE, AnswerForm, OnToken
from stts_runtime.budget import KEY_FRAMES
from stts_runtime.bundle import Bundle
from stts_runtime.overlay import Image
from stts_runtime.records import Answer, AnyAnswer
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.session import Sessions
from stts_runtime.sources.source import Frame
from stts_runtime.stream.channel import Channel
from stts_runtime.stream.watcher import Engines, KeyRule, Watcher
from stts_runtime.video import Window
from stts_runtime.video.pixels import resize_to_square

ONE_FRAME = "the picture is a one-frame video at keep 1: nothing of it was dropped"


@dataclass(frozen=True, eq=False)
class ReadClip:
    """A clip's frames in memory, and the variant that takes them."""

    window: Window
    variant: str
    notes: list[str]
    milliseconds: float


@dataclass(frozen=True, eq=False)
class Asked:
    """A question and, in memory, what it is about: all that the engines' thread needs."""

    text: str
    about: Channel | ReadClip | Image
    """A stream's window as it will be then, or what `EngineWorker.picture` gives."""
    max_tokens: int
    form: AnswerForm = FREE


class EngineWorker:
    """Answers, in the pipeline's thread, what the engine queue hands to it. What that needs is loaded here, once."""

    def __init__(self, bundle: Bundle, sessions: Sessions, live: Engines | None) -> None:
        self._bundle, self._sessions, self._live = bundle, sessions, live
        self.variants = answering_variants(bundle)
        self._one_frame = next((name for name in self.variants if bundle.manifest.variants[name].frames == 1), None)
        for name in self.variants:
            self._warm(name)

    def _warm(self, variant: str) -> None:
        """A first run takes memory and captures graphs: nobody's question should wait for that, and no stream."""
        manifest = self._bundle.manifest
        frames, size = manifest.variants[variant].frames, manifest.vision.image_size
        blank = np.zeros((frames, size, size, 3), np.uint8)
        session = self._sessions.of(variant)
        session.ask(session.watch(Window("blank", 0.0, np.zeros(frames), blank, 1.0)), "?", max_tokens=1)

    @property
    def looks_at_pictures(self) -> bool:
        return self._one_frame is not None or self._live is not None

    def check(self, question: str, form: AnswerForm, max_tokens: int) -> None:
        """Raises `PromptError` for a question that cannot be asked, or not be answered in this form. For any thread."""
        self._sessions.conversation.check([question], form=form, max_tokens=max_tokens)

    def picture(self, image: Image) -> ReadClip | Image:
        """A picture as this bundle looks at one: as a clip of one frame, or as a stream's first frame. For any thread.

        Raises `ApiError` if nothing in it looks at one frame.
        """
        if self._one_frame is not None:
            return ReadClip(self._still(image), self._one_frame, [ONE_FRAME], 0.0)
        if self._live is None:
            raise ApiError(
                400,
                "this bundle has no variant for one frame, so it cannot look at pictures; send a clip, or build it "
                "with --budget frame",
            )
        return image

    def text(self, ids: Sequence[int]) -> str:
        return self._sessions.conversation.text(ids)

    def answer(self, asked: Asked, on_token: OnToken) -> AnyAnswer:
        if isinstance(asked.about, Channel):
            return asked.about.answer_now(asked.text, asked.max_tokens, on_token, asked.form)
        if isinstance(asked.about, ReadClip):
            return self._about_clip(asked.about, asked, on_token)
        return self._about_key_frame(asked.about, asked, on_token)

    def _about_clip(self, clip: ReadClip, asked: Asked, on_token: OnToken) -> Answer:
        session = self._sessions.of(clip.variant)
        watched = session.watch(clip.window, clip.milliseconds, clip.notes)
        return session.ask(watched, asked.text, asked.max_tokens, on_token, asked.form)

    def _about_key_frame(self, image: Image, asked: Asked, on_token: OnToken) -> Answer:
        """A stream's first frame is a window of one frame that is kept whole."""
        assert self._live is not None, "`picture` comes first"
        watcher = Watcher(self._live, 1, KeyRule(every=1, at_least=1, jump=1.0))
        watcher.check_questions([asked.text], asked.form, asked.max_tokens)
        seen = watcher.see(Frame(image, 0.0, clock.now()))
        return Answer.about(
            self._still(image),
            seen.output.kept[None],
            watcher.ask(watcher.watch(), asked.text, asked.max_tokens, on_token, asked.form),
            variant=KEY_FRAMES,
            keep=1.0,
            budget="frame",
            scorer=None,
            watching={"read": 0.0, "vision": seen.vision_ms},
            notes=[ONE_FRAME],
        )

    def _still(self, image: Image) -> Window:
        pixels = resize_to_square(image, self._bundle.manifest.vision.image_size)
        height, width = image.shape[:2]
        return Window("picture", 0.0, np.zeros(1), pixels[None], width / height, height=height)


def answering_variants(bundle: Bundle) -> list[str]:
    """Those that a question about a clip can get: one for each number of frames and keep ratio, the shortest first."""
    wanted = sorted({(one.frames, one.keep) for one in bundle.answering.values()}, key=lambda pair: (pair[0], -pair[1]))
    return [bundle.choose(keep, None, frames) for frames, keep in wanted]
