"""The line of scripts/soak.py: what grows is found, what varies is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scripts.soak import line

MINUTES = 40.0
MOMENTS = np.arange(0, MINUTES, 1 / 30)


def memory(seed: int, by_the_hour: float) -> list[tuple[float, float]]:
    """In MB; what connections need comes and goes."""
    return _samples(245 + 0.3 * np.random.default_rng(seed).standard_normal(len(MOMENTS)), by_the_hour)


def ages(seed: int, by_the_hour: float) -> list[tuple[float, float]]:
    """In ms."""
    return _samples(40 + np.random.default_rng(seed).exponential(5, size=len(MOMENTS)), by_the_hour)


def _samples(values: np.ndarray, by_the_hour: float) -> list[tuple[float, float]]:
    return list(zip(MOMENTS.tolist(), (values + MOMENTS / 60 * by_the_hour).tolist(), strict=True))


def share_that_grows(records: list[dict[str, Any]]) -> float:
    return float(np.mean([record["grows"] for record in records]))


def test_a_leak_of_a_megabyte_an_hour_is_found() -> None:
    assert share_that_grows([line(memory(seed, 1.0), MINUTES) for seed in range(300)]) > 0.95


def test_ages_that_grow_are_found() -> None:
    assert share_that_grows([line(ages(seed, 10.0), MINUTES) for seed in range(300)]) > 0.95


def test_what_only_varies_grows_no_more_often_than_the_interval_says() -> None:
    assert share_that_grows([line(memory(seed, 0.0), MINUTES) for seed in range(300)]) < 0.05
    assert share_that_grows([line(ages(seed, 0.0), MINUTES) for seed in range(300)]) < 0.05


def test_the_interval_is_by_the_hour() -> None:
    record = line([(minute / 2, minute / 2) for minute in range(120)], 60)
    assert record["per_hour"] == pytest.approx(60.0)
    assert record["per_hour_from"] == pytest.approx(60.0)
