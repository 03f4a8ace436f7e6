"""The lines of scripts/soak.py: what grows is found, what wanders is not."""

import numpy as np
import pytest

from scripts.soak import drift, line

MINUTES = 60.0
MOMENTS = np.arange(0, MINUTES, 1 / 30)


def walk(seed: int, by_the_hour: float) -> list[tuple[float, float]]:
    """Memory in MB: a page of 4 kB now and then, given back as often as taken, and a leak on top."""
    steps = np.random.default_rng(seed).choice([-0.004, 0.0, 0.004], size=len(MOMENTS))
    return list(zip(MOMENTS.tolist(), (245 + steps.cumsum() + MOMENTS / 60 * by_the_hour).tolist(), strict=True))


def noise(seed: int, by_the_hour: float) -> list[tuple[float, float]]:
    """Ages in ms."""
    values = 40 + np.random.default_rng(seed).exponential(5, size=len(MOMENTS)) + MOMENTS / 60 * by_the_hour
    return list(zip(MOMENTS.tolist(), values.tolist(), strict=True))


def share_that_grows(records: list[dict]) -> float:
    return float(np.mean([record["grows"] for record in records]))


def test_memory_that_wanders_grows_no_more_often_than_the_interval_says():
    assert share_that_grows([drift(walk(seed, 0.0), MINUTES) for seed in range(300)]) < 0.05


def test_a_line_would_call_it_a_leak():
    """Why memory has a test of its own."""
    assert share_that_grows([line(walk(seed, 0.0), MINUTES) for seed in range(300)]) > 0.25


def test_a_leak_of_two_megabytes_an_hour_is_found():
    assert share_that_grows([drift(walk(seed, 2.0), MINUTES) for seed in range(300)]) > 0.95


def test_ages_that_grow_are_found_and_others_are_not():
    assert share_that_grows([line(noise(seed, 10.0), MINUTES) for seed in range(100)]) > 0.95
    assert share_that_grows([line(noise(seed, 0.0), MINUTES) for seed in range(300)]) < 0.05


def test_the_interval_is_by_the_hour():
    record = drift([(minute / 2, minute / 2) for minute in range(120)], MINUTES)
    assert record["per_hour"] == pytest.approx(60.0)
    assert record["per_hour_from"] == pytest.approx(60.0)
