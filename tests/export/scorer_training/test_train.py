"""Teaching a scorer to a frozen model: what is learned, what stays, runs that stop and go on, and bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stts_calib.clips import Clip, Split, write_video
from stts_export.checkpoint import open_checkpoint
from stts_export.errors import CheckpointError
from stts_export.front_door import build, verify
from stts_export.modules.config import ScorerConfig
from stts_export.modules.language import Language
from stts_export.modules.selection import kept_groups
from stts_export.modules.vision import Vision, whole_frames
from stts_export.modules.vit import patches_of_frames
from stts_export.scorer_training import clips, lesson, loop, prompts, ranks, train
from stts_export.scorer_training.batches import Clips, Schedule
from stts_export.scorer_training.clips import Problem, find_footage
from stts_export.scorer_training.frozen import load_frozen, scorer_of
from stts_export.scorer_training.lesson import Lesson, Outcome, Written
from stts_export.scorer_training.memory import estimated
from stts_export.scorer_training.prompts import Prompts
from stts_export.scorer_training.pull import gently_pulled
from stts_export.scorer_training.questions import read_questions
from stts_export.scorer_training.ranks import one_speaks
from stts_export.scorer_training.request import ScorerRequest
from stts_export.scorer_training.train import train_scorer
from stts_export.training.terms import change_since_before
from stts_runtime.budget import TokenBudget
from stts_runtime.errors import SourceError, UserError
from stts_runtime.inputs import Input
from stts_runtime.tell import TellStep, tell_nobody
from stts_tools.checkpoints.random import write_random_checkpoint
from stts_tools.checkpoints.sizes import SIZES

FRAMES, SIDE = 4, SIZES["micro"].frame
QUESTIONS = ("What moves?", "How many people came in?")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Molmo2 without a scorer."""
    folder = tmp_path_factory.mktemp("checkpoints") / "plain"
    write_random_checkpoint(folder, SIZES["micro"], seed=0, prune_fraction=None)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of stored frames, with times whose texts differ in length."""
    folder = tmp_path_factory.mktemp("videos") / "stored"
    folder.mkdir()
    for number in range(6):
        times = np.linspace(0, 15 if number % 2 else 8, FRAMES)
        frames = Clip.make(Split.train, number).pictures(times.tolist(), SIDE)
        np.savez(folder / f"clip-{number}.npz", frames=frames, times_seconds=times)
    return folder


@pytest.fixture
def request_(plain: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScorerRequest:
    """Six short steps, each reported and saved."""
    monkeypatch.setattr(loop, "REPORT_EVERY", 1)
    monkeypatch.setattr(loop, "SAVE_EVERY_SECONDS", 0.0)
    for module in (prompts, lesson):
        monkeypatch.setattr(module, "ANSWER", 3)
    return ScorerRequest(
        checkpoint=plain, videos=videos, out=tmp_path / "taught", frames=(FRAMES,), steps=6, change_steps=2, clips=2,
        rate=1e-2, device="cpu",
    )  # fmt: skip


class Said(list[str]):
    """What was told."""

    def __call__(self, step: str, done: int = 0, of: int = 0) -> None:
        self.append(step)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def modules_of(plain: Path) -> tuple[Vision, Language, Prompts]:
    checkpoint = open_checkpoint(plain)
    vision, language = load_frozen(checkpoint, ScorerConfig(1, 48, 0.5), 0, torch.device("cpu"), tell_nobody)
    return vision, language, Prompts(checkpoint, "original")


def some_clips(count: int = 2, seconds: float = 15.0) -> Clips:
    """The later ones are shorter."""
    times = [np.linspace(0, seconds / (1 + number), FRAMES).tolist() for number in range(count)]
    pictures = [Clip.make(Split.train, number).pictures(one, SIDE) for number, one in enumerate(times)]
    return Clips(torch.from_numpy(np.stack(pictures)), times, [list(QUESTIONS) for _ in times])


def test_the_scorer_is_new_and_every_other_weight_is_as_it_was(request_: ScorerRequest) -> None:
    taught = train_scorer(request_)
    before, after = weights_of(request_.checkpoint), weights_of(request_.out)
    assert all(
        torch.equal(weight, after[name]) and weight.dtype == after[name].dtype for name, weight in before.items()
    )
    new = after.keys() - before.keys()
    assert new
    assert all("temporal_token_scorer" in name and after[name].dtype == torch.float32 for name in new)
    checkpoint = open_checkpoint(request_.out)
    assert checkpoint.config.scorer == ScorerConfig(3, SIZES["micro"].vision_mlp, 0.5)
    assert checkpoint.load().notes == []
    assert (request_.out / "tokenizer.json").read_bytes() == (request_.checkpoint / "tokenizer.json").read_bytes()
    assert taught.steps == 6


def test_what_a_run_did_lies_in_the_checkpoint_and_nowhere_else(request_: ScorerRequest) -> None:
    train_scorer(request_)
    about = json.loads((request_.out / "training.json").read_text())
    lines = [json.loads(line) for line in (request_.out / "training.jsonl").read_text().splitlines()]
    assert (about["steps"], about["settings"]["checkpoint"]) == (6, "plain")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert (request_.out / "training.png").read_bytes().startswith(b"\x89PNG")
    assert not request_.folder.exists()


def taught_by_heart(request: ScorerRequest, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The reports of steps on the same two clips."""
    monkeypatch.setattr(Schedule, "drawn", lambda *_: [0, 1])
    monkeypatch.setattr(loop, "_WARM_UP_STEPS", 1)
    train_scorer(request)
    return [json.loads(line) for line in (request.out / "training.jsonl").read_text().splitlines()]


def test_a_scorer_learns_few_clips_by_heart(request_: ScorerRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both losses fall."""
    lines = taught_by_heart(dataclasses.replace(request_, steps=25, change_steps=0), monkeypatch)
    first, last = lines[0], lines[-1]
    assert last["score_loss"] < 0.5 * first["score_loss"]
    total = [line["answer_loss"] + 0.5 * line["score_loss"] for line in (first, last)]
    assert total[1] < 0.9 * total[0]


def test_change_alone_is_learned_without_the_language_model(
    request_: ScorerRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores then explain most of what changes in these clips, and keep what `--scorer change` keeps."""
    monkeypatch.setattr(Language, "sequences", None)
    request = dataclasses.replace(request_, steps=60, change_steps=60, rate=3e-3)
    lines = taught_by_heart(request, monkeypatch)
    assert [line["answer_loss"] for line in lines] == [line["agreement"] for line in lines] == [None] * 60
    assert lines[0]["explained"] < 0.1
    assert lines[-1]["explained"] > 0.5
    assert share_kept_alike(request.out, request.videos) > 0.5


def share_kept_alike(taught: Path, videos: Path) -> float:
    """Intersection over union of what the taught scorer and change since the frame before keep of the first two videos'
    frames, all but the first.
    """
    vision = open_checkpoint(taught).load().vision
    frames_FHWC = np.concatenate([np.load(path)["frames"] for path in sorted(videos.iterdir())[:2]])
    budget, blocks = TokenBudget(FRAMES, vision.config.vision.groups, 0.5), range(2)
    with torch.no_grad():
        x = vision.vision_tower.embed(patches_of_frames(torch.from_numpy(frames_FHWC), vision.config.vision))
        _, scored = vision.run_blocks(x, blocks, whole_frames(2 * FRAMES, vision.config.vision.heads), frozenset())
        scores_BTG = vision.scores(scored, budget)
        change_BtG = change_since_before(scored, FRAMES, vision.config.vision)
    change_BTG = torch.cat((torch.zeros_like(scores_BTG[:, :1]), change_BtG), dim=1)
    kept = [
        {(clip, place) for clip, row in enumerate(kept_groups(one, budget).tolist()) for place in row[budget.groups :]}
        for one in (scores_BTG, change_BTG)
    ]
    return len(kept[0] & kept[1]) / len(kept[0] | kept[1])


@pytest.mark.parametrize("stopped_at", [1, 4])
def test_a_run_that_was_killed_goes_on_to_the_same_weights(request_: ScorerRequest, stopped_at: int) -> None:
    train_scorer(request_)
    stopped = dataclasses.replace(request_, out=request_.out.with_name("again"))
    with pytest.raises(KeyboardInterrupt):
        train_scorer(stopped, _interrupting_after(stopped_at))
    assert not stopped.out.exists()
    said = Said()
    train_scorer(stopped, said)
    assert any(line.startswith(f"going on from step {stopped_at}") for line in said)
    whole, resumed = weights_of(request_.out), weights_of(stopped.out)
    assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())
    steps = [json.loads(line)["step"] for line in (stopped.out / "training.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


def _interrupting_after(number: int) -> TellStep:
    def tell(step: str, done: int = 0, of: int = 0) -> None:
        if step.startswith("training") and done == number:
            raise KeyboardInterrupt

    return tell


def test_a_run_that_was_asked_for_otherwise_or_is_damaged_is_not_gone_on_with(request_: ScorerRequest) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_scorer(request_, _interrupting_after(2))
    with pytest.raises(UserError, match=r"holds a run with keeps \[0.5\]; ask for the same"):
        train_scorer(dataclasses.replace(request_, keeps=(0.6,)))
    state = request_.folder / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(UserError, match="is damaged; delete"):
        train_scorer(request_)


@pytest.mark.parametrize("changed", ["videos", "questions"])
def test_a_run_whose_videos_or_questions_changed_is_not_gone_on_with(
    request_: ScorerRequest, videos: Path, tmp_path: Path, changed: str
) -> None:
    folder, asked = Path(shutil.copytree(videos, tmp_path / "changing")), tmp_path / "questions.txt"
    asked.write_text("Who came?\n")
    request = dataclasses.replace(request_, videos=folder, questions=asked)
    with pytest.raises(KeyboardInterrupt):
        train_scorer(request, _interrupting_after(2))
    if changed == "videos":
        (folder / "clip-5.npz").rename(folder / "clip-7.npz")
    else:
        asked.write_text("Who went?\n")
    with pytest.raises(
        UserError, match=f"^the {changed} are not those that the run in .*taught.training began with; put"
    ):
        train_scorer(request)
    assert (request.folder / "state.safetensors").is_file()


def test_the_unpruned_models_answers_are_those_of_the_exported_graphs_call(plain: Path) -> None:
    """Clips and questions side by side, in one padded batch, against one question alone in the cache."""
    vision, language, writer = modules_of(plain)
    taught, clips = Lesson(vision, language, writer), some_clips()
    written = _answers(taught, clips)
    lasts, width = written.asked.last_n.tolist(), written.asked.ids_BQ.shape[1]
    config, flat = vision.config.vision, written.asked.ids_BQ.flatten()
    for clip in range(2):
        with torch.no_grad():
            visual = vision(clips.frames_BTHWC[clip], TokenBudget(FRAMES, config.groups, 1.0)).visual_tokens_KW
        whole = np.ones((FRAMES, config.groups), dtype=np.bool_)
        prefix = writer._prompts.video(clips.times_seconds[clip], whole)
        for number, text in enumerate(QUESTIONS):
            caches = language.empty_caches(400)
            ids, positions = torch.from_numpy(prefix.ids), torch.from_numpy(prefix.positions)
            caches = language(ids, positions, torch.tensor([0]), visual, caches).caches
            asked = torch.from_numpy(writer._prompts.question(text, prefix).ids)
            place, end = prefix.next_position, lasts[clip * len(QUESTIONS) + number]
            for step in range(prompts.ANSWER):
                out = language(asked, place + torch.arange(len(asked)), torch.tensor([place]), visual, caches)
                caches, place, asked = out.caches, place + len(asked), out.next_token
                row = (written.places_m == end + step).nonzero().item()
                torch.testing.assert_close(written.logits_mV[int(row)], out.logits[0], atol=2e-4, rtol=1e-3)
                if step + 1 < prompts.ANSWER:
                    assert flat[end + step + 1] == asked
    assert width > max(lasts[:2]) + prompts.ANSWER - 1


def _answers(lesson: Lesson, clips: Clips) -> Written:
    prefixes, asked = lesson._prompts.of(clips)
    _, whole = lesson._unpruned(clips.frames_BTHWC)
    budget = TokenBudget(FRAMES, lesson._config.groups, 0.5)
    return lesson._answers(prefixes, asked, lesson._tokens(whole, budget))


def test_clips_side_by_side_teach_what_each_teaches_alone(plain: Path) -> None:
    """Their prefixes differ in length, so one is padded."""
    taught, clips = Lesson(*modules_of(plain)), some_clips()
    prefixes, _ = taught._prompts.of(clips)
    assert (prefixes.segments_BP < 0).any()
    together = taught(clips, 0.5)
    alone = [taught(one, 0.5) for one in clips.in_parts(1)]
    losses: list[Callable[[Outcome], torch.Tensor]] = [lambda one: one.change.loss, answers_of]
    for loss in losses:
        parts = torch.stack([loss(one) for one in alone])
        torch.testing.assert_close(loss(together), parts.mean(), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(together.kept_Bt, torch.cat([one.kept_Bt for one in alone]))


def test_both_losses_reach_the_scorer_and_nothing_else(plain: Path) -> None:
    vision, language, writer = modules_of(plain)
    taught, clips = Lesson(vision, language, writer), some_clips()

    def gradient(loss: Callable[[Outcome], torch.Tensor]) -> float:
        scorer_of(vision).zero_grad(set_to_none=True)
        loss(taught(clips, 0.5)).backward()
        weight = scorer_of(vision).get_parameter("mlp.w3.weight")
        assert weight.grad is not None
        return float(weight.grad.abs().max())

    assert gradient(lambda outcome: outcome.change.loss) > 0
    assert gradient(answers_of) > 0
    frozen = [*language.parameters(), *(one for name, one in vision.named_parameters() if "scorer" not in name)]
    assert all(weight.grad is None and not weight.requires_grad for weight in frozen)


def test_answers_pull_gently_where_a_row_of_scores_is_narrow() -> None:
    """Scores are as they were; rows of one frame: narrow, wide."""
    scores = torch.tensor([[[0.5, 0.5, 0.5, 0.5], [0.5, 0.502, 0.1, 0.9]]], requires_grad=True)
    pulled = gently_pulled(scores)
    assert torch.equal(pulled, scores)
    (pulled * torch.tensor([0.1, 0.1, 0.1, 9.0])).sum().backward()
    torch.testing.assert_close(scores.grad, torch.tensor([[[0.0, 0.0, 0.0, 0.0], [0.001, 0.001, 0.1, 0.25]]]))


def answers_of(outcome: Outcome) -> torch.Tensor:
    assert outcome.answer_loss is not None
    return outcome.answer_loss


def test_what_is_kept_is_what_the_exported_model_keeps(plain: Path) -> None:
    vision, language, writer = modules_of(plain)
    clips, budget = some_clips(), TokenBudget(FRAMES, vision.config.vision.groups, 0.5)
    kept_Bt = Lesson(vision, language, writer)(clips, 0.5).kept_Bt
    for frames_THWC, share_t in zip(clips.frames_BTHWC, kept_Bt, strict=True):
        kept_K = vision(frames_THWC, budget).kept_K
        assert kept_K is not None
        count_T = torch.bincount(kept_K // budget.groups, minlength=FRAMES)
        torch.testing.assert_close(share_t, count_T[1:] / budget.groups)


def test_every_clip_is_seen_once_before_one_is_seen_again() -> None:
    schedule = Schedule((8, 16), (0.5, 0.3), clips=4, seed=0)
    drawn = [number for step in range(5) for number in schedule.drawn(step, 10)]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:]
    assert {schedule.setting(step) for step in range(40)} == {(8, 0.5), (8, 0.3), (16, 0.5), (16, 0.3)}


def test_a_video_that_cannot_be_read_is_named_and_the_rest_goes_on(
    request_: ScorerRequest, videos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in sorted(videos.iterdir())[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 and then nothing")
    np.savez(folder / "large.npz", frames=np.zeros((4, 90, 90, 3), dtype=np.uint8), times_seconds=np.arange(4.0))
    np.savez(folder / "short.npz", frames=np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8), times_seconds=np.zeros(1))
    said = Said()
    request = dataclasses.replace(request_, videos=folder, steps=1)
    train_scorer(request, said)
    left_out = {line.split(": ")[1].split()[-1]: line for line in said if line.startswith("note: left out")}
    assert left_out.keys() == {"broken.npz", "large.npz", "short.npz"}
    assert "this model takes [T, 84, 84, 3]" in left_out["large.npz"]
    assert "has 1 frame, and this keep ratio needs 2" in left_out["short.npz"]
    assert "3 videos, 3 left out" in said


def test_a_video_that_turns_out_damaged_later_is_passed_over(
    request_: ScorerRequest, videos: Path, tmp_path: Path
) -> None:
    """Its times are whole, and its frames are cut off."""
    folder = tmp_path / "half"
    folder.mkdir()
    for path in sorted(videos.iterdir())[:2]:
        (folder / path.name).write_bytes(path.read_bytes())
    damaged = bytearray((folder / "clip-0.npz").read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 64] = bytes(value ^ 255 for value in damaged[middle : middle + 64])
    (folder / "clip-0.npz").write_bytes(damaged)
    said = Said()
    train_scorer(dataclasses.replace(request_, videos=folder, steps=2), said)
    assert [line for line in said if line.startswith("note: passed over clip-0.npz")] != []
    assert (request_.out / "model.safetensors").is_file()


def test_recordings_are_read_too(request_: ScorerRequest, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    (folder / "yard").mkdir(parents=True)
    write_video(folder / "yard" / "a.mp4", Clip.make(Split.train, 0), 96)
    (folder / "b.mp4").write_bytes(b"no video")
    # Neither of these hides the recordings.
    (folder / "c.npz").write_bytes(b"no frames")
    (folder / "._a.npz").write_bytes(b"of macOS")
    (tmp_path / "questions.jsonl").write_text(
        '{"question": "Who?", "video": "yard/a.mp4"}\n{"question": "Why?", "video": "d.mp4"}'
    )
    said = Said()
    request = dataclasses.replace(request_, videos=folder, steps=1, clips=1, questions=tmp_path / "questions.jsonl")
    train_scorer(request, said)
    assert any(line.startswith("note: left out b.mp4") for line in said)
    assert "note: left out c.npz: c.npz holds no frames and times_seconds, or is damaged" in said
    assert "1 video, 2 left out" in said
    assert "note: questions are asked about 1 that is not among them, d.mp4" in said


def test_a_folder_that_cannot_be_read_is_named_and_the_rest_goes_on(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = Input(str(videos / "locked"), SourceError("videos/locked cannot be read: permission denied"))
    monkeypatch.setattr(clips, "expand_sources", lambda _: [locked])
    found = list(find_footage(videos, 2, 2.0, SIDE))
    assert [one for one in found if isinstance(one, Problem)] == [(locked.name, str(locked.problem))]
    assert len(found) == 7


def test_questions_are_drawn_from_those_of_the_video(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"video": "a.mp4", "question": "Who?"}\n\n{"question": "Why?"}\n')
    questions = read_questions(path, lambda _: None)
    rng = np.random.default_rng(0)
    assert sorted(questions.draw("a.mp4", 4, rng)) == ["Who?", "Why?"]
    assert questions.draw("b.mp4", 4, rng) == ["Why?"]
    assert len(set(read_questions(None, lambda _: None).draw("a.mp4", 4, rng))) == 4


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.jsonl", '{"question": "Who?"}\nWho?\n', 'line 2: should be an object with text under "question"'),
        ("q.jsonl", '{"question": "Who?", "video": 3}\n', 'line 1: "video" should be a name, got 3'),
        ("q.txt", "\n \n", "holds no question"),
        ("q.txt", "Who <im_patch>?\n", "line 1: the question holds the reserved mark <im_patch>"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused_with_their_line(
    request_: ScorerRequest, tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as raised:
        train_scorer(dataclasses.replace(request_, questions=tmp_path / name))
    assert said in str(raised.value)


def test_a_checkpoint_with_a_scorer_is_refused_unless_it_is_to_be_replaced(
    request_: ScorerRequest, tmp_path: Path
) -> None:
    write_random_checkpoint(tmp_path / "scored", SIZES["micro"], seed=0)
    request = dataclasses.replace(request_, checkpoint=tmp_path / "scored", steps=1)
    with pytest.raises(CheckpointError, match="has a trained scorer already, which builds as it is; --replace"):
        train_scorer(request)
    told = list[str]()
    train_scorer(dataclasses.replace(request, replace=True), lambda step, _done=0, _of=0: told.append(step))
    # Its config.json does ask for pruning.
    assert "note: ignored the scorer's weights, since nothing asks for them" in told
    before, after = weights_of(request.checkpoint), weights_of(request.out)
    others = [name for name in before if "temporal_token_scorer" not in name]
    assert all(torch.equal(before[name], after[name]) for name in others)
    # As wide as the reference's, not as the one that was there.
    assert after["model.vision_tower.temporal_token_scorer.mlp.w1.weight"].shape[0] == SIZES["micro"].vision_mlp


def test_mistakes_are_told_before_anything_is_trained(request_: ScorerRequest, tmp_path: Path) -> None:
    bundle, empty = tmp_path / "bundle", tmp_path / "empty"
    for folder in (bundle, empty):
        folder.mkdir()
    (bundle / "manifest.json").write_text("{}")
    for change, said in (
        ({"prune_at": 4}, "prune_at is 4, but pruning needs a layer after it"),
        ({"checkpoint": bundle}, "it is a bundle, built already"),
        ({"videos": empty}, "it is empty"),
        ({"videos": tmp_path / "absent"}, "no such folder"),
        ({"keeps": (0.2,)}, "keep 0.2 is impossible for 4 frames"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"out": request_.checkpoint / "inside"}, "must not contain each other"),
    ):
        with pytest.raises(UserError) as raised:
            train_scorer(dataclasses.replace(request_, **change))
        assert said in str(raised.value)
        assert not request_.folder.exists()


def test_a_checkpoint_is_replaced_only_if_asked_for(request_: ScorerRequest) -> None:
    request = dataclasses.replace(request_, steps=1)
    train_scorer(request)
    with pytest.raises(UserError, match="exists already"):
        train_scorer(request)
    train_scorer(dataclasses.replace(request, force=True, seed=1))


def test_too_little_memory_is_told_before_weights_are_read(
    request_: ScorerRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "free_bytes", lambda _: 2_000_000)
    monkeypatch.setattr(train, "load_frozen", None)
    with pytest.raises(UserError, match=r"needs about .* GB of memory: .* ask for fewer --frames or a lower --keep"):
        train_scorer(request_)


def test_as_many_clips_go_at_once_as_fit(request_: ScorerRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(request_.checkpoint)
    model = dataclasses.replace(checkpoint.config, scorer=ScorerConfig(1, 48, 0.5))
    needs = estimated(checkpoint, model, FRAMES, 0.5, narrow=False)
    monkeypatch.setattr(train, "free_bytes", lambda _: int(needs.of(1) / 0.9) + 1000)
    assert train_scorer(dataclasses.replace(request_, steps=1)).clips_at_once == 1
    assert estimated(checkpoint, model, 2 * FRAMES, 0.5, narrow=False).clip > needs.clip
    assert estimated(checkpoint, model, FRAMES, 0.5, narrow=True).weights < needs.weights


def command(request: ScorerRequest, *more: str) -> list[str]:
    options = ["--videos", str(request.videos), "--out", str(request.out), "--device", "cpu", "--workers", "0"]
    sizes = ["--frames", str(FRAMES), "--clips", "2", "--steps", "40", "--rate", "0.01"]
    return ["-m", "stts_export", "train-scorer", str(request.checkpoint), *options, *sizes, *more]


def test_the_command_says_what_is_wrong_in_a_line(request_: ScorerRequest) -> None:
    done = subprocess.run(
        [sys.executable, *command(request_, "--keep", "1")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "between 0 and 1" in done.stderr


def test_training_a_scorer_needs_neither_a_graph_nor_a_video_library() -> None:
    """Where frames are stored."""
    absent = ("onnx", "onnx_ir", "onnxscript", "onnxruntime", "transformers", "matplotlib", "av")
    code = f"import sys; sys.modules |= dict.fromkeys({absent}); import stts_export.scorer_training.train"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_kill_9_and_the_same_command_again(request_: ScorerRequest) -> None:
    once = dataclasses.replace(request_, out=request_.out.with_name("once"))
    subprocess.run([sys.executable, *command(once)], check=True, capture_output=True)
    code = (
        "import sys; from stts_export.scorer_training import loop; loop.REPORT_EVERY = 3; loop.SAVE_EVERY_SECONDS = 0; "
        "from stts_export.cli import main; main()"
    )
    arguments = command(request_)[2:]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL) as killed:
        while not (request_.folder / "state.safetensors").is_file():
            time.sleep(0.05)
        os.kill(killed.pid, signal.SIGKILL)
    again = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    assert "going on from step" in again.stdout
    whole, resumed = weights_of(once.out), weights_of(request_.out)
    assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())


@pytest.mark.slow
def test_two_processes_learn_what_one_does(request_: ScorerRequest) -> None:
    once = dataclasses.replace(request_, out=request_.out.with_name("once"))
    few = ("--steps", "4")
    subprocess.run([sys.executable, *command(once, *few)], check=True, capture_output=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    done = subprocess.run(
        [*torchrun, "--standalone", *command(request_, *few)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("build it with") == 1
    for name, weight in weights_of(once.out).items():
        torch.testing.assert_close(weights_of(request_.out)[name], weight, atol=2e-3, rtol=1e-2)


def test_what_is_wrong_in_all_processes_is_said_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_PATIENCE_SECONDS", 0.0)
    for local, raised in (("0", UserError), ("1", SystemExit)):
        monkeypatch.setenv("LOCAL_RANK", local)
        with pytest.raises(raised), one_speaks():
            raise UserError("no such folder")


@pytest.mark.slow
@pytest.mark.parametrize("short", [0, 1])
def test_two_processes_end_with_one_sentence_where_one_lacks_memory(request_: ScorerRequest, short: int) -> None:
    code = (
        "import os, sys; from stts_export.scorer_training import train; "
        f"train.free_bytes = lambda _: 2_000_000 if os.environ['RANK'] == '{short}' else 1 << 40; "
        "from stts_export.cli import main; main()"
    )
    (request_.out.parent / "short.py").write_text(code)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*torchrun, str(request_.out.parent / "short.py"), *command(request_)[2:]],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith(("error:", "internal error"))] == [
        line for line in done.stderr.splitlines() if line.startswith("error: training needs about")
    ]
    assert done.stderr.count("error: training needs about") == 1


@pytest.mark.slow
def test_the_result_builds_and_is_what_was_trained(request_: ScorerRequest, tmp_path: Path) -> None:
    train_scorer(request_)
    bundle = build(request_.out, tmp_path / "bundle", frames=FRAMES)
    assert bundle.manifest.scorer is not None
    assert bundle.manifest.scorer.trained
    assert verify(bundle.folder, request_.out, max_tokens=2).missed == []
