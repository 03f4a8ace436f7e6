"""What each of our deviations from the reference changes: refill, which no graph has, and the guess about positions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from stts_export.modules.refill import refilled_frames
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle.manifest import Positions
from stts_runtime.engines.interfaces import VisionOutput
from stts_runtime.proof.finding import Finding
from stts_runtime.proof.language_stage import Said, difference
from stts_runtime.references.bars import relative_error

_SUBJECT = "modules"

Text = Callable[[list[int]], str]


def refill_finding(
    budget: TokenBudget, without: VisionOutput, refilled: VisionOutput, said: Said, said_refilled: Said, text: Text
) -> Finding:
    """The reference packs with refill and we without; the kept set is the same."""
    frames = refilled_frames(torch.from_numpy(without.kept.sum(axis=1)), budget.groups)
    error = relative_error(without.visual_tokens, refilled.visual_tokens)
    differs = difference(said, said_refilled, text)
    return Finding(
        subject=_SUBJECT,
        variant=budget.name,
        stage="refill",
        status="note",
        measured=f"touches {len(frames)} of {budget.frames} frames, features {error:.1e}, text {_same(differs)}",
        value=error,
        detail=differs,
    )


def positions_finding(variant: str, built: Positions, said: Said, other: Said, text: Text) -> Finding:
    """The bundle's positions against the other kind, which the paper leaves open."""
    error = relative_error(other.logits[0], said.logits[0])
    differs = difference(said, other, text)
    return Finding(
        subject=_SUBJECT,
        variant=variant,
        stage="positions",
        status="note",
        measured=f"{built} is built; {other_positions(built)}: logits {error:.1e}, text {_same(differs)}",
        value=error,
        detail=differs,
    )


def other_positions(positions: Positions) -> Positions:
    return "compact" if positions == "original" else "original"


def _same(differs: str | None) -> str:
    return "the same" if differs is None else "another"


def half_finding(
    subject: str, variant: str, got: VisionOutput, wanted: VisionOutput, error: float | None, differs: str | None
) -> Finding:
    """What 16 bits change; `error` is that of the features at the same kept set."""
    swapped = int(np.count_nonzero(got.kept != wanted.kept)) // 2
    features = "not finite" if error is None else f"{error:.1e}"
    return Finding(
        subject=subject,
        variant=variant,
        stage="half precision",
        status="note",
        measured=f"{swapped} groups swapped, features {features}, text {_same(differs)}",
        value=error,
        detail=differs,
    )
