"""Against the reference implementation's own outputs: the kept set is identical, features agree to 1e-4."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stts_export.lowering import LOWERINGS
from stts_runtime.errors import UserError
from stts_tools.golden import compare_modules, compare_onnx, read_golden
from tests.support.places import DATA

FILES = sorted(DATA.glob("stts_keep*.npz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_modules_agree_with_the_reference(path: Path) -> None:
    comparison = compare_modules(read_golden(path))
    assert comparison.passes, comparison


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_exported_graphs_agree_with_the_reference(path: Path, lowering: str) -> None:
    comparison = compare_onnx(read_golden(path), lowering)
    assert comparison.passes, comparison


def test_a_wrong_weight_is_noticed() -> None:
    golden = read_golden(FILES[0])
    name = "temporal_token_scorer.mlp.w2.weight"
    wrong = dataclasses.replace(golden, weights={**golden.weights, name: golden.weights[name].T.contiguous()})
    assert not compare_modules(wrong).passes


def test_a_file_that_is_not_golden_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, scores=np.zeros(3))
    with pytest.raises(UserError, match="not a golden file"):
        read_golden(path)
