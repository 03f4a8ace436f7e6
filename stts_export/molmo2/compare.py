"""The modules at keep 1 against transformers' own Molmo2, which reads the checkpoint by itself."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from stts_export.modules.config import ModelConfig
from stts_export.molmo2.inputs import molmo2_inputs
from stts_runtime.errors import SttsError
from stts_runtime.proof.finding import Finding
from stts_runtime.proof.language_stage import Said

_SUBJECT = "modules"
_STAGE = "transformers' Molmo2"
_LOGITS_BAR = 1e-3
"""Largest difference at keep 1, float32."""
_COPIES = 1.2
"""Memory as a multiple of the float32 weights, for activations and loading."""


class NotComparableError(SttsError):
    """Transformers' side of the comparison fails; ours may be right."""


def why_not(values: int, hugging_face: bool) -> str | None:
    """Why a checkpoint of this many values cannot be compared here; None if it can."""
    if find_spec("transformers") is None or find_spec("transformers.models.molmo2") is None:
        return "transformers with Molmo2 is not installed: pip install 'transformers>=5.23'"
    if not hugging_face:
        return "transformers cannot read this layout: verify what `stts-export import` makes of it"
    needed = _COPIES * 4 * values
    free = psutil.virtual_memory().available
    if needed > free:
        return (
            f"transformers' model needs about {needed / 1e9:.0f} GB of memory in float32, and {free / 1e9:.0f} are free"
        )
    return None


def not_run(variant: str | None, reason: str) -> Finding:
    return Finding(subject=_SUBJECT, variant=variant, stage=_STAGE, status="not run", measured="not run", detail=reason)


def compare_with_molmo2(
    folder: Path, model: ModelConfig, variant: str, frames: NDArray[np.uint8], prompt: NDArray[np.int64], said: Said
) -> Finding:
    """`folder` is a checkpoint that transformers reads, and `model` its shape.

    `prompt` is the whole prompt's token numbers, `said` what the modules answered to it at keep 1.
    """
    theirs = _answer(folder, model, frames, prompt, len(said.ids))
    error = float(np.abs(theirs.logits[0] - said.logits[0]).max())
    same = theirs.ids == said.ids
    return Finding(
        subject=_SUBJECT,
        variant=variant,
        stage=_STAGE,
        status="ok" if error <= _LOGITS_BAR and same else "missed",
        measured=f"logits within {error:.1e}, {'the same' if same else 'another'} text of {len(said.ids)} tokens",
        value=error,
        bar=f"<= {_LOGITS_BAR:g}, the same text",
        detail=None if same else f"tokens {theirs.ids} instead of {said.ids}",
    )


def _answer(
    folder: Path, config: ModelConfig, frames: NDArray[np.uint8], prompt: NDArray[np.int64], tokens: int
) -> Said:
    with quiet_transformers():
        from transformers import Molmo2ForConditionalGeneration

        loader: Any = Molmo2ForConditionalGeneration
        try:
            model = loader.from_pretrained(folder, dtype=torch.float32).eval()
        except (OSError, ValueError, RuntimeError, AttributeError, KeyError, TypeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise NotComparableError(f"transformers cannot load the checkpoint: {reason}") from None
        inputs = molmo2_inputs(config, torch.from_numpy(frames), torch.from_numpy(prompt))
        with torch.no_grad():
            generated = model.generate(
                **inputs,
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                eos_token_id=-1,
                output_logits=True,
                return_dict_in_generate=True,
            )
    ids = generated.sequences[0, len(prompt) :].tolist()
    return Said(ids, [logits[0].float().numpy() for logits in generated.logits])


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Loading says that torchvision is missing and that our settings are not its own."""
    from transformers.utils import logging as library

    bars: Any = library
    logger = logging.getLogger("transformers")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            logger.setLevel(logging.ERROR)
            bars.disable_progress_bar()
            yield
        finally:
            logger.setLevel(level)
            bars.enable_progress_bar()


def without_end(said: Said, eos_ids: Collection[int]) -> Said:
    """The answer without the token that ends it, which transformers is told not to stop at."""
    ended = said.ids[-1] in eos_ids and len(said.ids) > 1
    return Said(said.ids[:-1], said.logits[:-1]) if ended else said
