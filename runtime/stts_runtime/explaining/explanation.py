"""One look at a clip through one variant's scorer, without the language model, and what its scores tell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineName, load_vision
from stts_runtime.engines.finite import check_scores
from stts_runtime.errors import UserError
from stts_runtime.explaining.heat import heat_sheet, write_heat
from stts_runtime.explaining.keeps import keeps_part, kept_by, least_keeps
from stts_runtime.explaining.motion import change_of_groups, least_change
from stts_runtime.explaining.record import ExplanationRecord, MotionRecord, RegionRecord, VariantRecord
from stts_runtime.explaining.region import Region
from stts_runtime.outputs import check_place, written_whole
from stts_runtime.overlay import Image
from stts_runtime.records import ScorerRecord, WindowRecord
from stts_runtime.session import Clip, notes_about
from stts_runtime.video import Window

ARRAYS_SUFFIX = ".npz"
_DIGITS = 4


def explain(clip: Clip, engine: EngineName, regions: Sequence[Region] = ()) -> Explanation:
    """Runs the vision variant of `clip`. Raises `UserError` for one that scores nothing, and for regions outside."""
    bundle, name = clip.bundle, clip.variant
    _check_scored(bundle, name)
    window, _ = clip.window()
    for region in regions:
        region.groups(window, bundle.manifest.vision.groups_per_side)
    seen = load_vision(bundle, name, engine).run(window.frames)
    check_scores(seen.scores)
    assert seen.scores is not None
    return Explanation(bundle, window, name, seen.scores.copy(), seen.kept.copy(), tuple(regions), tuple(clip.notes))


def _check_scored(bundle: Bundle, name: str) -> None:
    if bundle.manifest.variants[name].is_pruned:
        return
    below = [f"{keep:g}" for keep in bundle.keeps if keep < 1]
    way_out = f"take keep {' or '.join(below)}" if below else "build the bundle with --keep 0.5 too"
    raise UserError(f"{name} keeps everything and scores nothing; {way_out}")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Arrays are (T, G), groups row by row of each frame."""

    bundle: Bundle
    window: Window
    variant: str
    scores: NDArray[np.float32]
    """High is important; those of the first frame, which is kept whole, decide nothing."""
    kept: NDArray[np.bool_]
    regions: tuple[Region, ...]
    notes: tuple[str, ...]

    @cached_property
    def change(self) -> NDArray[np.float32]:
        """Mean difference of the pixels to the frame before, in levels of 255."""
        return change_of_groups(self.window.frames, self._side)

    @cached_property
    def moving(self) -> NDArray[np.bool_]:
        """Where something moves, by the pixels: see `explaining.motion`."""
        return self.change > least_change(self.change)

    @property
    def _side(self) -> int:
        return self.bundle.manifest.vision.groups_per_side

    @cached_property
    def _kept_by(self) -> dict[str, NDArray[np.bool_]]:
        """What each variant of as many frames keeps, the fewest tokens first."""
        manifest, own = self.bundle.manifest, self.bundle.manifest.variants[self.variant]
        budgets = {
            name: manifest.budget(variant)
            for name, variant in sorted(self.bundle.answering.items(), key=lambda item: item[1].kept_groups)
            if variant.frames == own.frames
        }
        return {name: self.kept if name == self.variant else kept_by(self.scores, budgets[name]) for name in budgets}

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What `write_arrays` writes."""
        times = np.asarray(self.window.times_seconds, dtype=np.float64)
        return {
            "scores": self.scores, "kept": self.kept, "change": self.change, "moving": self.moving,
            "times_seconds": times,
        }  # fmt: skip

    def write_arrays(self, path: str | os.PathLike[str]) -> None:
        """Writes `scores`, `kept`, `change`, `moving` (T, G) and `times_seconds` (T,), .npz. Raises `UserError`."""
        place = Path(path)
        check_place(place, [ARRAYS_SUFFIX])
        with written_whole(place) as scratch:
            np.savez_compressed(scratch, **self.arrays())  # type: ignore[arg-type]  # stubs know no keywords

    def picture(self) -> Image:
        """The heat map of all frames, RGB (H, W, 3)."""
        return np.ascontiguousarray(self._drawn()[..., ::-1])

    def write_picture(self, path: str | os.PathLike[str]) -> None:
        """Writes the heat map, .png or .jpg. Raises `UserError`."""
        write_heat(Path(path), self._drawn())

    def _drawn(self) -> Image:
        boxes = [(region.shares(self.window), region.frames(self.window)) for region in self.regions]
        return heat_sheet(self.window, self.scores, self.kept, boxes, self.variant)

    def record(self) -> ExplanationRecord:
        """All of it as a line of JSON."""
        variant, window, manifest = self.bundle.manifest.variants[self.variant], self.window, self.bundle.manifest
        budget: TokenBudget = manifest.budget(variant)
        moving, later = self.moving[1:], self.change[1:]
        return ExplanationRecord(
            source=window.source,
            window=WindowRecord(
                frames=len(window.times_seconds),
                times_seconds=[round(float(time), 3) for time in window.times_seconds],
                duration_seconds=round(window.duration_seconds, 3),
            ),
            variant=self.variant,
            keep=variant.keep,
            budget=budget.scope,
            scorer=ScorerRecord.of(manifest.scorer),
            visual_in=budget.visual_tokens,
            visual_kept=int(self.kept.sum()),
            groups_per_side=self._side,
            motion=MotionRecord(
                least_change=round(least_change(self.change), _DIGITS),
                moving_groups=int(moving.sum()),
                still_groups=int(later.size - moving.sum()),
            ),
            variants=[self._variant(name) for name in self._kept_by],
            regions=[self._region(region) for region in self.regions],
            scores=self.scores.astype(float).round(_DIGITS).tolist(),
            kept=self.kept.astype(int).tolist(),
            change=self.change.astype(float).round(_DIGITS).tolist(),
            notes=[*self.notes, *window.notes, *notes_about(manifest, variant.keep)],
        )

    def _variant(self, name: str) -> VariantRecord:
        variant, kept = self.bundle.manifest.variants[name], self._kept_by[name]
        moving = self.moving[1:]
        return VariantRecord(
            variant=name,
            keep=variant.keep,
            budget=variant.budget,
            visual_tokens=int(kept.sum()),
            moving_kept=_share(kept[1:][moving]),
            still_kept=_share(kept[1:][~moving]),
            regions_kept=[_share(kept[one.groups(self.window, self._side)]) or 0.0 for one in self.regions],
        )

    def _region(self, region: Region) -> RegionRecord:
        wanted = region.groups(self.window, self._side)
        part, whole = least_keeps(self.scores, wanted)
        wholly = [name for name, kept in self._kept_by.items() if kept[wanted].all()]
        partly = [name for name, kept in self._kept_by.items() if keeps_part(kept, wanted)]
        return RegionRecord(
            region=str(region),
            times_seconds=[round(float(self.window.times_seconds[one]), 3) for one in region.frames(self.window)],
            groups=int(wanted.sum()),
            kept=int(self.kept[wanted].sum()),
            smallest_variant=next(iter(wholly), None),
            smallest_keep=whole,
            smallest_variant_part=next(iter(partly), None),
            smallest_keep_part=part,
        )


def _share(kept: NDArray[np.bool_]) -> float | None:
    return round(float(kept.mean()), _DIGITS) if kept.size else None
