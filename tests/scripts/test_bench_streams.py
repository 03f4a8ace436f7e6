"""The report of scripts/bench_streams.py where a machine has far too many streams."""

from __future__ import annotations

import json

import pytest

from scripts.bench_streams import Ages, Row, console, report_of, show


def row(streams: int, ages: Ages) -> Row:
    return report_of(ages, streams, 30.0, 1.5)


def test_streams_that_got_no_answer_are_told_and_keep_up_with_nothing() -> None:
    alone = row(1, Ages(looked=[10.0] * 60, first_token=[50.0] * 15, last_token=[60.0] * 15))
    many = row(48, Ages(looked=[900.0] * 20))
    assert alone["first_token_ms_p95"] == 50.0
    assert [many[name] for name in ("late_percent", "first_token_ms_p50", "last_token_ms_p95")] == [None] * 3
    assert many["looked_ms_p50"] == 900.0
    json.dumps([alone, many], allow_nan=False)
    with console.capture() as told:
        show([alone, many])
    assert "kept up with: 1 streams" in told.get()


@pytest.mark.parametrize(("answers", "late", "enough"), [(15, 0, 2), (12, 0, 1), (15, 5, 1)])
def test_streams_keep_up_that_miss_little_and_are_answered(answers: int, late: int, enough: int) -> None:
    alone = row(1, Ages(looked=[10.0] * 60, first_token=[50.0] * 15, last_token=[60.0] * 15))
    two = row(2, Ages([10.0] * 120, [50.0] * 2 * answers, [60.0] * 2 * answers, late))
    with console.capture() as told:
        show([alone, two])
    assert f"kept up with: {enough} streams" in told.get()
