"""An engine's or a graph's vision against the modules: scores, kept set, visual tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.engines.interfaces import VisionOutput
from stts_runtime.proof.finding import Finding, Status
from stts_runtime.references.bars import Bar, relative_error

_SWAPS_SHOWN = 3
_ONE_SWAP = 2
"""Groups: one that only one side keeps, and one that only the other does."""


def compare_scores(
    subject: str, variant: str, got: NDArray[np.float32], wanted: NDArray[np.float32], bar: Bar
) -> Finding:
    """Both (T, G)."""
    error = relative_error(got, wanted)
    largest = float(np.abs(got - wanted).max())
    return Finding(
        subject=subject,
        variant=variant,
        stage="scores",
        status=_status(error <= bar.features),
        measured=f"error {error:.1e}, at most {largest:.1e}",
        value=error if np.isfinite(error) else None,
        bar=f"<= {bar.features:g}",
        detail=None if np.isfinite(got).all() else "scores are not finite",
    )


def compare_choice(
    subject: str, variant: str, budget: TokenBudget, got: VisionOutput, wanted: VisionOutput, bar: Bar
) -> Finding:
    """The kept sets, and how near to the cut the groups lie that only one side keeps.

    Where something is rounded, a single swap at the cut passes however few groups there are.
    """
    assert wanted.scores is not None
    overlap = float((got.kept & wanted.kept).sum() / (got.kept | wanted.kept).sum())
    distance = _distance_from_cut(wanted.scores, wanted.kept, budget)
    swapped = np.argwhere(got.kept != wanted.kept)
    farthest = max((float(distance[frame, group]) for frame, group in swapped), default=0.0)
    tied = _tied_at_cut(distance, wanted.kept)
    nearest = f", the cut passes between scores {_gap(wanted.scores, wanted.kept, budget):.1e} apart"
    within = f" within {farthest:.1e} of the cut" if len(swapped) else ""
    parts = [f"IoU {overlap:.4f}", f"{len(swapped) // 2} swapped{within}"]
    parts.append(f"a tie of {tied} groups at the cut" if tied else nearest.removeprefix(", "))
    few = overlap >= bar.overlap or (len(swapped) <= _ONE_SWAP and not bar.exact)
    passes = (few or bar.crowds) and farthest <= bar.cut_margin
    near = f"swaps within {bar.cut_margin:g} of the cut"
    return Finding(
        subject=subject,
        variant=variant,
        stage="kept set",
        status=_status(passes),
        measured=", ".join(parts),
        value=overlap,
        bar="identical" if bar.exact else near if bar.crowds else f">= {bar.overlap:g}, {near}",
        detail=None if passes else _explained(swapped, got, wanted, distance),
    )


def compare_tokens(
    subject: str,
    variant: str,
    got: NDArray[np.float32],
    wanted: NDArray[np.float32],
    bar: Bar,
    where: str = "at the same kept set",
) -> Finding:
    """Visual tokens (K, width) of the same groups."""
    error = relative_error(got, wanted)
    return Finding(
        subject=subject,
        variant=variant,
        stage="visual tokens",
        status=_status(error <= bar.features),
        measured=f"error {error:.1e} {where}",
        value=error if np.isfinite(error) else None,
        bar=f"<= {bar.features:g}",
        detail=None if np.isfinite(got).all() else _not_finite(got),
    )


def _status(passes: bool | np.bool_) -> Status:
    return "ok" if passes else "missed"


def _cuts(
    scores: NDArray[np.float32], kept: NDArray[np.bool_], budget: TokenBudget
) -> list[tuple[slice, float, float]]:
    """Frames that compete with each other, the lowest score that was kept there and the highest that was dropped."""
    later = [slice(frame, frame + 1) for frame in range(1, budget.frames)]
    pools = later if budget.scope == "frame" else [slice(1, budget.frames)]
    cuts = []
    for pool in pools:
        lowest = scores[pool][kept[pool]].min(initial=np.inf)
        highest = scores[pool][~kept[pool]].max(initial=-np.inf)
        cuts.append((pool, float(lowest), float(highest)))
    return cuts


def _distance_from_cut(
    scores: NDArray[np.float32], kept: NDArray[np.bool_], budget: TokenBudget
) -> NDArray[np.float32]:
    """How far every group's score is from the other side of the cut, (T, G); the first frame has none."""
    distance = np.full(scores.shape, np.inf, dtype=np.float32)
    for pool, lowest, highest in _cuts(scores, kept, budget):
        distance[pool] = np.where(kept[pool], scores[pool] - highest, lowest - scores[pool])
    return distance


def _gap(scores: NDArray[np.float32], kept: NDArray[np.bool_], budget: TokenBudget) -> float:
    return min((lowest - highest for _, lowest, highest in _cuts(scores, kept, budget)), default=float("inf"))


def _tied_at_cut(distance: NDArray[np.float32], kept: NDArray[np.bool_]) -> int:
    """Groups on both sides that share the score at the cut."""
    at_cut = distance == 0
    return int(at_cut.sum()) if (at_cut & kept).any() and (at_cut & ~kept).any() else 0


def _explained(
    swapped: NDArray[np.int64], got: VisionOutput, wanted: VisionOutput, distance: NDArray[np.float32]
) -> str:
    assert wanted.scores is not None
    shown = [
        f"group {group} of frame {frame} {'kept' if got.kept[frame, group] else 'dropped'} "
        f"(score {wanted.scores[frame, group]:.6f}, {distance[frame, group]:.1e} from the cut)"
        for frame, group in swapped[:_SWAPS_SHOWN]
    ]
    what = "a top-k tie broken the other way; of equal scores the lower group number is dropped first"
    tie = f"{what}: " if len(swapped) and all(distance[frame, group] == 0 for frame, group in swapped) else ""
    return f"{tie}{', '.join(shown)}{', ...' if len(swapped) > _SWAPS_SHOWN else ''}"


def _not_finite(tokens: NDArray[np.float32]) -> str:
    rows = np.flatnonzero(~np.isfinite(tokens).all(axis=1))
    return f"{len(rows)} of {len(tokens)} visual tokens are not finite: an overflow, the first in token {rows[0]}"
