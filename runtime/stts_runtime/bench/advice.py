"""Which frames and keep ratio fit into this many milliseconds, in a sentence."""

from __future__ import annotations

import numpy as np

from stts_runtime.bench.report import Row


def default_within_ms(rows: list[Row]) -> float:
    """A latency worth asking about: what the quickest variant with the most frames takes, rounded up to 10 ms."""
    most = max(row.frames for row in rows)
    return float(np.ceil(min(row.total_ms.p50 for row in rows if row.frames == most) / 10) * 10)


def advice(rows: list[Row], within_ms: float) -> str:
    """One sentence: which frames and keep fit into this many milliseconds."""
    fitting = [row for row in rows if row.total_ms.p50 <= within_ms]
    if not fitting:
        quickest = min(rows, key=lambda row: row.total_ms.p50)
        return f"Nothing fits {within_ms:g} ms; the quickest is {quickest.variant} with {quickest.total_ms.p50:.0f} ms."
    best = max(fitting, key=lambda row: (row.frames, row.visual_kept))
    sentence = (
        f"Within {within_ms:g} ms: {best.frames} frames at keep {best.keep:g} ({best.variant}, "
        f"{best.total_ms.p50:.0f} ms)"
    )
    unpruned = [row for row in fitting if row.keep == 1]
    if best.keep == 1:
        return f"{sentence}; no pruned variant of this bundle brings more frames into it."
    if not any(row.keep == 1 for row in rows):
        return f"{sentence}; the bundle has no unpruned variant to compare with."
    if not unpruned:
        return f"{sentence}; no unpruned variant fits."
    most = max(unpruned, key=lambda row: row.frames)
    return f"{sentence}; unpruned, {most.frames} frames fit ({most.total_ms.p50:.0f} ms)."
