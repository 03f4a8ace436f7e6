"""A bundle as a model of lmms-eval, which finds it by itself: `--model stts --model_args bundle=out/tiny,keep=0.5`.

The entry point of the group `lmms_eval.models` names `MANIFEST`. Tried with lmms-eval 0.7.3.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from lmms_eval.api.instance import GenerationResult, Instance
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest
from numpy.typing import NDArray

from stts_runtime import load
from stts_runtime.answering.form import AnswerForm
from stts_runtime.engines import EngineName
from stts_runtime.errors import UserError
from stts_runtime.forms import FormArguments
from stts_runtime.model import Source
from stts_runtime.viewing import Viewing

MANIFEST = ModelManifest("stts", simple_class_path=f"{__name__}.Stts")
_LONGEST = 64


class _Asked(NamedTuple):
    context: str
    to_visual: Callable[[Any], Any]
    number: int
    task: str
    split: str


class Stts(lmms):  # type: ignore[misc]  # lmms-eval has no types
    """Answers one question at a time. Questions about the clip that was looked at last share one look at it."""

    def __init__(
        self,
        bundle: str,
        keep: float | None = None,
        frames: int | None = None,
        engine: EngineName | None = None,
        **unused: Any,
    ) -> None:
        """`keep` and `frames` choose a variant, as `stts_runtime.load(...).ask` does; None leaves them to the bundle.

        Raises `UserError` for other arguments than lmms-eval's own (`batch_size`, `device`, ...).
        """
        super().__init__()
        if unknown := unused.keys() - {"batch_size", "max_batch_size", "device"}:
            raise UserError(f"--model_args has no {min(unknown)}; it has bundle, keep, frames and engine")
        self._model, self._keep, self._frames = load(bundle, engine), keep, frames
        self._looked_at: tuple[Source, Viewing] | None = None

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The likeliest text, or one that is drawn if the task wants `do_sample`, cut at the task's `until`."""
        return [self._generated(*one.args) for one in requests]

    def loglikelihood(self, requests: list[Instance]) -> list[GenerationResult]:
        """Minus the log probability of each continuation: lmms-eval takes losses, and the lowest for the answer.

        Those of one question are scored together: one that another begins with also has to end. The flag, whether the
        model would write just that, is never set.
        """
        asked = [self._asked(*one.args) for one in requests]
        continuations: dict[_Asked, list[str]] = defaultdict(list)
        for question, continuation in asked:
            continuations[question].append(continuation)
        losses = {question: self._losses(question, found) for question, found in continuations.items()}
        # 0.7.3 makes a text of the pair that it asks for, and lets pass what is wrapped so.
        return [GenerationResult((losses[question][continuation], False)) for question, continuation in asked]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        raise NotImplementedError("multi-round tasks are not supported: each question of a task is asked by itself")

    def _generated(
        self, context: str, kwargs: dict[str, Any], to_visual: Callable[[Any], Any], number: int, task: str, split: str
    ) -> str:
        drawn: FormArguments = {"temperature": kwargs.get("temperature", 1.0), "top_p": kwargs.get("top_p", 1.0)}
        viewing = self._viewing(to_visual, number, task, split)
        longest = kwargs.get("max_new_tokens", _LONGEST)
        answer = viewing.ask(context, max_tokens=longest, **(drawn if kwargs.get("do_sample") else {})).answer
        until = kwargs.get("until") or []
        for stop in [until] if isinstance(until, str) else until:
            answer = answer.partition(stop)[0]
        return answer

    def _asked(
        self, context: str, target: Any, to_visual: Callable[[Any], Any], number: int, task: str, split: str
    ) -> tuple[_Asked, str]:
        """The question, and a continuation, which is given or comes from the document."""
        continuation = target(self.task_dict[task][split][number]) if callable(target) else target
        return _Asked(context, to_visual, number, task, split), str(continuation).strip()

    def _losses(self, asked: _Asked, continuations: Sequence[str]) -> dict[str, float]:
        form = AnswerForm(choices=tuple(dict.fromkeys(continuations)))
        scored = self._viewing(*asked[1:]).answer(asked.context, _LONGEST, None, form).choices
        assert scored is not None
        return {choice: -logprob for choice, logprob in scored.logprobs.items()}

    def _viewing(self, to_visual: Callable[[Any], Any], number: int, task: str, split: str) -> Viewing:
        source = _source(to_visual(self.task_dict[task][split][number]))
        if self._looked_at is None or not isinstance(source, str) or source != self._looked_at[0]:
            self._looked_at = source, self._model.watch(source, keep=self._keep, frames=self._frames)
        return self._looked_at[1]


def _source(visuals: Sequence[Any]) -> Source:
    """One path, or the pictures that are a clip's frames. Raises `UserError` for anything else."""
    if len(visuals) == 1 and isinstance(visuals[0], str):
        return visuals[0]
    if not visuals or not all(hasattr(one, "convert") for one in visuals):
        kinds = ", ".join(sorted({type(one).__name__ for one in visuals})) or "nothing"
        raise UserError(f"a task should show one video, or pictures that are its frames; it shows {kinds}")
    frames: NDArray[np.uint8] = np.stack([np.asarray(one.convert("RGB")) for one in visuals])
    return frames
