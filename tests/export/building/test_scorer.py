"""Which scorer a bundle gets, and what it says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stts_export.building import BuildRequest, build_bundle
from stts_export.building.plan import plan_bundle
from stts_export.building.scorer import with_scorer
from stts_export.checkpoint import open_checkpoint
from stts_export.errors import CheckpointError
from stts_export.modules.config import ChangeConfig
from stts_runtime import load, overlay
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Scorer, ScorerName
from stts_runtime.engines import load_incremental, load_vision
from stts_runtime.errors import UserError
from stts_runtime.session import UNTRAINED, Session
from stts_runtime.video import VideoFile, window_of_file
from tests.runtime.engines.test_incremental import pictures, watched


def asking_for(checkpoint: Path, out: Path, **options: object) -> BuildRequest:
    return BuildRequest(checkpoint, out, [3], [1.0, 0.5], ["clip", "frame"], **options)  # type: ignore[arg-type]


def test_a_plain_molmo2_is_pruned_by_change(change_bundle: Bundle) -> None:
    manifest = change_bundle.manifest
    assert manifest.scorer == Scorer(kind="change", trained=False, prune_at=3)
    assert manifest.default_keep == 0.5
    assert "--scorer change" in manifest.build_command
    assert manifest.live is not None
    assert (manifest.live.pooled_width, manifest.live.pooled_precision) == (9 * 32, "fp16")
    assert manifest.live.novelty.news < 0.2, "its novelty is lower than a trained scorer's"


def test_a_stream_scored_by_change_gives_what_its_window_gives(change_bundle: Bundle) -> None:
    frames = pictures(3)
    # The third frame is the second once more but for a corner.
    frames[2] = frames[1]
    frames[2, :20, :20] = 255
    window = load_vision(change_bundle, "frame-t3-k0.5").run(frames)
    outputs = watched(load_incremental(change_bundle, 0.5), frames, key_every=3)
    assert window.scores is not None
    np.testing.assert_allclose(np.stack([one.scores for one in outputs]), window.scores, atol=1e-6)
    np.testing.assert_array_equal(np.stack([one.kept for one in outputs]), window.kept)
    assert outputs[0].pooled.dtype == np.float16
    tokens = np.concatenate([one.visual_tokens for one in outputs])
    np.testing.assert_allclose(tokens, window.visual_tokens, rtol=1e-4, atol=1e-5)


def test_every_answer_and_its_picture_say_that_nothing_was_trained(
    change_bundle: Bundle, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = window_of_file(VideoFile(str(clip)), 3, 2.0, 84)
    pruned, whole = (Session.open(change_bundle, name) for name in ("clip-t3-k0.5", "full-t3"))
    answer = pruned.ask(pruned.watch(window), "What happens?", 4)
    assert json.loads(answer.model_dump_json())["scorer"] == {"kind": "change", "trained": False}
    assert UNTRAINED in answer.notes
    titles: list[str] = []
    monkeypatch.setattr(overlay, "write_overlay", lambda *about: titles.append(about[3]))
    answer.write_picture(tmp_path / "kept.png")
    load(change_bundle.folder, engine="cpu").watch(str(clip), keep=0.5).write_picture(tmp_path / "kept.png")
    assert titles == ["clip-t3-k0.5, without a trained scorer"] * 2
    unpruned = whole.ask(whole.watch(window), "What happens?", 4)
    assert unpruned.scorer is None
    assert UNTRAINED not in unpruned.notes


def test_a_trained_scorer_is_left_out_where_change_was_asked_for(micro_checkpoint: Path, tmp_path: Path) -> None:
    trained, request = open_checkpoint(micro_checkpoint), asking_for(micro_checkpoint, tmp_path, scorer="change")
    checkpoint, notes = with_scorer(request, trained)
    assert trained.hf_config.stts is not None
    assert checkpoint.config.scorer == ChangeConfig(trained.hf_config.stts.prune_at)
    assert any("was trained with is left out" in note for note in notes)
    assert not any("scorer" in name for name in checkpoint.lazy().vision.state_dict())
    assert with_scorer(asking_for(micro_checkpoint, tmp_path), trained) == (trained, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "has no token scorer .* pass --scorer change"),
        ({"scorer": "trained"}, "has no trained scorer: pass --scorer change"),
        ({"prune_at": 2}, "--prune-at goes with --scorer change"),
        ({"scorer": "change", "prune_at": 4}, "prune_at is 4, .* layers 0 to 4"),
    ],
)
def test_a_scorer_that_cannot_be_had_is_refused(
    plain_checkpoint: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_bundle(asking_for(plain_checkpoint, tmp_path / "out", **options))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scorer", ["change", "trained"])
def test_a_scorer_with_nothing_to_score_is_refused(micro_checkpoint: Path, tmp_path: Path, scorer: ScorerName) -> None:
    """Else it would be passed over without a word."""
    request = BuildRequest(micro_checkpoint, tmp_path / "out", [3], [1.0], ["clip", "frame"], scorer=scorer)
    with pytest.raises(UserError, match=f"--scorer {scorer} has nothing to do where every variant keeps everything"):
        build_bundle(request)
    assert not list(tmp_path.iterdir())
    pruned = replace(request, variants=["clip-t3-k0.5"])
    assert plan_bundle(pruned, with_scorer(pruned, open_checkpoint(micro_checkpoint))[0]).prunes


def test_a_model_that_was_not_trained_with_pruning_keeps_its_tower_whole(
    plain_checkpoint: Path, micro_checkpoint: Path
) -> None:
    plain, trained = open_checkpoint(plain_checkpoint), open_checkpoint(micro_checkpoint)
    made, notes = with_scorer(asking_for(plain_checkpoint, Path("out"), scorer="change"), plain)
    assert made.config.scorer == ChangeConfig(made.config.vision.layers - 2)
    assert notes[0].startswith("--prune-at 3: the checkpoint was not trained with pruning")
    for request in (
        asking_for(plain_checkpoint, Path("out"), scorer="change", prune_at=1),
        asking_for(micro_checkpoint, Path("out"), scorer="change"),
    ):
        made, notes = with_scorer(request, plain if request.prune_at else trained)
        assert made.config.scorer == ChangeConfig(1)
        assert not [note for note in notes if note.startswith("--prune-at")]


def test_a_checkpoint_scored_by_change_must_have_the_layer(micro_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="runs layers 0 to 4"):
        open_checkpoint(micro_checkpoint).scored_by_change(9)
