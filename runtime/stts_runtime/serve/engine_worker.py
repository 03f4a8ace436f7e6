"""What the pipeline's thread does for a question: the only code of the server that touches engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from stts_runtime.answering import FREE, AnswerForm, Calls, Conversation, OnToken, Prefix, Turn
from stts_runtime.answering.generation import Stopwatch
from stts_runtime.budget import KEY_FRAMES
from stts_runtime.bundle import Bundle
from stts_runtime.engines import VisionOutput
from stts_runtime.engines.finite import check_scores
from stts_runtime.errors import EngineError
from stts_runtime.overlay import Image
from stts_runtime.records import Answer, AnyAnswer
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.engine_queue import Work
from stts_runtime.serve.look_cache import LookCache
from stts_runtime.serve.looks import LookKey, ReadLook
from stts_runtime.session import Session, Sessions
from stts_runtime.stream.channel import Channel
from stts_runtime.stream.watcher import Engines
from stts_runtime.video import Window
from stts_runtime.video.pixels import resize_to_square

ONE_FRAME = "the picture is a one-frame video at keep 1: nothing of it was dropped"


@dataclass(frozen=True, eq=False)
class Asked:
    """A question and, in memory, what it is about: all that the engines' thread needs."""

    text: str
    about: Channel | ReadLook
    """A stream's window as it will be then, or what was read."""
    max_tokens: int
    form: AnswerForm = FREE
    history: Sequence[Turn] = ()
    read_milliseconds: float = 0.0


class EngineWorker:
    """Answers, in the pipeline's thread, what the engine queue hands to it. What that needs is loaded here, once."""

    def __init__(self, bundle: Bundle, sessions: Sessions, live: Engines | None, cache: LookCache) -> None:
        """`cache` is one of this bundle's own."""
        self._bundle, self._sessions, self._live, self.cache = bundle, sessions, live, cache
        self._last: dict[Conversation, tuple[LookKey, Prefix]] = {}
        """What the cache of each conversation held after its last question about a clip or picture."""
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

    def check(self, question: str, form: AnswerForm, max_tokens: int, history: Sequence[Turn] = ()) -> None:
        """Raises `PromptError` for a question that cannot be asked, or not be answered in this form. For any thread."""
        self._sessions.conversation.check([question], form=form, max_tokens=max_tokens, history=history)

    def picture(self, image: Image) -> ReadLook:
        """A picture as this bundle looks at one: as a clip of one frame, or as a stream's first frame. For any thread.

        Raises `ApiError` if nothing in it looks at one frame.
        """
        if not self.looks_at_pictures:
            raise ApiError(
                400,
                "this bundle has no variant for one frame, so it cannot look at pictures; send a clip, or build it "
                "with --budget frame",
            )
        pixels = resize_to_square(image, self._bundle.manifest.vision.image_size)
        height, width = image.shape[:2]
        window = Window("picture", 0.0, np.zeros(1), pixels[None], width / height, height=height)
        return ReadLook(window, self._one_frame or KEY_FRAMES, [ONE_FRAME])

    def text(self, ids: Sequence[int]) -> str:
        return self._sessions.conversation.text(ids)

    def work(self, asked: Asked) -> Work[AnyAnswer]:
        """What answers it."""
        return Work(partial(self._answering, asked), partial(self._holds, asked.about))

    def _holds(self, about: Channel | ReadLook, conversation: Conversation) -> bool:
        last = self._last.get(conversation)
        return last is not None and isinstance(about, ReadLook) and last[0] == about.key

    def _answering(self, asked: Asked, conversation: Conversation, on_token: OnToken) -> Calls[AnyAnswer]:
        if isinstance(asked.about, Channel):
            about = asked.about.answering_now(conversation, asked.text, asked.max_tokens, on_token, asked.form)
            return (yield from about)
        try:
            return (yield from self._about_look(asked.about, asked, conversation, on_token))
        except EngineError:
            # Whatever it was, it is not answered from again.
            self._last.pop(conversation, None)
            self.cache.drop("visual_tokens", asked.about.key)
            raise

    def _about_look(self, look: ReadLook, asked: Asked, conversation: Conversation, on_token: OnToken) -> Calls[Answer]:
        session = None if look.variant == KEY_FRAMES else self._sessions.of(look.variant)
        stopwatch = Stopwatch()
        with stopwatch.stage("vision"):
            vision, reused = self._seen(look, session)
        spent = {"read": asked.read_milliseconds, **stopwatch.milliseconds}
        prefix = self._prefilled(look, vision, conversation)
        reply = yield from conversation.asking(
            prefix, asked.text, asked.max_tokens, on_token, asked.form, asked.history
        )
        if session is not None:
            return session.record(look.window, vision, reply, spent, look.notes, reused_vision=reused)
        return Answer.about(
            look.window,
            vision.kept,
            reply,
            variant=KEY_FRAMES,
            keep=1.0,
            budget="frame",
            scorer=None,
            watching=spent,
            notes=look.notes,
            reused_vision=reused,
        )

    def _seen(self, look: ReadLook, session: Session | None) -> tuple[VisionOutput, bool]:
        """Visual tokens, and whether they were kept from an earlier question."""
        fresh: list[VisionOutput] = []

        def see() -> VisionOutput:
            if session is None:
                return self._key_frame(look.window)
            fresh.append(session.see(look.window))
            return session.kept_aside(fresh[0])

        kept, reused = self.cache.get("visual_tokens", look.key, see, _size_of)
        # What was just computed lies where the language engine has the shortest way to it.
        return (fresh[0] if fresh else kept), reused

    def _prefilled(self, look: ReadLook, vision: VisionOutput, conversation: Conversation) -> Prefix:
        """As it is in the conversation's cache, if its question before was about the same look."""
        last = self._last.pop(conversation, None)
        if last is None or last[0] != look.key or not conversation.holds(last[1]):
            times = look.window.times_seconds.tolist()
            last = look.key, conversation.watch(vision.visual_tokens, times, vision.kept)
        self._last[conversation] = last
        return last[1]

    def _key_frame(self, window: Window) -> VisionOutput:
        """A stream's first frame is a window of one frame that is kept whole."""
        assert self._live is not None, "`picture` comes first"
        seen = self._live.vision.run(window.frames[0], None, key=True)
        check_scores(seen.scores)
        return VisionOutput(seen.visual_tokens, seen.kept[None], seen.scores[None])


def _size_of(vision: VisionOutput) -> int:
    scores = 0 if vision.scores is None else vision.scores.nbytes
    return int(vision.visual_tokens.nbytes) + vision.kept.nbytes + scores


def answering_variants(bundle: Bundle) -> list[str]:
    """Those that a question about a clip can get: one for each number of frames and keep ratio, the shortest first."""
    wanted = sorted({(one.frames, one.keep) for one in bundle.answering.values()}, key=lambda pair: (pair[0], -pair[1]))
    return [bundle.choose(keep, None, frames) for frames, keep in wanted]
