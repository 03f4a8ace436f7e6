"""The model card: what a checkpoint is, how it was made, what it reached and what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from stts_calib.clips import DURATION_SECONDS, KINDS
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
    opening = min(recipe.opening_steps, last.step)
    return f"""---
license: apache-2.0
library_name: stts-export
pipeline_tag: video-text-to-text
tags: [molmo2, stts, token-pruning, synthetic]
---

# A small STTS model of synthetic surveillance scenes

Molmo2's architecture with a token scorer, small enough for a repository: {size.frame}x{size.frame} frames,
{size.vision_layers} vision layers of width {size.vision_width}, scorer after layer {size.prune_at},
{size.text_layers} language layers of width {size.text_width}, float16. It exists to test and to show
exports, pruning and streaming without a download. It answers {len(KINDS)} kinds of questions about clips that it
has not seen: {", ".join(kind.name for kind in KINDS)}.

## Limits

It knows the synthetic scenes of `stts_calib.clips` only: windows of {DURATION_SECONDS:g} seconds of a static
camera, flat people, vehicles and bags in eight colours, and the phrasings of `stts_calib/clips/questions.py`.
About real footage or other questions its answers mean nothing.

## Data

Clips are made on the fly from a seed, with exact answers. Training, validation and test clips never share a
seed, since the split is a part of it. This run saw {last.step * recipe.clips_per_step:,} training clips, each
once, with every question that has an exact answer in it.

## Recipe

- Loss: cross-entropy of the answers, which reaches the scorer through the log attention bias of the layer
  after it, plus {recipe.score_weight:g} x the mean squared error between a group's score and 1 - cosine
  similarity with the same group of the frame before (arXiv 2603.18004).
- Schedule: {opening} steps with {_shares(recipe.opening_settings)}; then {last.step - opening} steps with
  {_shares(recipe.settings)}.
- {recipe.clips_per_step} clips a step. Muon for the matrices inside blocks at {recipe.matrix_rate:g}, AdamW for
  the rest at {recipe.other_rate:g}, weight decay {recipe.weight_decay:g}; {recipe.warm_up_steps} steps of
  warm-up, linear to zero over the last 60 %. bfloat16 products, float32 weights.
- Seed {recipe.seed}, {last.step} steps{_shortened(recipe, last)} in {last.seconds / 60:.1f} minutes on
  {provenance.device}, torch {_version("torch")}, code at {provenance.commit}.

```
{provenance.command}
```

## Validation at the end of training

{recipe.validation_clips} clips that were not trained on; accuracy in percent. What the exported engines reach
on test clips is in `benchmarks/accuracy-tiny.json`.

{_table(last.accuracy)}
"""


def _shortened(recipe: Recipe, last: Report) -> str:
    return "" if last.step >= recipe.steps else f" (of {recipe.steps}: the schedule was shortened to fit the time)"


def _shares(settings: tuple[TrainingSetting, ...]) -> str:
    total = sum(setting.share for setting in settings)
    return ", ".join(
        f"{setting.share / total:.0%} {setting.frames} frames at keep {setting.keep:g}"
        + (" per frame" if setting.scope == "frame" else "")
        for setting in settings
    )


def _table(accuracy: dict[str, dict[str, float]]) -> str:
    names = list(accuracy)
    kinds = ["all", *(kind.name for kind in KINDS)]
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
