"""The model card: what a checkpoint is, how it was made, what it reached and what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from stts_calib.clips import ALL_KINDS, DURATION_SECONDS
from stts_export.training.loop import Report
from stts_export.training.recipe import Recipe, TrainingSetting
from stts_tools.checkpoints.sizes import Size


@dataclass(frozen=True)
class Provenance:
    """Where and from what a run was made."""

    device: str
    commit: str
    command: str


def model_card(recipe: Recipe, size: Size, last: Report, provenance: Provenance) -> str:
    """Markdown with the front matter that model hubs read."""
    frames = sorted({setting.frames for phase in recipe.phases for setting in phase.settings})
    return f"""---
license: apache-2.0
library_name: stts-export
pipeline_tag: video-text-to-text
tags: [molmo2, stts, token-pruning, synthetic]
---

# A small STTS model of synthetic surveillance scenes{"" if recipe.pruned else ", trained without pruning"}

Molmo2's architecture with a token scorer, small enough for a repository: {size.frame}x{size.frame} frames,
{size.vision_layers} vision layers of width {size.vision_width}, scorer after layer {size.prune_at},
{size.text_layers} language layers of width {size.text_width}, float16, for {frames[0]} to {frames[-1]} frames. It
exists to test and to show exports, pruning and streaming without a download. It answers {len(ALL_KINDS)} kinds of
questions about clips that it has not seen: {", ".join(kind.name for kind in ALL_KINDS)}.{_untrained_scorer(recipe)}

## Limits

It knows the synthetic scenes of `stts_calib.clips` only: windows of {DURATION_SECONDS:g} seconds, flat people,
vehicles, dogs and bags in eight colours, and the phrasings of `stts_calib/clips/questions.py` and `hard_questions.py`.
About real footage or other questions its answers mean nothing.

## Data

Clips are made on the fly from a seed, with exact answers. Training, validation and test clips never share a
seed, since the split is a part of it. This run saw {last.clips:,} training clips, {recipe.hard_share:.0%} of them of
the hard set, each once, with every question that has an exact answer in it.

## Recipe

- Loss: cross-entropy of the answers, which reaches the scorer through the log attention bias of the layer after it
  (arXiv 2603.18004), plus {recipe.scores.weight:g} x a loss of the scores. A group is worth 1 where something moves,
  0.5 where somebody or something that came stays, and elsewhere {recipe.scores.change:g} x (1 - cosine similarity with
  the same group of the frame before): squared error, {recipe.scores.held:g} times as heavy where something is. And
  {recipe.scores.evenness:g} x the variance, between the places of the frame, of the ground's mean score in logits.
- The choice of groups in training is made on scores with noise of standard deviation {recipe.scores.noise:g}.
- {_phases(recipe)}
- {recipe.frames_per_step} frames a step. Muon for the matrices inside blocks at {recipe.matrix_rate:g}, AdamW for
  the rest at {recipe.other_rate:g}, weight decay {recipe.weight_decay:g}; {recipe.warm_up_steps} steps of
  warm-up, then half a cosine to zero. bfloat16 products, float32 weights.
- Seed {recipe.seed}, {last.step} steps in {last.seconds / 60:.1f} minutes on {provenance.device}, torch
  {_version("torch")}, code at {provenance.commit}{_unfinished(last)}.

```
{provenance.command}
```

## Validation at the end of training

{recipe.validation_clips} clips of each set that were not trained on; accuracy in percent, where a point has to be right
to the cell.{_measured(recipe)}

{_table(last.accuracy)}
"""


def _untrained_scorer(recipe: Recipe) -> str:
    return "" if recipe.pruned else "\nIts scorer was never trained: it is for keep 1, as a measure of the other's."


def _measured(recipe: Recipe) -> str:
    """The file is about the pruned one alone."""
    said = " What the exported engines reach on test clips is in `benchmarks/accuracy-tiny.json`."
    return said if recipe.pruned else ""


def _unfinished(last: Report) -> str:
    return "" if last.done == 1 else f"; the schedule is {last.done:.0%} over, so this is no final checkpoint"


def _phases(recipe: Recipe) -> str:
    told = [f"up to {phase.until:.0%} of the run {_shares(recipe, phase.settings)}" for phase in recipe.phases]
    return "Steps: " + "; ".join(told) + "."


def _shares(recipe: Recipe, settings: tuple[TrainingSetting, ...]) -> str:
    total, shares = sum(setting.share for setting in settings), dict[str, float]()
    for setting in settings:
        name = setting.name if recipe.pruned else f"{setting.frames} frames"
        shares[name] = shares.get(name, 0) + setting.share / total
    return ", ".join(f"{share:.0%} {name}" for name, share in shares.items())


def _table(accuracy: dict[str, dict[str, float]]) -> str:
    names = list(accuracy)
    kinds = ["all", *(kind.name for kind in ALL_KINDS)]
    rows = [
        " | ".join([kind, *(f"{100 * accuracy[name][kind]:.1f}" if kind in accuracy[name] else "-" for name in names)])
        for kind in kinds
    ]
    lines = [" | ".join(["kind", *names]), " | ".join(["---"] * (len(names) + 1)), *rows]
    return "\n".join(f"| {line} |" for line in lines)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of an unknown version"
