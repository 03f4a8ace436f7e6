"""Answers through the decode kernels on a GPU are ONNX Runtime's to the letter: 50 prompts of the shipped checkpoint.

Run with `pytest -m gpu`. Without a GPU these fail; a pass means that the kernels ran.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from stts_calib.clips import Clip, Split
from stts_calib.quantize.recipe import Recipe
from stts_calib.quantize.write import write_quantized
from stts_export.building import BuildRequest, build_bundle
from stts_export.options import Half
from stts_runtime.bundle import Bundle
from stts_runtime.cuda_decode import KERNELS, VARIABLE
from stts_runtime.engines import EngineName, load_language
from stts_runtime.engines.cuda_language import CudaLanguage
from stts_runtime.session import Session
from tests.support.places import TINY

PROMPTS = 50
MOST_TOKENS = 32


def _built(folder: Path, half: Half, int4: bool) -> Bundle:
    bundle = build_bundle(
        BuildRequest(TINY, folder / "bundle", [8], [0.5], ["clip"], targets=["cpu", "cuda"], half=half)
    )
    if not int4:
        return bundle
    (folder / "int4").mkdir()
    return write_quantized(bundle, folder / "int4", Recipe(language="int4"))


def _answers(bundle: Bundle, prompts: int, engine: EngineName = "cuda") -> list[str]:
    """To a question each about so many clips."""
    session = Session.open(bundle, bundle.choose(None, None, None), None, engine)
    answers = []
    for number in range(prompts):
        clip = Clip.make(Split.test, number)
        watched = session.watch(clip.window(8, bundle.manifest.vision.image_size))
        question = clip.questions[number % len(clip.questions)].text
        answers.append(session.ask(watched, question, MOST_TOKENS).answer)
    return answers


@pytest.mark.gpu
@pytest.mark.parametrize(("half", "int4"), [("fp16", False), ("bf16", False), ("fp16", True)])
def test_answers_are_those_of_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: Half, int4: bool
) -> None:
    bundle = _built(tmp_path, half, int4)
    monkeypatch.delenv(VARIABLE, raising=False)
    expected = _answers(bundle, PROMPTS)
    monkeypatch.setenv(VARIABLE, KERNELS)
    language = load_language(bundle, "cuda")
    assert isinstance(language, CudaLanguage)
    assert language.step_choice.step is not None, language.step_choice.because
    answers = _answers(bundle, PROMPTS)
    differ = [(ours, theirs) for ours, theirs in zip(answers, expected, strict=True) if ours != theirs]
    assert not differ, f"{len(differ)} of {PROMPTS}: {differ[:5]}"
    assert len(set(expected)) > 1, "questions have answers of their own"
