"""What the benchmark concludes from its figures."""

from __future__ import annotations

from stts_runtime.bench.advice import advice, default_within_ms
from stts_runtime.bench.report import Row, Spread


def row(frames: int, keep: float, total_ms: float) -> Row:
    spread = Spread(p50=total_ms, p95=total_ms)
    return Row(
        variant=f"t{frames}-k{keep:g}",
        frames=frames,
        keep=keep,
        budget="clip",
        visual_in=frames * 36,
        visual_kept=round(frames * 36 * keep),
        prefix_tokens=10,
        vision_ms=spread,
        prefill_ms=spread,
        decode_ms_per_token=None,
        total_ms=spread,
        loaded_mb=1,
        vision_speed_up=None,
        vision_and_prefill_speed_up=None,
    )


ROWS = [row(8, 1, 120), row(8, 0.5, 85), row(16, 1, 260), row(16, 0.5, 170)]


def test_the_most_frames_that_fit_are_advised() -> None:
    assert advice(ROWS, 200) == (
        "Within 200 ms: 16 frames at keep 0.5 (t16-k0.5, 170 ms); unpruned, 8 frames fit (120 ms)."
    )


def test_of_equal_frames_the_one_that_keeps_more_is_advised() -> None:
    assert advice(ROWS, 130).startswith("Within 130 ms: 8 frames at keep 1 (t8-k1, 120 ms)")


def test_what_does_not_fit_is_said() -> None:
    assert advice(ROWS, 50) == "Nothing fits 50 ms; the quickest is t8-k0.5 with 85 ms."
    assert advice(ROWS, 100).endswith("no unpruned variant fits.")
    assert advice(ROWS[1:2], 100).endswith("no unpruned variant to compare with.")


def test_the_default_budget_lets_pruning_bring_the_most_frames() -> None:
    assert default_within_ms(ROWS) == 170
    assert default_within_ms([row(8, 1, 101)]) == 110
