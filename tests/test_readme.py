"""The README fits on a page, and its figures are those of the reports under benchmarks/."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import ROOT

README = (ROOT / "README.md").read_text()
PICTURES = [path for suffix in ("gif", "jpg", "png") for path in (ROOT / "docs").rglob(f"*.{suffix}")]
SETTINGS = {
    "unpruned": "full-t16",
    "**keep 0.5**": "clip-t16-k0.5",
    "keep 0.2": "clip-t16-k0.2",
    "keep 0.1": "clip-t16-k0.1",
    "half of it at random": "random-t16-k0.5",
}


def read(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / name).read_text())


def table(header: str) -> list[list[str]]:
    """The cells of the rows below a table's header."""
    lines = README.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(header)) + 2
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[first:])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_it_has_fewer_than_900_words() -> None:
    assert len(README.split()) < 900


def test_the_first_two_commands_are_those_of_continuous_integration() -> None:
    first = README.partition("```\n")[2].splitlines()[:2]
    assert [line.split()[0] for line in first] == ["scripts/demo", "scripts/test"]


def test_pictures_of_the_documentation_stay_small() -> None:
    sizes = {path: path.stat().st_size for path in PICTURES}
    assert 0 < sizes[ROOT / "docs" / "readme.gif"] <= 2_000_000
    assert sum(sizes.values()) <= 3_000_000


def medians() -> Iterator[tuple[int, float, float]]:
    """Frames, and milliseconds for vision and prefill, unpruned and at keep 0.5, in the order of the table."""
    rows = read("h100/molmo2-4b.json")["rows"]
    large = {(one["stage"], one["frames"], one["keep"]): one["milliseconds"]["engine"]["median"] for one in rows}
    for frames in (64, 128, 256):
        unpruned, half = (sum(large[stage, frames, keep] for stage in ("vision", "prefill")) for keep in (1, 0.5))
        yield frames, unpruned, half
    small = {
        one["variant"]: one["vision_ms"]["p50"] + one["prefill_ms"]["p50"] for one in read("cpu/tiny.json")["rows"]
    }
    yield 16, small["full-t16"], small["clip-t16-k0.5"]


def test_the_table_of_speed_is_the_reports() -> None:
    for (_, frames, *shown, ratio), (count, unpruned, half) in zip(
        table("| model and machine"), medians(), strict=True
    ):
        assert int(frames) == count
        assert [float(one) for one in shown] == pytest.approx([unpruned, half], abs=0.051)
        # The demo's report rounds the median of the rounds' ratios, not the ratio of the medians.
        assert float(ratio.removesuffix("x")) == pytest.approx(unpruned / half, abs=0.02)


def test_the_table_of_accuracy_is_the_report() -> None:
    report = read("accuracy-tiny.json")
    settings = {one["setting"]: one for one in report["settings"]}
    against = {one["setting"]: one["points"] for one in report["differences"] if one["against"] == "full-t16"}
    rows = table("| 16 frames | tokens")
    assert [name for name, *_ in rows] == list(SETTINGS)
    for name, tokens, plain, hard, points in rows:
        setting = settings[SETTINGS[name]]
        assert int(tokens) == setting["visual_tokens"]
        assert [plain, hard] == [f"{setting['by_set'][one]['value']:.1f}" for one in ("plain", "hard")]
        if name != "unpruned":
            lost = against[SETTINGS[name]]
            assert points == f"{lost['value']:+.2f} ({lost['low']:+.2f} to {lost['high']:+.2f})"


def test_the_notes_of_the_tables_are_the_reports() -> None:
    report = read("accuracy-tiny.json")
    assert f"{report['clips']} test clips" in README
    assert f"{report['questions']:,} questions" in README
    assert Path(ROOT / "scripts" / "readme_gif.py").stat().st_mode & 0o111
