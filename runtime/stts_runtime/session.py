"""A session: one bundle, one vision variant, any number of windows and questions.

A frame's way through here: `watch` runs the vision engine on a window and prefills its visual tokens; `ask` goes back
to the end of the video in the cache, appends a question there and decodes the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answer import Answer, MillisecondRecord, TokenRecord, WindowRecord
from stts_runtime.bundle import Bundle
from stts_runtime.device import selected_gpu
from stts_runtime.engines import (
    EngineName,
    LanguageEngine,
    VisionEngine,
    VisionOutput,
    load_language,
    load_vision,
)
from stts_runtime.errors import PromptError, UserError
from stts_runtime.generate import Follow, Generated, generate, go_on
from stts_runtime.prompt import PromptBuilder, Tokens
from stts_runtime.stopwatch import Stopwatch
from stts_runtime.video import Window

NOISE = "this checkpoint has random weights: its answers are noise"


@dataclass
class Watched:
    """A window whose visual tokens are in the cache."""

    window: Window
    vision: VisionOutput
    prefix: Tokens
    spent: dict[str, float]
    notes: list[str]
    questions: int = 0


class Session:
    """Not thread-safe: it owns the cache of its language engine."""

    def __init__(self, bundle: Bundle, variant: str, vision: VisionEngine, language: LanguageEngine) -> None:
        manifest = bundle.manifest
        self._bundle, self.variant = bundle, variant
        self._budget = manifest.budget(manifest.variants[variant])
        self._vision, self._language = vision, language
        self._prompts = PromptBuilder(bundle.file(manifest.prompt.tokenizer).read_bytes(), manifest.prompt)

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        variant: str,
        language: LanguageEngine | None = None,
        engine: EngineName = "cpu",
        device: str | None = None,
    ) -> Session:
        """Loads the variant's engines; everything they need is checked first.

        Sessions that take turns may share one `language` engine, of the same kind as `engine` and on the same GPU.
        `device` names a GPU (cuda:0, cuda:1, ...); None: the one that is selected (`select_gpu`).
        """
        with selected_gpu(device):
            return cls(bundle, variant, load_vision(bundle, variant, engine), language or load_language(bundle, engine))

    @property
    def lowerings(self) -> tuple[str, str]:
        """Which graphs of the vision variant and of the language model run, or were compiled."""
        return self._vision.lowering, self._language.lowering

    def check_questions(self, questions: Sequence[str], watched: Watched | None = None) -> None:
        """Raises `PromptError` if a question cannot be asked; with a window, also if it does not fit beside it."""
        for question in questions:
            self._prompts.check_question(question)
            if watched is not None:
                self._check_fits(self._prompts.question(question, watched.prefix), len(watched.prefix))

    def text(self, ids: Sequence[int]) -> str:
        """Generated tokens in words, while there are more to come too."""
        return self._prompts.text(ids)

    def watch(
        self,
        window: Window,
        read_milliseconds: float = 0.0,
        notes: list[str] | None = None,
        given: NDArray[np.bool_] | None = None,
    ) -> Watched:
        """Computes a window's visual tokens and prefills them; forgets the window before.

        `given` (T, G) says what to keep, for control variants only.
        """
        stopwatch = Stopwatch()
        with stopwatch.stage("vision"):
            vision = self._vision.run(window.frames, given)
        with stopwatch.stage("prefill_video"):
            prefix = self._prompts.video(window.times_seconds.tolist(), vision.kept)
            if len(prefix) >= self._language.context:
                raise PromptError(
                    f"the video takes {len(prefix)} tokens and the context holds {self._language.context}; "
                    "use fewer frames or a lower keep, or build with a larger --max-context"
                )
            self._language.rewind(0)
            self._language.show(vision.visual_tokens)
            self._language.prefill(prefix)
        noise = [NOISE] if self._bundle.manifest.random_weights else []
        spent = {"read": read_milliseconds, **stopwatch.milliseconds}
        return Watched(window, vision, prefix, spent, [*(notes or []), *window.notes, *noise])

    def ask(self, watched: Watched, question: str, max_tokens: int = 64, follow: Follow = go_on) -> Answer:
        """Answers a question about the window that was watched last; `follow` hears of every token."""
        if max_tokens < 1:
            raise UserError(f"an answer needs at least 1 token, got {max_tokens}")
        if self._language.shown is not watched.vision.visual_tokens:
            raise UserError("this window is no longer in the cache; watch it again before asking about it")
        # What an earlier question left behind the video is overwritten.
        self._language.rewind(len(watched.prefix))
        stopwatch = Stopwatch()
        with stopwatch.stage("prefill_question"):
            asked = self._prompts.question(question, watched.prefix)
            self._check_fits(asked, len(watched.prefix))
            first = self._language.forward(asked)
        with stopwatch.stage("decode"):
            eos_ids = self._bundle.manifest.prompt.eos_ids
            generated = generate(self._language, first, asked.next_position, eos_ids, max_tokens, follow)
        watched.questions += 1
        return self._record(watched, question, asked, generated, stopwatch.milliseconds)

    def _check_fits(self, asked: Tokens, prefix: int) -> None:
        room = self._language.context - prefix
        if len(asked) >= room:
            raise PromptError(
                f"the question takes {len(asked)} tokens, and beside the video's {prefix} the context of "
                f"{self._language.context} leaves {room - 1}; shorten it, or build with a larger --max-context"
            )

    def _record(
        self, watched: Watched, question: str, asked: Tokens, generated: Generated, asking: dict[str, float]
    ) -> Answer:
        # The first question pays for the window, later ones find it in the cache.
        reused = watched.questions > 1
        watching = dict.fromkeys(watched.spent, 0.0) if reused else watched.spent
        spent = {**watching, **asking}
        rounded = {name: round(value, 3) for name, value in spent.items()}
        window = watched.window
        return Answer(
            source=window.source,
            window=WindowRecord(
                frames=len(window.frames),
                times_seconds=[round(time, 3) for time in window.times_seconds.tolist()],
                duration_seconds=round(window.duration_seconds, 3),
            ),
            question=question,
            answer=self._prompts.text(generated.ids),
            finish="end" if generated.ended else "length",
            variant=self.variant,
            keep=self._budget.keep,
            budget=self._budget.scope,
            kept_per_frame=watched.vision.kept.sum(axis=1).tolist(),
            tokens=TokenRecord(
                visual_in=self._budget.visual_tokens,
                visual_kept=self._budget.kept,
                prompt=len(watched.prefix) + len(asked),
                generated=len(generated.ids),
            ),
            milliseconds=MillisecondRecord(**rounded, total=round(sum(spent.values()), 3)),
            reused_prefix=reused,
            notes=watched.notes,
        )
