"""The front door for Python: a bundle is loaded, and asked about clips and streams. `cli/run.py` is a layer on it.

It hands over: arguments to `arguments.py`, clips to `session.py`, streams to `stream/run.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stts_runtime.arguments import (
    as_count,
    as_keep,
    as_path,
    as_questions,
    check_callable,
    stream_config,
)
from stts_runtime.bundle import Bundle
from stts_runtime.device import gpu_of, selected_gpu
from stts_runtime.engines import EngineName, choose_engine
from stts_runtime.errors import SourceError, UserError
from stts_runtime.explaining import Explanation, Region, as_regions, explain
from stts_runtime.forms import FormArguments, Forms
from stts_runtime.records import Answer, StreamAnswer, StreamEvent
from stts_runtime.session import Clip, Session, Sessions, Wanted
from stts_runtime.stream.assemble import incremental_engines
from stts_runtime.stream.run import stream_answers
from stts_runtime.stream.watcher import Engines
from stts_runtime.video import FrameArray
from stts_runtime.viewing import Viewing

if TYPE_CHECKING:
    from typing_extensions import Unpack

Source = str | os.PathLike[str] | NDArray[np.uint8]
"""A video file, or RGB frames (T, H, W, 3) uint8 of any size."""

Camera = str | os.PathLike[str] | int
"""A URL, a file, a folder of pictures, `gst:PIPELINE`, or the number of a camera."""


def load(bundle: str | os.PathLike[str], engine: EngineName | None = None, device: str | None = None) -> Model:
    """Opens a bundle. Its engines are loaded when the first question needs them.

    `engine` None: the fastest that the bundle has and this machine can run. `device` names a GPU: cuda:0, cuda:1, ...
    Raises `BundleError` for what is no bundle, `UserError` for an engine or GPU that does not exist.
    """
    return Model(Bundle.open(Path(as_path("a bundle", bundle))), engine, device)


class Model:
    """A loaded bundle. It answers one question at a time, in whichever thread."""

    def __init__(self, bundle: Bundle, engine: EngineName | None = None, device: str | None = None) -> None:
        known = get_args(EngineName)
        if engine is not None and engine not in known:
            raise UserError(f"there is no engine {engine!r}; there are {', '.join(known)}")
        self.bundle, self._device = bundle, gpu_of(device)
        with selected_gpu(self._device):
            self._choice = choose_engine(bundle, engine, device)
        self._sessions: Sessions | None = Sessions(bundle, self._choice.name, self._device)
        self._live: dict[float | None, Engines] = {}
        self.forms = Forms(bundle)

    @property
    def engine(self) -> EngineName:
        """What computes."""
        return self._choice.name

    @property
    def keeps(self) -> list[float]:
        """The keep ratios that the bundle has for clips, 1 (unpruned) first."""
        return self.bundle.keeps

    @overload
    def ask(  # type: ignore[overload-overlap]  # text is a sequence of texts
        self,
        source: Source,
        question: str,
        *,
        keep: float | None = None,
        frames: int | None = None,
        times: ArrayLike | None = None,
        max_tokens: int = 64,
        on_token: Callable[[str], None] | None = None,
        **form: Unpack[FormArguments],
    ) -> Answer: ...

    @overload
    def ask(
        self,
        source: Source,
        question: Sequence[str],
        *,
        keep: float | None = None,
        frames: int | None = None,
        times: ArrayLike | None = None,
        max_tokens: int = 64,
        on_token: Callable[[str], None] | None = None,
        **form: Unpack[FormArguments],
    ) -> list[Answer]: ...

    def ask(
        self,
        source: Source,
        question: str | Sequence[str],
        *,
        keep: float | None = None,
        frames: int | None = None,
        times: ArrayLike | None = None,
        max_tokens: int = 64,
        on_token: Callable[[str], None] | None = None,
        **form: Unpack[FormArguments],
    ) -> Answer | list[Answer]:
        """Answers a question about a clip, or a list of questions, which share one look at it.

        `keep` and `frames` choose a variant of the bundle. None: the keep of the training, and as many frames as the
        clip fills. `times` (T,) are the seconds of an array's frames; None: two a second, or what the training had.
        Surplus frames are sampled, as in files. `on_token` is called with new text as it is generated, at most
        `max_tokens` tokens. `choices`: the texts to choose from, a list or one text with commas. `schema`: a JSON
        schema, a dictionary or the path of a file. `top_logprobs`: log probabilities of each token and of so many of
        the likeliest, in `logprobs` of the answer. `temperature`, `top_p` and `seed`: as in OpenAI's API; None is
        greedy. Raises `UserError` for what the caller can put right.
        """
        questions, longest = as_questions(question), as_count("max_tokens", max_tokens)
        check_callable("on_token", on_token)
        wanted, sessions = self.forms.of(form), self._opened()
        clip = self._clip(source, keep, frames, times)
        sessions.conversation.check(questions, form=wanted, max_tokens=longest)
        viewing = self.watch(clip)
        viewing.check(questions, wanted, longest)
        answers = [viewing.answer(one, longest, on_token, wanted) for one in questions]
        return answers[0] if isinstance(question, str) else answers

    def watch(
        self,
        source: Source | Clip,
        *,
        keep: float | None = None,
        frames: int | None = None,
        times: ArrayLike | None = None,
    ) -> Viewing:
        """Looks at a clip, for questions that come later. Arguments as in `ask`."""
        self._opened()
        clip = source if isinstance(source, Clip) else self._clip(source, keep, frames, times)
        window, read_milliseconds = clip.window()
        session, note = self.session(clip.variant), self._opened().conversation.note
        notes = [*self._choice.notes, *([] if note is None else [note]), *clip.notes]
        watched = session.watch(window, read_milliseconds, notes)
        return Viewing(session, watched, self.forms)

    def explain(
        self,
        source: Source | Clip,
        *,
        regions: Sequence[str | Region] = (),
        keep: float | None = None,
        frames: int | None = None,
        times: ArrayLike | None = None,
    ) -> Explanation:
        """What the scorer makes of a clip, without a question: scores, what moves, and which keep would have kept a
        region. `regions` are `Region`s or texts such as `0.4,0.5,0.2,0.3@4.5`. Other arguments as in `ask`.
        """
        self._opened()
        clip = source if isinstance(source, Clip) else self._clip(source, keep, frames, times)
        with selected_gpu(self._device):
            return explain(replace(clip, notes=[*self._choice.notes, *clip.notes]), self.engine, as_regions(regions))

    def session(self, variant: str) -> Session:
        """One of the bundle's variants, loaded once."""
        return self._opened().of(variant)

    def _clip(self, source: Source, keep: object, frames: object, times: ArrayLike | None) -> Clip:
        count = None if frames is None else as_count("frames", frames)
        wanted = Wanted(as_keep(keep, self.keeps), None, count)
        if isinstance(source, np.ndarray):
            return Clip.of(self.bundle, FrameArray(source, self.bundle.manifest.max_fps, times), wanted)
        if times is not None:
            raise SourceError("times are for frames that are given as an array; a file has its own")
        return Clip.open(self.bundle, as_path("a clip that is not a numpy array of frames", source), wanted)

    def stream(
        self,
        source: Camera | Mapping[str, Camera],
        *,
        ask: str | Sequence[str],
        keep: float | None = None,
        frames: int | None = None,
        max_tokens: int = 64,
        on_event: Callable[[StreamEvent], None] | None = None,
        **settings: Any,
    ) -> Iterator[StreamAnswer]:
        """Answers about a live source, or several by name, as they come; ends when all sources are over.

        Sources are opened by the first `next`, looked at while an answer is waited for, and closed with the iterator.
        `on_event` hears when a source connects, stalls or ends. `settings` are some of those of a camera file, as it
        has them: `choices`, `schema`, `alert`, `when`, `shortest_pause`, `longest_pause`, `key_every`, `transport`,
        `nvdec`. With `alert`, only answers that raise or clear an alarm come, unless it says otherwise. Raises
        `UserError`.
        """
        sessions = self._opened()
        arguments = {
            "questions": as_questions(ask),
            "keep": as_keep(keep, self.keeps),
            "frames": frames,
            "max_tokens": max_tokens,
        }
        config = stream_config(self.bundle.folder, source, arguments, settings)
        self.bundle.choose_incremental(config.keep)
        if config.keep not in self._live:
            with selected_gpu(self._device):
                live = incremental_engines(config, self.bundle, self._choice, sessions.answers)
            self._live[config.keep] = live
        return stream_answers(config, self._live[config.keep], on_event or (lambda _: None))

    def close(self) -> None:
        """Gives back the engines' memory. Answers stay as they are."""
        self._sessions = None
        self._live.clear()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> Sessions:
        if self._sessions is None:
            raise UserError(f"this model was closed; load {self.bundle.folder} again")
        return self._sessions
