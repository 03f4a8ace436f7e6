"""The cuda engine's two ways of running single tokens: answers side by side, a long run, and what a fault does."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
from numpy.typing import NDArray

from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.cuda_decode import KERNELS, ONNX_RUNTIME, VARIABLE, driver
from stts_runtime.cuda_decode.driver import load_driver
from stts_runtime.cuda_decode.variants import read_ptx
from stts_runtime.engines import cuda_kernels, load_language
from stts_runtime.engines.agreement import disagreement
from stts_runtime.engines.cuda_language import CudaLanguage
from stts_runtime.errors import EngineError
from stts_runtime.prompt import PromptBuilder, Tokens
from stts_runtime.references.bars import ROUNDING, relative_error
from stts_runtime.session import Session
from stts_runtime.video import Window
from stts_tools.decode_bench.exact import ExactDecoder

CLIPS, QUESTIONS, MOST_TOKENS, LONG_RUN = 10, 5, 32, 10_000
"""Ten clips and five questions about each are fifty prompts."""
_BEFORE = 300
"""Tokens of a long run until everything is there that will be."""
_FIRST = 16
"""Tokens of its prompt."""


@contextmanager
def decode_kernels(asked_for: bool) -> Iterator[None]:
    """Engines that are loaded meanwhile are asked to use the kernels, or not."""
    with mock.patch.dict(os.environ, {VARIABLE: KERNELS if asked_for else ONNX_RUNTIME}):
        yield


def loaded(bundle: Bundle, kernels: bool) -> CudaLanguage:
    """Raises `EngineError` if single tokens are not run as asked for."""
    with decode_kernels(kernels):
        language = load_language(bundle, "cuda")
    assert isinstance(language, CudaLanguage)
    if kernels and language.step_choice.kernels is None:
        raise EngineError(language.step_choice.because)
    return language


@dataclass(frozen=True)
class Asked:
    """A clip, and questions about it."""

    window: Window
    questions: list[str]


def questions(frames: int, image_size: int, clips: int = CLIPS, each: int = QUESTIONS) -> list[Asked]:
    """About the first clips of the test split. Draws with OpenCV."""
    from stts_calib.clips import Clip, Split  # noqa: PLC0415  # a GPU machine may be without OpenCV

    made = (Clip.make(Split.test, number) for number in range(clips))
    return [Asked(clip.window(frames, image_size), [one.text for one in clip.questions[:each]]) for clip in made]


def write_questions(path: Path, asked: Sequence[Asked]) -> None:
    """As `read_questions` reads them."""
    windows = [one.window for one in asked]
    frames, times = np.stack([one.frames for one in windows]), np.stack([one.times_seconds for one in windows])
    np.savez_compressed(path, frames=frames, times=times, questions=[one.questions for one in asked])


def read_questions(path: Path) -> list[Asked]:
    with np.load(path) as file:
        rows = zip(file["frames"], file["times"], file["questions"], strict=True)
        return [
            Asked(Window("clip", float(times[-1]), times, frames, 1.0), list(map(str, texts)))
            for frames, times, texts in rows
        ]


def answers(bundle: Bundle, language: CudaLanguage, asked: Sequence[Asked], to_the_end: bool = True) -> list[str]:
    """Else as many tokens as they may have, whatever the model ends with."""
    variant, eos_ids = bundle.choose(None, None, None), bundle.manifest.prompt.eos_ids
    conversation = Conversation(language, PromptBuilder.of(bundle), eos_ids if to_the_end else ())
    session = Session.open(bundle, variant, conversation, "cuda")
    given = []
    for one in asked:
        watched = session.watch(one.window)
        given += [session.ask(watched, question, MOST_TOKENS).answer for question in one.questions]
    return given


def compare_answers(bundle: Bundle, asked: Sequence[Asked]) -> dict[str, Any]:
    """Compares both ways' answers, to the letter. Answers are short, so they are also made to continue."""
    theirs, ours = (loaded(bundle, kernels) for kernels in (False, True))
    wanted, given = (answers(bundle, one, asked) for one in (theirs, ours))
    long, other = (answers(bundle, one, asked, to_the_end=False) for one in (theirs, ours))
    return {
        "prompts": len(wanted),
        "different_answers": len(set(wanted)),
        "differ": [pair for pair in zip(given, wanted, strict=True) if pair[0] != pair[1]],
        "same_when_made_to_go_on": sum(one == another for one, another in zip(long, other, strict=True)),
    }


def compare_logits(bundle: Bundle, tokens: int = 200) -> dict[str, Any]:
    """Along a text of ONNX Runtime's: the worst error of the kernels' logits, and what rounding does not explain; how
    far both are from logits without any rounding, the worst and the median.
    """
    theirs, ours = (loaded(bundle, kernels) for kernels in (False, True))
    _begin(ours)
    along = logits_along(theirs, ours, _begin(theirs), _FIRST, tokens)
    kernels = ours.step_choice.kernels
    assert kernels is not None
    exact = ExactDecoder(bundle).logits([*range(_FIRST), *along.text])[_FIRST:]
    return {
        **along.described(kernels.apart),
        "bar_from_exact": ROUNDING[kernels.precision].logits,
        "from_exact": {"ONNX Runtime": _apart(along.theirs, exact), "kernels": _apart(along.ours, exact)},
    }


@dataclass(frozen=True)
class Along:
    """Logits after each token of a text, both ways."""

    text: list[int]
    theirs: list[NDArray[np.float32]]
    ours: list[NDArray[np.float32]]

    def described(self, bar: float) -> dict[str, Any]:
        return {
            "tokens": len(self.text),
            "worst": max(map(relative_error, self.ours, self.theirs)),
            "bar": bar,
            "disagreement": disagreement(self.theirs, self.ours, bar),
        }


def logits_along(theirs: CudaLanguage, ours: CudaLanguage, token: int, place: int, tokens: int) -> Along:
    """After a prompt that both have run, and ONNX Runtime's token after it: both continue with what that chooses."""
    text: list[int] = []
    wanted, got = [], []
    for slot in range(place, min(place + tokens, theirs.context)):
        text.append(token)
        token = _forward(theirs, text[-1], slot)
        _forward(ours, text[-1], slot)
        wanted.append(theirs.logits())
        got.append(ours.logits())
    return Along(text, wanted, got)


def _apart(got: Sequence[NDArray[np.float32]], exact: NDArray[np.float64]) -> dict[str, float]:
    errors = [relative_error(one, another) for one, another in zip(got, exact, strict=True)]
    return {"worst": max(errors), "median": statistics.median(errors)}


def step_milliseconds(language: CudaLanguage, tokens: int = 200) -> float:
    """The median of single tokens after a few, with their way to the host and back."""
    taken = []
    _begin(language)
    for number in range(min(tokens, language.context - _FIRST)):
        begin = time.perf_counter()
        _forward(language, number % 7, _FIRST + number)
        taken.append((time.perf_counter() - begin) * 1000)
    return round(statistics.median(taken), 4)


def long_run(language: CudaLanguage, tokens: int = LONG_RUN) -> dict[str, Any]:
    """`tokens` in laps, each from the same prompt to the end of the context. Returns what memory has grown by since
    the first few hundred, in bytes, and whether all laps gave the same text.
    """
    laps: list[list[int]] = []
    before, done = (0, 0), 0
    while done < tokens:
        laps.append([_begin(language)])
        for place in range(_FIRST, language.context):
            laps[-1].append(_forward(language, laps[-1][-1], place))
            done += 1
            if done == _BEFORE:
                before = _memory()
            if done == tokens:
                break
    grown = [after - first for first, after in zip(before, _memory(), strict=True)]
    same = all(lap == laps[0][: len(lap)] for lap in laps)
    return {"tokens": done, "laps": len(laps), "same_text": same, "device_grown": grown[0], "host_grown": grown[1]}


def _begin(language: CudaLanguage) -> int:
    numbers = np.arange(_FIRST)
    language.rewind(0)
    return language.forward(Tokens(numbers, numbers, _FIRST))


def _forward(language: CudaLanguage, token: int, place: int) -> int:
    return language.forward(Tokens(np.array([token]), np.array([place]), place + 1))


def _memory() -> tuple[int, int]:
    """Bytes in use: of the device, and of this process."""
    free, whole = load_driver().call("cuMemGetInfo")
    return int(whole) - int(free), int(psutil.Process().memory_info().rss)


def _ptx_instead(change: Callable[[str], str]) -> AbstractContextManager[Any]:
    return mock.patch.object(driver, "read_ptx", lambda path: change(read_ptx(path)))


def _without_driver() -> AbstractContextManager[Any]:
    return mock.patch.object(cuda_kernels, "load_driver", side_effect=EngineError("CUDA's driver cannot be called"))


FAULTS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "text that is no PTX": lambda: _ptx_instead(lambda _: "no PTX at all"),
    "PTX that ends in the middle": lambda: _ptx_instead(lambda ptx: ptx[: len(ptx) // 2]),
    "PTX for another architecture": lambda: _ptx_instead(
        lambda ptx: ptx.replace(".target sm_90", ".target sm_120").replace(".version 8.2", ".version 8.7")
    ),
    "a GPU that is too old": lambda: mock.patch.object(driver.Driver, "architecture", return_value=75),
    "no driver": _without_driver,
}
"""What can be wrong where the kernels are loaded."""


def fault(bundle: Bundle, name: str, asked: Sequence[Asked]) -> dict[str, Any]:
    """What the engine says of a fault, and whether it answers as it does without kernels."""
    with FAULTS[name](), decode_kernels(True):
        language = load_language(bundle, "cuda")
    assert isinstance(language, CudaLanguage)
    given, wanted = (answers(bundle, one, asked) for one in (language, loaded(bundle, kernels=False)))
    return {"kernels": language.step_choice.kernels is not None, "note": language.note, "same_answers": given == wanted}
