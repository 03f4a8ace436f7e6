"""A bundle as a model of lmms-eval, with stand-ins for the package, which is not installed here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from stts_runtime import load
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from tests.support.places import ROOT


class Base:
    """lmms-eval's, as far as it is used."""

    def __init__(self) -> None:
        self.task_dict: dict[str, Any] = {}


@dataclass
class Wrapped:
    text: Any


@dataclass
class Request:
    args: tuple[Any, ...]


@pytest.fixture
def stts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """The model's class."""
    names: dict[str, dict[str, Any]] = {
        "lmms_eval": {},
        "lmms_eval.api": {},
        "lmms_eval.models": {},
        "lmms_eval.api.instance": {"GenerationResult": Wrapped, "Instance": Request},
        "lmms_eval.api.model": {"lmms": Base},
        "lmms_eval.models.registry_v2": {"ModelManifest": lambda name, simple_class_path: (name, simple_class_path)},
    }
    for name, content in names.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "stts_export.lmms_eval_model", raising=False)
    module = importlib.import_module("stts_export.lmms_eval_model")
    assert module.MANIFEST == ("stts", "stts_export.lmms_eval_model.Stts")
    assert 'stts = "stts_export.lmms_eval_model:MANIFEST"' in (ROOT / "pyproject.toml").read_text()
    yield module.Stts
    del sys.modules["stts_export.lmms_eval_model"]


def asked(model: Any, clip: Path, *between: Any) -> Request:
    """As lmms-eval does: context, what depends on the kind of request, what to show, number, task, split."""
    model.task_dict = {"task": {"test": [{"video": str(clip), "answer": "yes"}]}}
    return Request(("Who?", *between, lambda document: [document["video"]], 0, "task", "test"))


def test_it_writes_what_the_runtime_answers(stts: Callable[..., Any], micro_bundle: Bundle, clip: Path) -> None:
    model = stts(bundle=str(micro_bundle.folder), keep=0.5, frames=3, batch_size=1, device="cpu")
    expected = load(micro_bundle.folder).ask(clip, "Who?", keep=0.5, frames=3, max_tokens=12).answer
    kwargs = {"max_new_tokens": 12, "temperature": 0}
    assert model.generate_until([asked(model, clip, kwargs)]) == [expected]
    stop = expected[len(expected) // 2]
    assert model.generate_until([asked(model, clip, {**kwargs, "until": [stop]})]) == [expected.partition(stop)[0]]


def test_the_lowest_loss_is_the_likeliest_choice(stts: Callable[..., Any], micro_bundle: Bundle, clip: Path) -> None:
    model = stts(bundle=str(micro_bundle.folder), frames=3)
    choices = ["yes", "no", "perhaps"]
    found = model.loglikelihood([asked(model, clip, f" {choice}") for choice in choices])
    losses = [one.text[0] for one in found]
    expected = load(micro_bundle.folder).ask(clip, "Who?", frames=3, choices=choices)
    assert choices[int(np.argmin(losses))] == expected.answer
    assert expected.choices is not None
    assert losses == pytest.approx([-expected.choices.logprobs[choice] for choice in choices])
    (alone,) = model.loglikelihood([asked(model, clip, lambda document: document["answer"])])
    assert alone.text[0] == pytest.approx(losses[0], abs=1e-4)


def test_what_it_cannot_do_is_said(stts: Callable[..., Any], micro_bundle: Bundle, clip: Path) -> None:
    with pytest.raises(UserError, match="--model_args has no dtype; it has bundle, keep, frames and engine"):
        stts(bundle=str(micro_bundle.folder), dtype="fp16")
    model = stts(bundle=str(micro_bundle.folder))
    request = asked(model, clip, {})
    model.task_dict["task"]["test"][0]["video"] = 5
    with pytest.raises(UserError, match="one video, or pictures that are its frames; it shows int"):
        model.generate_until([request])
