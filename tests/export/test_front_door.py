"""The front door for Python: `build` and `verify` take what the commands take, and say mistakes in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import stts_export
from stts_export.cli.build import BudgetName, TargetName
from stts_export.lowering import TARGETS
from stts_export.options import Target
from stts_runtime.budget import Scope
from stts_runtime.errors import UserError

CHEAP = """
import sys
import stts_export
assert not {"numpy", "pydantic", "torch"} & set(sys.modules)
stts_export.build, stts_export.verify
assert not {"torch", "onnx", "onnxruntime", "stts_export.building", "stts_export.verifying"} & set(sys.modules)
"""


def test_importing_it_loads_nothing_and_naming_its_functions_no_torch() -> None:
    subprocess.run([sys.executable, "-c", CHEAP], check=True, timeout=60)


def test_what_is_built_is_what_verify_and_the_runtime_take(micro_checkpoint: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    out = str(tmp_path / "bundle")
    bundle = stts_export.build(str(micro_checkpoint), out, frames=np.array([2, 3]), keep=1, on_step=steps.append)
    assert bundle.folder == Path(out)
    assert list(bundle.manifest.variants) == ["full-t2", "full-t3"]
    command = "stts-export build micro --out bundle --frames 2 --frames 3 --keep 1 --budget clip --batch 8 --target cpu"
    assert bundle.manifest.build_command == command
    assert re.fullmatch(r"note: the build needs about \d+\.\d GB of memory and \d+\.\d GB are free", steps[0])
    assert steps[1] == f"reading {micro_checkpoint}"
    assert numbered(steps) == [(number, 11) for number in range(1, 12)], "two windows, one lowering"
    told: list[str] = []
    report = stts_export.verify(out, micro_checkpoint, variant="full-t2", ask="Who?", max_tokens=2, on_step=told.append)
    assert not report.missed
    assert report.question == "Who?"
    assert {finding.variant for finding in report.findings} <= {"full-t2", None}
    assert any("full-t2" in line for line in told)
    planned = numbered(told)
    assert planned == [(number, len(planned)) for number in range(1, len(planned) + 1)]
    assert len(planned) >= 2
    with pytest.raises(UserError, match="--force"):
        stts_export.build(micro_checkpoint, out)


def numbered(lines: list[str]) -> list[tuple[int, int]]:
    """Each step's number, and how many there are to be."""
    return [(int(one[1]), int(one[2])) for line in lines if (one := re.search(r"\(step (\d+) of (\d+)", line))]


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"checkpoint": 3}, "a checkpoint should be a path, got int"),
    (
        {"checkpoint": "not/there/either"},
        "no such folder: not/there/either",
    ),
    ({"frames": 0}, "frames should be a whole number of at least 1, got 0"),
    ({"frames": [8, "many"]}, "frames should be a whole number of at least 1, got 'many'"),
    ({"frames": ()}, "frames is empty; leave it out for the default"),
    ({"keep": "half"}, "keep should be a number above 0 and at most 1, got 'half'"),
    ({"keep": [1, 1.5]}, "the keep ratio must be above 0 and at most 1, got 1.5"),
    ({"budget": "clips"}, "budget should be one of clip, frame, given, got 'clips'"),
    ({"target": ["cpu", "gpu"]}, "target should be one of cpu, cpu-16bit, cuda, tensorrt, tensorrt-rtx, got 'gpu'"),
    ({"precision": "fp8"}, "precision should be one of fp16, bf16, got 'fp8'"),
    ({"precision": "bf16"}, "--precision is for targets with 16-bit weights, and the target cpu is in float32"),
    ({"target": "cuda", "frames_from": "no.mp4"}, "no such file: no.mp4"),
    ({"max_context": 0}, "max_context should be a whole number of at least 1, got 0"),
    ({"positions": "old"}, "positions should be one of original, compact, got 'old'"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_about_a_build_is_one_line(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {"checkpoint": tmp_path, "out": tmp_path / "out", **arguments}
    assert refusal(lambda: stts_export.build(given.pop("checkpoint"), given.pop("out"), **given)) == message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ask": ["Who?"]}, "a question should be text, got list"),
        ({"max_tokens": 0}, "max_tokens should be a whole number of at least 1, got 0"),
        ({"variant": []}, "variant is empty; leave it out for the default"),
        ({"write_reference": 1.5}, "write_reference should be a path, got float"),
    ],
)
def test_a_mistake_about_a_comparison_is_one_line(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert refusal(lambda: stts_export.verify(tmp_path, tmp_path, **arguments)) == message


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


def test_names_of_options_are_the_same_everywhere() -> None:
    assert list(get_args(Target)) == [name.value for name in TargetName] == list(TARGETS)
    assert list(get_args(Scope)) == [name.value for name in BudgetName]
