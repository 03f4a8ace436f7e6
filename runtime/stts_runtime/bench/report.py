"""Measurements -> the figures that people compare: speed-ups, next to what the graphs' own counts predict."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from stts_runtime.bench.machine import Machine
from stts_runtime.bench.measure import Samples
from stts_runtime.bundle import Bundle, VisionVariant


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(_Part):
    """Median and 95th percentile, in milliseconds."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        p50, p95 = np.percentile(values, [50, 95])
        return cls(p50=round(float(p50), 3), p95=round(float(p95), 3))


class SpeedUp(_Part):
    """How much faster than unpruned at the same frames: measured, and predicted from multiplication counts."""

    measured: float
    predicted: float


class Row(_Part):
    """One variant."""

    variant: str
    frames: int
    keep: float
    budget: str
    visual_in: int
    visual_kept: int
    prefix_tokens: int
    vision_ms: Spread
    prefill_ms: Spread
    decode_ms_per_token: Spread | None
    total_ms: Spread
    loaded_mb: float
    vision_speed_up: SpeedUp | None
    vision_and_prefill_speed_up: SpeedUp | None
    energy_joules: float | None = None
    """Energy of one answer, idle power included; None without a meter, or where it failed."""
    throttled: list[str] = []
    """Why clocks were held back while the energy was measured."""


class Report(_Part):
    """Everything that `stts-runtime bench` found; speed-ups are None where the bundle has no unpruned variant."""

    created: str
    bundle: str
    source: str
    engine: str = "cpu"
    rounds: int
    answer_tokens: int
    machine: Machine
    resident_mb: float
    rows: list[Row]
    within_ms: float
    advice: str
    power_source: str | None = None
    """What the energy was measured with, and what that cannot see; None without a meter."""


def rows_of(bundle: Bundle, samples: dict[str, Samples]) -> list[Row]:
    """One row per variant, by frames, then from unpruned to most pruned."""
    variants = sorted(bundle.manifest.variants.items(), key=lambda item: (item[1].frames, -item[1].keep, item[0]))
    return [_row(bundle, name, variant, samples) for name, variant in variants if name in samples]


def _row(bundle: Bundle, name: str, variant: VisionVariant, samples: dict[str, Samples]) -> Row:
    own = samples[name]
    full = f"full-t{variant.frames}"
    return Row(
        variant=name,
        frames=variant.frames,
        keep=variant.keep,
        budget=variant.budget,
        visual_in=bundle.manifest.budget(variant).visual_tokens,
        visual_kept=variant.kept_groups,
        prefix_tokens=own.prefix_tokens,
        vision_ms=Spread.of(own.vision),
        prefill_ms=Spread.of(own.prefill),
        decode_ms_per_token=Spread.of(own.decode_per_token) if own.decode_per_token else None,
        total_ms=Spread.of(own.total),
        loaded_mb=round(own.loaded_mb, 1),
        vision_speed_up=_speed_up(bundle, name, full, samples, with_prefill=False) if full in samples else None,
        vision_and_prefill_speed_up=_speed_up(bundle, name, full, samples, with_prefill=True)
        if full in samples
        else None,
        energy_joules=None if own.energy.joules is None else round(own.energy.joules, 6),
        throttled=own.energy.throttled,
    )


def _speed_up(bundle: Bundle, name: str, full: str, samples: dict[str, Samples], with_prefill: bool) -> SpeedUp:
    def milliseconds(of: Samples) -> float:
        values = np.array(of.vision) + (np.array(of.prefill) if with_prefill else 0)
        return float(np.median(values))

    def multiplications(variant: str) -> int:
        own = samples[variant]
        vision_lowering, language_lowering = own.lowerings
        vision = bundle.manifest.variants[variant].graphs[vision_lowering].multiplications.of(0)
        if not with_prefill:
            return vision
        language = bundle.manifest.language.graphs[language_lowering].multiplications
        return vision + language.of(own.prefix_tokens) + language.of(own.question_tokens)

    return SpeedUp(
        measured=round(milliseconds(samples[full]) / milliseconds(samples[name]), 3),
        predicted=round(multiplications(full) / multiplications(name), 3),
    )


def throttling(rows: list[Row]) -> str | None:
    """One sentence on the variants whose clocks were held back; None if none were."""
    held = "; ".join(f"{row.variant}: {', '.join(row.throttled)}" for row in rows if row.throttled)
    if not held:
        return None
    return (
        f"Clocks were held back while energy was measured ({held}): the milliseconds, timed just before, need not be "
        "those of full clocks."
    )
