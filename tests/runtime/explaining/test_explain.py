"""`explain`: an explanation is what the engines did, and what they would have done at another keep."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import stts_runtime
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.engines import load_vision
from stts_runtime.explaining import ExplanationRecord, Region
from stts_runtime.explaining.motion import change_of_groups, least_change
from tests.support.programs import assert_refused, run


def noisy_frames(frames: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 255, (frames, 40, 40, 3), dtype=np.uint8)


@pytest.mark.onnxruntime
def test_what_other_variants_would_keep_is_what_their_engines_keep(micro_bundle: Bundle) -> None:
    frames = noisy_frames()
    with stts_runtime.load(micro_bundle.folder, engine="cpu") as model:
        explanation = model.explain(frames, keep=0.5, frames=3)
    names = [one.variant for one in explanation.record().variants]
    assert sorted(names) == ["clip-t3-k0.5", "frame-t3-k0.5", "full-t3"]
    assert explanation.variant == "clip-t3-k0.5"
    for name in names:
        kept = load_vision(micro_bundle, name).run(explanation.window.frames).kept
        np.testing.assert_array_equal(explanation._kept_by[name], kept)


@pytest.mark.onnxruntime
def test_a_region_is_kept_by_the_variant_that_is_named(micro_bundle: Bundle) -> None:
    with stts_runtime.load(micro_bundle.folder, engine="cpu") as model:
        explanation = model.explain(noisy_frames(), regions=["0,0,1,1", Region(0, 0, 0.5, 0.5, 0.0)], frames=3)
    everything, first = explanation.record().regions
    assert (everything.groups, everything.kept) == (12, int(explanation.kept.sum()))
    assert everything.smallest_variant == "full-t3"
    assert TokenBudget(3, 4, everything.smallest_keep).kept == 12
    # The first frame is whole in every variant.
    assert (first.groups, first.kept, first.times_seconds) == (1, 1, [0.0])
    assert first.smallest_variant == first.smallest_variant_part == explanation.record().variants[0].variant
    assert first.smallest_keep == first.smallest_keep_part == pytest.approx(1 / 3, abs=0.001)


def test_what_moves_is_told_from_pixels_alone() -> None:
    frames = np.full((3, 40, 40, 3), 100, np.uint8)
    frames += np.random.default_rng(0).integers(0, 4, frames.shape, dtype=np.uint8)
    frames[1, 20:, :20] = 180
    change = change_of_groups(frames, 2)
    assert (change[0] == 0).all()
    one = [False, False, True, False]
    assert (change > least_change(change)).tolist() == [[False] * 4, one, one]
    # A picture that changes everywhere alike, as one of a camera that turns, has nothing that moves.
    turning = noisy_frames()
    assert not (change_of_groups(turning, 2) > least_change(change_of_groups(turning, 2))).any()


@pytest.mark.onnxruntime
def test_the_command_writes_a_picture_arrays_and_a_record_that_agree(
    micro_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    options = ("--region", "0,0,0.5,0.5@1", "--frames", "3", "--out", "heat.png", "--arrays", "scores.npz", "--json")
    done = run("stts-runtime", "explain", micro_bundle.folder, clip, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = ExplanationRecord.model_validate_json(done.stdout)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heat.png", "scores.npz"]
    with np.load(tmp_path / "scores.npz") as arrays:
        assert set(arrays) == {"scores", "kept", "change", "moving", "times_seconds"}
        np.testing.assert_allclose(arrays["scores"], record.scores, atol=1e-4)
        np.testing.assert_array_equal(arrays["kept"], np.array(record.kept, dtype=bool))
        assert arrays["times_seconds"].tolist() == record.window.times_seconds
        assert int(arrays["moving"][1:].sum()) == record.motion.moving_groups
    assert record.visual_kept == int(np.sum(record.kept)) == 6
    assert [one.region for one in record.regions] == ["0,0,0.5,0.5@1"]
    picture = cv2.imread(str(tmp_path / "heat.png"))
    assert picture is not None
    # Three frames in two columns and two rows, each 240 pixels high, with their captions.
    assert picture.shape[0] > 2 * 240
    cyan = (picture[..., 0] > 240) & (picture[..., 1] > 240) & (picture[..., 2] < 20)
    assert cyan.sum() > 100, "the region is drawn"


@pytest.mark.onnxruntime
def test_for_people_it_says_which_keep_would_do(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    options = ("--region", "0,0,96,64", "--out", tmp_path / "heat.JPG")
    done = run("stts-runtime", "explain", micro_bundle.folder, clip, *options)
    assert done.returncode == 0, done.stderr
    assert "region 0,0,96,64  12 groups in 3 frames, 6 of them kept by clip-t3-k0.5" in done.stdout
    assert "all of them: full-t3; by the scores keep 0.917 would do" in done.stdout
    assert (tmp_path / "heat.JPG").read_bytes()[:2] == b"\xff\xd8"


@pytest.mark.onnxruntime
def test_mistakes_are_one_line_and_leave_nothing(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    bundle = micro_bundle.folder
    cases = [
        (("--keep", "1"), "full-t3 keeps everything and scores nothing; take keep 0.5"),
        (("--region", "a"), "a region is X,Y,WIDTH,HEIGHT"),
        (("--region", "0,0,97,64"), "which ends at 96,64, the pixels of"),
        (("--region", "0,0,1,1@60"), "is about second 60, and the frames are of second 0 to 2"),
        (("--out", "x.gif"), "x.gif should end in .png or .jpg"),
        (("--arrays", "x.npy"), "x.npy should end in .npz"),
    ]
    for words, message in cases:
        done = run("stts-runtime", "explain", bundle, clip, "--out", "heat.png", *words, cwd=tmp_path)
        assert_refused(done, message)
    assert_refused(run("stts-runtime", "explain", bundle, "none.mp4", cwd=tmp_path), "no such file: none.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.onnxruntime
def test_a_picture_is_what_python_draws(micro_bundle: Bundle, tmp_path: Path) -> None:
    with stts_runtime.load(micro_bundle.folder, engine="cpu") as model:
        explanation = model.explain(noisy_frames(), frames=3)
    explanation.write_picture(tmp_path / "heat.png")
    drawn = cv2.imread(str(tmp_path / "heat.png"))
    assert drawn is not None
    np.testing.assert_array_equal(drawn[..., ::-1], explanation.picture())
    explanation.write_arrays(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["scores"], explanation.scores)
    assert json.loads(explanation.record().model_dump_json())["variants"][-1]["moving_kept"] in (None, 1.0)
