"""The example of each part, as its `__init__` has it, on small stand-ins for a trained checkpoint and a street."""

from __future__ import annotations

import textwrap
from pathlib import Path
from types import ModuleType

import pytest

import stts_calib
import stts_export
import stts_runtime
from stts_calib.calibration import save_frames
from stts_runtime.bundle import Bundle
from tests.noise import noise_frames

STAND_INS = {
    '"checkpoints/tiny"': '"micro"',
    "frames=[8]": "frames=[3]",
    "clip-t8-k0.5": "clip-t3-k0.5",
    ", 8, bundle": ", 3, bundle",
    "clips=20": "clips=2",
    # What random weights answer is never worth it, and their scores call no frame worth calibrating on.
    '["street.mp4"])': '["frames.npz"], language="int4", clips=2, force=True)',
}


@pytest.mark.parametrize("part", [stts_export, stts_runtime, stts_calib], ids=lambda part: part.__name__)
def test_the_example_runs(
    part: ModuleType,
    micro_bundle: Bundle,
    micro_checkpoint: Path,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "micro").symlink_to(micro_checkpoint)
    (tmp_path / "street.mp4").symlink_to(clip)
    (tmp_path / "out").mkdir()
    if part is not stts_export:
        (tmp_path / "out" / "tiny").symlink_to(micro_bundle.folder)
        save_frames(tmp_path / "frames.npz", noise_frames(micro_bundle))
    names: dict[str, object] = {}
    exec(example_of(part), names)
    assert isinstance(names["bundle"], Bundle)
    if part is stts_calib:
        assert Bundle.open(tmp_path / "out" / "smaller").manifest.quantization is not None


def example_of(part: ModuleType) -> str:
    text = part.__doc__ or ""
    blocks = [line for line in text.splitlines() if line.startswith("    ") or not line]
    code = textwrap.dedent("\n".join(blocks))
    for name in getattr(part, "__all__", []):
        assert hasattr(part, name)
    for shown, stand_in in STAND_INS.items():
        code = code.replace(shown, stand_in)
    return code
