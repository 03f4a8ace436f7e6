"""The cuda engine's two ways of running single tokens: answers side by side, a long run, and what a fault does."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import psutil

from stts_calib.clips import Clip, Split
from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.cuda_decode import KERNELS, VARIABLE, driver
from stts_runtime.cuda_decode.driver import load_driver
from stts_runtime.cuda_decode.variants import read_ptx
from stts_runtime.engines import cuda_step, load_language
from stts_runtime.engines.cuda_language import CudaLanguage
from stts_runtime.errors import EngineError
from stts_runtime.prompt import Tokens
from stts_runtime.session import Session

PROMPTS, MOST_TOKENS, LONG_RUN = 50, 32, 10_000
_BEFORE = 300
"""Tokens of a long run until everything is there that will be."""
_FIRST = 16
"""Tokens of its prompt."""


@contextmanager
def decode_kernels(asked_for: bool) -> Iterator[None]:
    """Engines that are loaded meanwhile are asked to use the kernels, or not."""
    with mock.patch.dict(os.environ, {VARIABLE: KERNELS if asked_for else ""}):
        yield


def loaded(bundle: Bundle, kernels: bool) -> CudaLanguage:
    """Raises `EngineError` if single tokens are not run as asked for."""
    with decode_kernels(kernels):
        language = load_language(bundle, "cuda")
    assert isinstance(language, CudaLanguage)
    if kernels and language.step_choice.step is None:
        raise EngineError(language.step_choice.because)
    return language


def answers(bundle: Bundle, language: CudaLanguage, prompts: int = PROMPTS) -> list[str]:
    """To a question each about so many clips."""
    variant = bundle.choose(None, None, None)
    session = Session.open(bundle, variant, Conversation.over(bundle, language), "cuda")
    frames = bundle.manifest.variants[variant].frames
    given = []
    for number in range(prompts):
        clip = Clip.make(Split.test, number)
        watched = session.watch(clip.window(frames, bundle.manifest.vision.image_size))
        question = clip.questions[number % len(clip.questions)].text
        given.append(session.ask(watched, question, MOST_TOKENS).answer)
    return given


def compare_answers(bundle: Bundle, prompts: int = PROMPTS) -> dict[str, Any]:
    """Of both ways; equal means to the letter."""
    theirs, ours = (answers(bundle, loaded(bundle, kernels), prompts) for kernels in (False, True))
    differ = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    return {"prompts": prompts, "different_answers": len(set(theirs)), "differ": differ}


def step_milliseconds(language: CudaLanguage, tokens: int = 200) -> float:
    """The median of single tokens behind a few, with their way to the host and back."""
    taken = []
    _begin(language)
    for number in range(min(tokens, language.context - _FIRST)):
        begin = time.perf_counter()
        _forward(language, number % 7, _FIRST + number)
        taken.append((time.perf_counter() - begin) * 1000)
    return round(statistics.median(taken), 4)


def long_run(language: CudaLanguage, tokens: int = LONG_RUN) -> dict[str, Any]:
    """So many tokens in laps, each from the same prompt on to the end of the context. What memory has grown by since
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
    return mock.patch.object(cuda_step, "load_driver", side_effect=EngineError("CUDA's driver cannot be called"))


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


def fault(bundle: Bundle, name: str) -> dict[str, Any]:
    """What the engine says of a fault, and whether it answers as it does without kernels."""
    with FAULTS[name](), decode_kernels(True):
        language = load_language(bundle, "cuda")
    assert isinstance(language, CudaLanguage)
    given, wanted = answers(bundle, language, 3), answers(bundle, loaded(bundle, kernels=False), 3)
    return {"kernels": language.step_choice.step is not None, "note": language.note, "same_answers": given == wanted}
