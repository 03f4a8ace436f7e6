"""Frames of a stream, one at a time: the same tokens as a window of the budget `frame`, on every target."""

from __future__ import annotations

import numpy as np
import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Manifest
from stts_runtime.engines import IncrementalOutput, IncrementalVisionEngine, load_incremental, load_vision
from stts_runtime.errors import BundleError, EngineError
from tests.support.places import DATA

GROUPS = 4


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 84, 84, 3), dtype=np.uint8)


def watched(engine: IncrementalVisionEngine, frames: np.ndarray, key_every: int) -> list[IncrementalOutput]:
    outputs: list[IncrementalOutput] = []
    for number, frame in enumerate(frames):
        previous = outputs[-1].pooled if outputs else None
        outputs.append(engine.run(frame, previous, key=number % key_every == 0))
    return outputs


@pytest.mark.onnxruntime
def test_a_stream_gives_what_its_window_gives(micro_bundle: Bundle) -> None:
    frames = pictures(6)
    window = load_vision(micro_bundle, "frame-t6-k0.5").run(frames)
    outputs = watched(load_incremental(micro_bundle, 0.5), frames, key_every=6)
    np.testing.assert_array_equal(np.stack([one.kept for one in outputs]), window.kept)
    assert window.scores is not None
    np.testing.assert_allclose(np.stack([one.scores for one in outputs]), window.scores, atol=1e-6)
    tokens = np.concatenate([one.visual_tokens for one in outputs])
    np.testing.assert_allclose(tokens, window.visual_tokens, rtol=1e-4, atol=1e-5)


@pytest.mark.onnxruntime
def test_a_key_frame_is_whole_and_owes_nothing_to_the_frame_before(micro_bundle: Bundle) -> None:
    engine, (first, second) = load_incremental(micro_bundle, 0.5), pictures(2)
    before = engine.run(first, None, key=True)
    key, alone = engine.run(second, before.pooled, key=True), engine.run(second, None, key=True)
    assert key.kept.all()
    np.testing.assert_array_equal(key.visual_tokens, alone.visual_tokens)
    assert not np.allclose(key.scores, alone.scores), "but its scores look back"
    assert engine.run(second, before.pooled, key=False).kept.sum() == GROUPS // 2


@pytest.mark.onnxruntime
def test_change_is_nothing_for_the_same_picture_and_everything_at_first(micro_bundle: Bundle) -> None:
    engine, (frame, other) = load_incremental(micro_bundle, 0.5), pictures(2)
    first = engine.run(frame, None, key=True)
    np.testing.assert_allclose(first.change, 1, atol=1e-5)
    assert (engine.run(frame, first.pooled, key=False).change == 0).all()
    change = engine.run(other, first.pooled, key=False).change
    assert ((change > 0) & (change < 1)).all()


@pytest.mark.onnxruntime
def test_with_keep_1_every_frame_is_whole(micro_bundle: Bundle) -> None:
    outputs = watched(load_incremental(micro_bundle, 1.0), pictures(3), key_every=3)
    assert all(one.kept.all() for one in outputs)


def test_the_language_model_takes_two_key_frames_a_window(micro_bundle: Bundle) -> None:
    live = micro_bundle.manifest.live
    assert live is not None
    assert (live.frames, live.key_every) == (6, 3)
    assert micro_bundle.manifest.language.visual_rows >= 2 * GROUPS + 4 * (GROUPS // 2)


def test_a_bundle_without_frames_of_a_stream_names_the_option() -> None:
    with pytest.raises(BundleError, match=r"no variants for single frames.*--budget frame"):
        load_incremental(Bundle.open(DATA / "bundle-v4"), 0.5)


def test_a_keep_that_was_not_built_names_those_that_were(micro_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no live variant with keep 0.3; it has live-key, live-k0.5"):
        load_incremental(micro_bundle, 0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda live: live["variants"].pop("live-key"), "at least 2 items"),
        (lambda live: live["variants"]["live-k0.5"].update(kept_groups=3), "should be live-k0.5 with 2 groups"),
        (lambda live: live.update(pooled_width=0), "greater than or equal to 1"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(micro_bundle: Bundle, change: object, message: str) -> None:
    content = micro_bundle.manifest.model_dump()
    change(content["live"])  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        Manifest.model_validate(content)


def check_against_the_cpu(bundle: Bundle, engine: str) -> None:
    """Streams of the engine, over several captures of its graphs."""
    frames, tolerance = pictures(6, seed=3), 2e-2
    wanted = watched(load_incremental(bundle, 0.5), frames, key_every=3)
    got = watched(load_incremental(bundle, 0.5, engine), frames, key_every=3)  # type: ignore[arg-type]
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(ours.kept, theirs.kept)
        np.testing.assert_allclose(ours.change, theirs.change, atol=tolerance)
        error = np.linalg.norm(ours.visual_tokens - theirs.visual_tokens) / np.linalg.norm(theirs.visual_tokens)
        assert error < tolerance
        assert ours.visual_tokens.dtype == np.float16
    with pytest.raises(EngineError, match="the engine takes"):
        load_incremental(bundle, 0.5, engine).run(frames[0, :5], None, key=True)  # type: ignore[arg-type]


@pytest.mark.onnxruntime
@pytest.mark.parametrize("schema", [5, 7])
def test_a_frozen_bundle_still_looks_at_streams(schema: int) -> None:
    bundle = Bundle.open(DATA / f"bundle-v{schema}")
    outputs = watched(load_incremental(bundle, 0.5), pictures(2), key_every=2)
    assert [one.kept.sum() for one in outputs] == [GROUPS, GROUPS // 2]
