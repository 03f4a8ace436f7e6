"""Training: the optimiser, what tokens may see, that the loss reaches the scorer, and that a run learns."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stts_calib.clips import Clip, Split
from stts_export.building import BuildRequest
from stts_export.building.plan import plan_bundle
from stts_export.checkpoint import open_checkpoint
from stts_export.modules.scorer import TokenScorer
from stts_export.modules.vit import patches_of_frames
from stts_export.training import state
from stts_export.training.examples import Batch, batch_of
from stts_export.training.loop import Report, Run
from stts_export.training.muon import StackedMuon
from stts_export.training.objective import Objective
from stts_export.training.recipe import Phase, Recipe, TrainingSetting
from stts_export.training.writer import Writer
from stts_runtime.budget import TokenBudget
from stts_runtime.errors import UserError
from stts_runtime.prompt import PromptBuilder
from stts_tools.checkpoints.sizes import SIZES, model_config
from stts_tools.tiny.card import Provenance, model_card
from stts_tools.tiny.recipe import PRUNE_FRACTION, TINY
from stts_tools.tiny.start import fresh_modules, start_run
from tests.support.places import ROOT


def test_stacked_muon_updates_as_torch_does() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(8, 8), (8, 8), (12, 5), (5, 12), (8, 8)]
    ours = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in ours]
    stacked = StackedMuon(ours, lr=0.01, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        if step == 1:
            ours[1].grad = theirs[1].grad = None
        stacked.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


MICRO = SIZES["micro"]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Two clips of three frames a step."""
    settings = (TrainingSetting(3, 0.5, "clip", 0.5), TrainingSetting(3, 1.0, "clip", 0.5))
    return dataclasses.replace(
        TINY, steps=20, minutes=5, frames_per_step=6, phases=(Phase(1.0, settings),), validated_settings=settings,
        warm_up_steps=1, matrix_rate=3e-3, other_rate=1e-2, report_every=5, validate_every=1000, validation_clips=2,
    )  # fmt: skip


def first_batch(run: Run, keep: float) -> Batch:
    clips = [Clip.make(Split.train, number) for number in range(2)]
    return batch_of(clips, run.model.vision, TrainingSetting(3, keep, "clip"), Writer(run.tokenizer))


def objective_of(run: Run) -> Objective:
    config = model_config(MICRO, run.tokenizer, PRUNE_FRACTION)
    return Objective(*fresh_modules(config, seed=0), TINY.scores).eval()


def test_training_writes_the_prompts_of_the_runtime(tmp_path: Path, recipe: Recipe) -> None:
    """What a model is trained to read must be what a bundle makes of the same video, mark for mark."""
    run = start_run(recipe, MICRO, "cpu", workers=0)
    run.write(tmp_path / "checkpoint", "card")
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    plan = plan_bundle(BuildRequest(checkpoint.path, tmp_path / "out", [3], [1.0], ["clip"]), checkpoint)
    prompts = PromptBuilder(checkpoint.text.tokenizer, plan.prompt)
    expected = prompts.video(np.linspace(0, 15, 3).tolist(), np.ones((3, 4), dtype=np.bool_))
    written = Writer(run.tokenizer).prefix(3, 4)
    assert written.ids.tolist() == expected.ids.tolist()
    assert written.positions.tolist() == expected.positions.tolist()


def test_packed_questions_give_what_each_gives_alone_in_the_cache(recipe: Recipe) -> None:
    """Training packs all questions of a clip behind its pruned video; the runtime asks them one by one."""
    run = start_run(recipe, MICRO, "cpu", workers=0)
    batch, objective = first_batch(run, 0.5), objective_of(run)
    budget, language = batch.setting.budget(objective.vision.config.vision), objective.language
    layers = frozenset(objective.vision.config.vision.feature_layers)
    hidden = objective.vision.hidden(_patches(batch, objective), budget, layers)
    assert hidden.kept_BK is not None
    visual = objective.vision.visual_tokens(hidden, budget)
    packed = objective._logits(batch, visual, hidden.kept_BK).unflatten(0, batch.tokens_BQ.shape)
    writer, compared = Writer(run.tokenizer), 0
    for clip in range(2):
        kept = np.zeros(3 * 4, dtype=np.bool_)
        kept[hidden.kept_BK[clip].numpy()] = True
        prefix = writer.video(3, kept.reshape(3, 4))
        shown = visual.unflatten(0, (2, -1))[clip]
        for number, question in enumerate(Clip.make(Split.train, clip).questions, start=1):
            caches = language.empty_caches(200)
            ids, positions = torch.from_numpy(prefix.ids), torch.from_numpy(prefix.positions)
            caches = language(ids, positions, torch.tensor([0]), shown, caches).caches
            asked = torch.from_numpy(writer.question(question.text, prefix))
            places = torch.arange(prefix.next_position, prefix.next_position + len(asked))
            alone = language(asked, places, torch.tensor([len(ids)]), shown, caches).logits[0]
            first = (batch.segments_BQ[clip] == number).nonzero()[0, 0]
            torch.testing.assert_close(packed[clip, first + len(asked) - 1], alone, atol=2e-4, rtol=1e-3)
            compared += 1
    assert compared >= 8


def _patches(batch: Batch, objective: Objective) -> torch.Tensor:
    config = objective.vision.config.vision
    patches = patches_of_frames(batch.frames_BTHWC.flatten(0, 1), config)
    return patches.reshape(-1, batch.setting.frames, *patches.shape[1:])


def test_the_answers_loss_reaches_the_scorer(recipe: Recipe) -> None:
    """Through the attention bias; the choice itself has no gradient."""
    run = start_run(recipe, MICRO, "cpu", workers=0)
    batch, objective = first_batch(run, 0.5), objective_of(run)
    objective(batch, batch.setting.budget(objective.vision.config.vision)).answer_loss.backward()
    scorer = objective.vision.temporal_token_scorer
    assert isinstance(scorer, TokenScorer)
    assert scorer.mlp.w3.weight.grad is not None
    assert scorer.mlp.w3.weight.grad.abs().max() > 0


def test_scores_are_taught_what_moves_and_elsewhere_the_change_since_the_frame_before(recipe: Recipe) -> None:
    run = start_run(recipe, MICRO, "cpu", workers=0)
    batch, objective, parts = first_batch(run, 0.5), objective_of(run), TINY.scores
    budget = batch.setting.budget(objective.vision.config.vision)
    hidden = objective.vision.hidden(_patches(batch, objective), budget, frozenset((objective.scored_layer,)))
    assert hidden.scores_BTG is not None
    rows = hidden.by_layer[objective.scored_layer].detach().numpy().reshape(2, 3, 4, -1)
    scores, worth = hidden.scores_BTG.detach().numpy(), batch.worth_BTG.numpy()
    assert (worth[:, 1:] > 0).any()
    assert (worth[:, 1:] == 0).any()
    distance, weights, ground = 0.0, 0.0, [list[float]() for _ in range(4)]
    for clip, frame, group in np.ndindex(2, 2, 4):
        now, before = rows[clip, frame + 1, group], rows[clip, frame, group]
        value, score = worth[clip, frame + 1, group], scores[clip, frame + 1, group]
        target, weight = value, parts.held
        if not value:
            target, weight = parts.change * (1 - now @ before / np.linalg.norm(now) / np.linalg.norm(before)), 1.0
            ground[group].append(np.log(score / (1 - score)))
        distance += weight * (score - target) ** 2
        weights += weight
    uneven = np.var([float(np.mean(found)) if found else 0.0 for found in ground])
    expected = distance / weights + parts.evenness * uneven
    assert objective._scores(hidden, batch.worth_BTG, budget).item() == pytest.approx(expected, rel=1e-3)


def test_equal_scores_are_kept_in_turn_in_training_and_not_after_it(recipe: Recipe) -> None:
    run = start_run(recipe, MICRO, "cpu", workers=0)
    batch, objective = first_batch(run, 0.5), objective_of(run)
    budget = batch.setting.budget(objective.vision.config.vision)

    def kept(noise: float) -> list[list[int]]:
        found = objective.vision.hidden(_patches(batch, objective), budget, frozenset(), noise=noise).kept_BK
        assert found is not None
        return [row.tolist() for row in found]

    assert kept(0.0) == kept(0.0)
    assert len({str(kept(100.0)) for _ in range(8)}) > 1


def test_unpruned_steps_leave_the_scorer_alone(recipe: Recipe) -> None:
    run = start_run(recipe, MICRO, "cpu", workers=0)
    batch, objective = first_batch(run, 1.0), objective_of(run)
    outcome = objective(batch, batch.setting.budget(objective.vision.config.vision))
    (outcome.answer_loss + outcome.score_loss).backward()
    assert outcome.score_loss == 0
    assert objective.vision.temporal_token_scorer is not None
    assert all(weight.grad is None for weight in objective.vision.temporal_token_scorer.parameters())


def test_a_run_learns_and_its_checkpoint_computes_the_same(tmp_path: Path, recipe: Recipe) -> None:
    run = start_run(recipe, MICRO, "cpu", workers=0)
    reports = list(run.train())
    assert [report.step for report in reports] == [5, 10, 15, 20]
    assert reports[-1].done == 1
    assert reports[-1].answer_loss < 0.75 * reports[0].answer_loss
    assert reports[-1].accuracy.keys() == {"3 frames, keep 0.5", "3 frames, keep 1"}
    card = model_card(recipe, MICRO, reports[-1], Provenance("a machine", "a commit", "a command"))
    run.write(tmp_path / "checkpoint", card)
    assert "This run saw 40 training clips" in (tmp_path / "checkpoint" / "README.md").read_text()
    modules = open_checkpoint(tmp_path / "checkpoint").load()
    batch = first_batch(run, 0.5)
    budget = batch.setting.budget(run.model.vision)
    read = Objective(modules.vision, modules.language, TINY.scores).eval()(batch, budget)
    trained = run._objective.eval()(batch, budget)
    torch.testing.assert_close(read.answer_loss, trained.answer_loss.detach(), atol=2e-2, rtol=0)


@pytest.mark.parametrize("pruned", [True, False])
def test_a_twins_card_says_nothing_of_the_others_figures(recipe: Recipe, pruned: bool) -> None:
    report = Report(1, 60.0, 1.0, 10, 0.1, 0.1, {}, 0.0, None)
    card = model_card(
        dataclasses.replace(recipe, pruned=pruned), MICRO, report, Provenance("a machine", "a commit", "a command")
    )
    assert ("accuracy-tiny.json" in card) == pruned


def test_a_run_in_parts_ends_near_one_in_one_piece(tmp_path: Path, recipe: Recipe) -> None:
    """But for the optimisers' memory, which is stored in bfloat16."""
    whole = start_run(recipe, MICRO, "cpu", workers=0)
    expected = list(whole.train())[-1]
    first = start_run(recipe, MICRO, "cpu", workers=0)
    reports = first.train()
    while next(reports).step < 10:
        pass
    first.save(tmp_path / "state")
    second = start_run(recipe, MICRO, "cpu", workers=0)
    second.resume(tmp_path / "state")
    assert second.progress == first.progress
    last = list(second.train())[-1]
    assert (last.step, last.clips) == (expected.step, expected.clips)
    assert last.answer_loss == pytest.approx(expected.answer_loss, rel=0.05)
    for name, weight in second._weights().items():
        torch.testing.assert_close(weight, whole._weights()[name], atol=0.05, rtol=0)


def test_a_state_of_another_run_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    run = start_run(recipe, MICRO, "cpu", workers=0)
    with pytest.raises(UserError, match="holds no run to go on with"):
        run.resume(tmp_path)
    run.save(tmp_path)
    with pytest.raises(UserError, match="a run of seed 0, not of seed 1"):
        start_run(dataclasses.replace(recipe, seed=1), MICRO, "cpu", workers=0).resume(tmp_path)
    with pytest.raises(UserError, match="a model of another size"):
        start_run(recipe, dataclasses.replace(MICRO, text_layers=1), "cpu", workers=0).resume(tmp_path)


def test_the_files_of_a_state_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    monkeypatch.setattr(state, "_FILE_BYTES", 40_000)
    run = start_run(recipe, MICRO, "cpu", workers=0)
    run.save(tmp_path)
    files = list(tmp_path.glob("state-*.safetensors"))
    assert len(files) > 2
    largest = max(weight.numel() * 4 for weight in run._weights().values())
    assert all(file.stat().st_size < 40_000 + largest + 20_000 for file in files)
    run.resume(tmp_path)


def test_the_twin_sees_the_same_clips_and_prunes_nothing(recipe: Recipe) -> None:
    twin = dataclasses.replace(TINY, pruned=False)
    keeps = set()
    for step in range(60):
        ours, theirs = TINY.setting(step, step / 60), twin.setting(step, step / 60)
        assert (theirs.frames, theirs.keep) == (ours.frames, 1.0)
        keeps.add(ours.keep)
    assert len(keeps) > 4
    names = [clip.name for clip in TINY.clips(7, TrainingSetting(64, 1.0, "clip"))]
    assert names == [clip.name for clip in twin.clips(7, TrainingSetting(64, 1.0, "clip"))]
    assert not set(names) & {clip.name for clip in TINY.clips(8, TrainingSetting(8, 1.0, "clip"))}


def test_every_setting_of_the_recipe_keeps_its_first_frame() -> None:
    settings = {setting for phase in TINY.phases for setting in phase.settings} | {*TINY.validated_settings}
    assert {setting.frames for setting in settings} == {8, 16, 32, 64}
    for setting in settings:
        budget = TokenBudget(setting.frames, SIZES["tiny"].groups, setting.keep, setting.scope)
        assert budget.kept >= budget.groups


def test_a_run_ends_in_time_with_its_rates_at_zero() -> None:
    recipe = dataclasses.replace(TINY, steps=1000, minutes=1)
    assert recipe.rate(500, 60.0) == pytest.approx(0)
    assert recipe.rate(1000, 1.0) == pytest.approx(0)
    assert recipe.rate(500, 1.0) == pytest.approx(0.5)
    assert recipe.rate(0, 0.0) < 0.01


def test_training_needs_no_graph_library() -> None:
    """The extra `train` brings none."""
    absent = ("onnx", "onnx_ir", "onnxscript", "onnxruntime", "transformers", "matplotlib")
    code = f"import sys; sys.modules |= dict.fromkeys({absent}); import stts_export.training.loop"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_script_refuses_to_write_over_anything(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "mine.txt").write_text("mine")
    script = str(ROOT / "scripts" / "train_tiny.py")
    command = [sys.executable, script, "--out", str(tmp_path), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "exists already" in done.stderr
